//! What a request line asks for: an endpoint, its dialect, and what the path says of the model.
//!
//! Each dialect knows its own paths; this file tries them in turn and turns what none of them knows
//! into the two errors a client can make here: a path that does not exist, and a method that does
//! not exist on it.

use std::borrow::Cow;
use std::ops::Range;

use http::Method;
use percent_encoding::percent_decode_str;

use super::{Dialect, Endpoint, anthropic, bedrock, cohere, gemini, openai};
use crate::error::{Error, Kind};
use crate::wire::fields::{Fields, Name};

/// Longest model name taken from a path or a body. The longest real ones are Bedrock ARNs.
pub const MODEL_BYTES_MAX: usize = 2048;

/// How much of a path an error message repeats.
const ECHO_CHARS_MAX: usize = 160;

/// What a request's body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyKind {
    /// A JSON object that weir reads.
    Json,
    /// A `multipart/form-data` upload whose `model` field weir reads.
    Multipart,
    /// Bytes that are forwarded without a look.
    Opaque,
    /// No body.
    None,
}

/// A request line, understood.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// The wire format of its requests, answers and errors.
    pub dialect: Dialect,
    /// What the body is.
    pub body: BodyKind,
    /// The model that the path (or, for the realtime socket, the query) names, decoded.
    pub model: Option<Cow<'a, str>>,
    /// The provider that a passthrough names.
    pub provider: Option<&'a str>,
    /// The path below the dialect's base address, with its leading slash: `/chat/completions` under
    /// `https://api.openai.com/v1`, `/v1/messages` under `https://api.anthropic.com`.
    pub tail: &'a str,
    /// The request's headers, of which few calls need any. `None` for what nobody has sent.
    pub(super) headers: Option<&'a Fields>,
    /// Where in `tail` the model stands.
    pub(super) model_span: Option<Range<usize>>,
}

impl Call<'_> {
    /// Whether its body is a JSON object.
    pub fn is_json(&self) -> bool {
        self.body == BodyKind::Json
    }

    /// The request's `content-type`.
    pub(super) fn content_type(&self) -> Option<&str> {
        content_type(self.headers?)
    }

    /// What was understood, to be kept beside the request line.
    pub fn keep(&self) -> Kept {
        Kept {
            endpoint: self.endpoint,
            dialect: self.dialect,
            body: self.body,
            model: self.model.as_deref().map(Into::into),
            provider: self.provider.map(Into::into),
            tail_bytes: self.tail.len(),
            model_span: self.model_span.clone(),
        }
    }
}

/// A call without the request line that it was read from, so that the line is read only once.
#[derive(Clone, Debug)]
pub struct Kept {
    endpoint: Endpoint,
    dialect: Dialect,
    body: BodyKind,
    model: Option<Box<str>>,
    provider: Option<Box<str>>,
    /// The tail is the end of the path.
    tail_bytes: usize,
    model_span: Option<Range<usize>>,
}

impl Kept {
    /// The call again, with the path and headers that it was read from.
    pub fn call<'a>(&'a self, path: &'a str, headers: &'a Fields) -> Call<'a> {
        Call {
            endpoint: self.endpoint,
            dialect: self.dialect,
            body: self.body,
            model: self.model.as_deref().map(Cow::Borrowed),
            provider: self.provider.as_deref(),
            tail: &path[path.len() - self.tail_bytes..],
            headers: Some(headers),
            model_span: self.model_span.clone(),
        }
    }
}

pub(super) fn content_type(headers: &Fields) -> Option<&str> {
    headers.text(Name::ContentType)
}

/// Where a dialect places a path. Built by the dialects' own `place` functions.
pub(super) struct Place<'a> {
    pub endpoint: Endpoint,
    pub dialect: Dialect,
    pub methods: &'static [Method],
    pub body: BodyKind,
    pub tail: &'a str,
    pub model_span: Option<Range<usize>>,
}

impl<'a> Place<'a> {
    /// A `POST` with a JSON body, which most endpoints are.
    pub fn json(dialect: Dialect, endpoint: Endpoint, tail: &'a str) -> Self {
        Self { endpoint, dialect, methods: POST, body: BodyKind::Json, tail, model_span: None }
    }

    /// A `GET` without a body.
    pub fn get(dialect: Dialect, endpoint: Endpoint, tail: &'a str) -> Self {
        Self { endpoint, dialect, methods: GET, body: BodyKind::None, tail, model_span: None }
    }

    /// The same with the model at `span` of the tail.
    pub fn model_at(mut self, span: Range<usize>) -> Self {
        self.model_span = Some(span);
        self
    }

    /// The same with another kind of body.
    pub fn with_body(mut self, body: BodyKind) -> Self {
        self.body = body;
        self
    }

    /// The same under other methods.
    pub fn under(mut self, methods: &'static [Method]) -> Self {
        self.methods = methods;
        self
    }
}

pub(super) const POST: &[Method] = &[Method::POST];
pub(super) const GET: &[Method] = &[Method::GET];

/// What the headers say of the client, where a path alone does not tell the dialect.
#[derive(Clone, Copy, Default)]
pub(super) struct Client {
    pub anthropic: bool,
    pub gemini: bool,
    pub cohere: bool,
}

impl Client {
    /// Only looked at on the paths that several clients share.
    fn of(path: &str, query: Option<&str>, headers: &Fields) -> Self {
        if !path.starts_with("/v1/models") && path != "/v1/rerank" {
            return Self::default();
        }
        Self {
            anthropic: headers.contains(Name::AnthropicVersion),
            gemini: headers.contains(Name::XGoogApiKey)
                || headers.contains("x-goog-api-client")
                || query_value(query, "key").is_some(),
            cohere: headers.get("x-fern-sdk-name") == Some(b"cohere"),
        }
    }
}

/// Which call a request line is.
///
/// # Errors
///
/// [`Kind::NotFound`] for a path that is no endpoint, [`Kind::MethodNotAllowed`] for an endpoint
/// under another method, [`Kind::BadRequest`] for a path with dot segments, a model name that cannot
/// be one, and a realtime call that is no WebSocket handshake.
pub fn classify<'a>(
    method: &Method,
    path: &'a str,
    query: Option<&'a str>,
    headers: &'a Fields,
) -> Result<Call<'a>, Error> {
    // Few paths have what such a segment is made of.
    if memchr::memchr2(b'.', b'%', path.as_bytes()).is_some() && path.split('/').any(is_dot_segment)
    {
        return Err(Error::new(Kind::BadRequest, "The path must not contain dot segments."));
    }
    if let Some(rest) = path.strip_prefix("/passthrough/") {
        return passthrough(path, rest, headers);
    }
    let client = Client::of(path, query, headers);
    let place = bedrock::place(path)
        .or_else(|| gemini::place(path, client))
        .or_else(|| cohere::place(path, client))
        .or_else(|| anthropic::place(path, client))
        .or_else(|| openai::place(path, method, headers))
        .ok_or_else(|| not_found(method, path))?;
    if !place.methods.contains(method) {
        return Err(method_not_allowed(method, path, place.methods));
    }
    let model = match (&place.model_span, place.endpoint) {
        (Some(span), _) => Some(decoded(&place.tail[span.clone()])?),
        (None, Endpoint::Realtime) => realtime_model(query, headers)?,
        (None, _) => None,
    };
    Ok(Call {
        endpoint: place.endpoint,
        dialect: place.dialect,
        body: place.body,
        model,
        provider: None,
        tail: place.tail,
        headers: Some(headers),
        model_span: place.model_span,
    })
}

fn passthrough<'a>(path: &str, rest: &'a str, headers: &'a Fields) -> Result<Call<'a>, Error> {
    let name_bytes = rest.find('/').unwrap_or(rest.len());
    let (provider, tail) = rest.split_at(name_bytes);
    if provider.is_empty() {
        return Err(Error::new(
            Kind::NotFound,
            format!("{} names no provider. Use /passthrough/{{provider}}/…", echo(path)),
        ));
    }
    Ok(Call {
        endpoint: Endpoint::Passthrough,
        dialect: Dialect::OpenAi,
        body: BodyKind::Opaque,
        model: None,
        provider: Some(provider),
        tail,
        headers: Some(headers),
        model_span: None,
    })
}

/// The realtime socket names its model in the query.
fn realtime_model<'a>(
    query: Option<&'a str>,
    headers: &Fields,
) -> Result<Option<Cow<'a, str>>, Error> {
    let websocket =
        headers.get(Name::Upgrade).is_some_and(|value| value.eq_ignore_ascii_case(b"websocket"));
    if !websocket {
        return Err(Error::new(
            Kind::BadRequest,
            "The realtime endpoint expects a WebSocket handshake (Upgrade: websocket).",
        )
        .param("upgrade"));
    }
    query_value(query, "model").map(decoded).transpose()
}

fn decoded(raw: &str) -> Result<Cow<'_, str>, Error> {
    let model = percent_decode_str(raw).decode_utf8().map_err(|_| {
        Error::new(Kind::BadRequest, "The model name in the path is not UTF-8.").param("model")
    })?;
    check_model(&model)?;
    Ok(model)
}

/// Refuses what cannot be a model name, wherever it was found: it goes into a header, a metric
/// label and a log line, and into the path of some upstreams.
pub(super) fn check_model(model: &str) -> Result<(), Error> {
    let problem = if model.is_empty() {
        "must not be empty"
    } else if model.len() > MODEL_BYTES_MAX {
        "is too long (at most 2048 bytes)"
    } else if model.chars().any(char::is_control) {
        "must not contain control characters"
    } else {
        return Ok(());
    };
    Err(Error::new(Kind::BadRequest, format!("The model name {problem}.")).param("model"))
}

/// The raw value of a query parameter: the first one of that name.
pub(super) fn query_value<'a>(query: Option<&'a str>, name: &str) -> Option<&'a str> {
    query_values(query, name).next()
}

/// All values of a query parameter, still encoded.
pub(super) fn query_values<'a>(
    query: Option<&'a str>,
    name: &str,
) -> impl Iterator<Item = &'a str> {
    let pairs = query.unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(move |(key, _)| *key == name).map(|(_, value)| value)
}

fn is_dot_segment(segment: &str) -> bool {
    // The longest spelling of one is `%2e%2e`.
    segment.len() <= 6
        && (segment.starts_with('.') || segment.starts_with('%'))
        && matches!(segment.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..")
}

fn not_found(method: &Method, path: &str) -> Error {
    Error::new(Kind::NotFound, format!("Invalid URL ({method} {})", echo(path)))
}

fn method_not_allowed(method: &Method, path: &str, allowed: &[Method]) -> Error {
    let allowed: Vec<&str> = allowed.iter().map(Method::as_str).collect();
    Error::new(
        Kind::MethodNotAllowed,
        format!("Not allowed: {method} on {}. Use {}.", echo(path), allowed.join(" or ")),
    )
}

/// A path as an error message repeats it: bounded.
fn echo(path: &str) -> Cow<'_, str> {
    match path.char_indices().nth(ECHO_CHARS_MAX) {
        Some((end, _)) => Cow::Owned(format!("{}…", &path[..end])),
        None => Cow::Borrowed(path),
    }
}

#[cfg(test)]
mod tests;
