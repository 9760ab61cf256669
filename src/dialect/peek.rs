//! What a request says of itself, read before it is routed.
//!
//! The whole body is validated, since what weir and the upstream read must be the same; but only
//! what weir needs is looked at. What is wrong with the rest is the provider's to say. A member that
//! decides where the request goes, or what it costs, must not occur twice: parsers disagree on
//! which one counts.

use std::ops::Range;
use std::sync::Arc;

use super::call::{BodyKind, Call, check_model};
use super::multipart;
use super::{Dialect, Endpoint, anthropic, bedrock, cohere, gemini, openai};
use crate::error::{Error, Kind};
use crate::wire::json::{self, Limits, Object, Repeated, Value};

/// What a request says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peeked {
    /// The model it asks for, from the path or from the body.
    pub model: Option<Arc<str>>,
    /// It asks for a stream.
    pub stream: bool,
    /// What it says about usage in a stream.
    pub usage: UsageOption,
    /// The end user it names.
    pub user: Option<String>,
    /// How many tokens an answer may have.
    pub max_output_tokens: Option<u64>,
    /// How many answers it asks for.
    pub choices: u32,
    /// The part of the body that the prompt begins with, from which a provider's prompt cache is
    /// found: system instructions where there are some, messages otherwise.
    pub prompt_prefix: Option<Range<usize>>,
    /// The `metadata` object, where the dialect has one.
    pub metadata: Option<Range<usize>>,
    /// Where the body names the model. Gemini's bodies may repeat the one of the path.
    pub(super) model_spans: Vec<Range<usize>>,
}

impl Peeked {
    /// The same of a request that is forwarded as it is, whatever it says.
    #[must_use]
    pub fn unchanged(self) -> Self {
        Self { usage: UsageOption::Unasked, model_spans: Vec::new(), ..self }
    }
}

/// What a request says about usage in a stream, and what weir has to add to be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum UsageOption {
    /// The dialect reports usage unasked, or this is no stream.
    #[default]
    Unasked,
    /// The client asked for it and gets it.
    Asked,
    /// The client did not ask. Replacing `span` (which may be empty) with `with` asks.
    Absent {
        /// What is replaced.
        span: Range<usize>,
        /// What replaces it.
        with: &'static str,
    },
}

/// Reads what a request says of itself.
///
/// # Errors
///
/// [`Kind::BadRequest`] with a message for the client, and the parameter it is about.
pub fn peek(call: &Call<'_>, body: &[u8], json_depth_max: u32) -> Result<Peeked, Error> {
    let mut peeked =
        Peeked { model: call.model.as_deref().map(Arc::from), choices: 1, ..Peeked::default() };
    match call.body {
        BodyKind::Json => {
            let object = json::object(body, Limits { depth_max: json_depth_max })
                .map_err(|error| not_json(&error))?;
            match call.dialect {
                Dialect::OpenAi => openai::request::peek(call, &object, &mut peeked)?,
                Dialect::Anthropic => anthropic::request::peek(&object, &mut peeked)?,
                Dialect::Gemini => gemini::request::peek(call, &object, &mut peeked),
                Dialect::Cohere => cohere::request::peek(&object, &mut peeked)?,
                Dialect::Bedrock => bedrock::request::peek(call, &object, &mut peeked),
            }
        }
        BodyKind::Multipart => form(call, body, &mut peeked)?,
        BodyKind::Opaque | BodyKind::None => {}
    }
    Ok(peeked)
}

fn not_json(error: &json::JsonError) -> Error {
    Error::new(
        Kind::BadRequest,
        format!("The request body is not valid JSON ({error}). A JSON object is expected."),
    )
}

/// The form fields of an upload.
fn form(call: &Call<'_>, body: &[u8], peeked: &mut Peeked) -> Result<(), Error> {
    let boundary = call.content_type().and_then(multipart::boundary).ok_or_else(|| {
        Error::new(
            Kind::BadRequest,
            "This endpoint expects multipart/form-data with a boundary in its content-type.",
        )
        .param("content-type")
    })?;
    let parts = multipart::parts(body, boundary).map_err(|problem| {
        Error::new(Kind::BadRequest, format!("The form data is malformed: {problem}."))
    })?;
    for part in parts.into_iter().filter(|part| !part.is_file) {
        let text = std::str::from_utf8(&body[part.span.clone()]).unwrap_or_default();
        match part.name {
            "model" if !peeked.model_spans.is_empty() => return Err(twice("model")),
            "model" => {
                check_model(text)?;
                peeked.model = Some(text.into());
                peeked.model_spans.push(part.span);
            }
            "stream" => peeked.stream = text.eq_ignore_ascii_case("true"),
            "user" => peeked.user = Some(text.to_owned()),
            "n" => peeked.choices = text.parse().unwrap_or(1),
            _ => {}
        }
    }
    if peeked.model.is_none() && call.endpoint == Endpoint::Audio {
        return Err(missing_model());
    }
    Ok(())
}

/// A member that must not occur twice.
#[inline]
pub(super) fn single<'a>(
    object: &Object<'a>,
    key: &'static str,
) -> Result<Option<Value<'a>>, Error> {
    object.single(key).map_err(|Repeated| twice(key))
}

/// The `model` member: a string, once.
pub(super) fn model(object: &Object<'_>, peeked: &mut Peeked) -> Result<(), Error> {
    let Some(value) = single(object, "model")? else { return Ok(()) };
    let name = value.as_str().ok_or_else(|| wrong_type("model", "a string", value))?;
    check_model(&name)?;
    peeked.model = Some((*name).into());
    peeked.model_spans.push(value.span());
    Ok(())
}

/// The `stream` member: a boolean or null, once.
pub(super) fn stream(object: &Object<'_>, peeked: &mut Peeked) -> Result<(), Error> {
    let Some(value) = single(object, "stream")?.filter(|value| !value.is_null()) else {
        return Ok(());
    };
    peeked.stream = value.as_bool().ok_or_else(|| wrong_type("stream", "a boolean", value))?;
    Ok(())
}

/// The first of some members that is there and not null.
#[inline]
pub(super) fn first<'a, const N: usize>(object: &Object<'a>, keys: [&str; N]) -> Option<Value<'a>> {
    keys.into_iter().find_map(|key| object.get(key).filter(|value| !value.is_null()))
}

/// The span of the first of some members that is there and not null.
#[inline]
pub(super) fn first_span<const N: usize>(
    object: &Object<'_>,
    keys: [&str; N],
) -> Option<Range<usize>> {
    first(object, keys).map(|value| value.span())
}

/// A string member.
pub(super) fn text(value: Option<Value<'_>>) -> Option<String> {
    value.and_then(|value| value.as_str()).map(std::borrow::Cow::into_owned)
}

pub(super) fn missing_model() -> Error {
    Error::new(Kind::BadRequest, "You must provide a model parameter.").param("model")
}

pub(super) fn twice(key: &'static str) -> Error {
    let message = format!("The parameter '{key}' occurs more than once. Send it once.");
    Error::new(Kind::BadRequest, message).param(key)
}

pub(super) fn wrong_type(key: &'static str, want: &str, got: Value<'_>) -> Error {
    let got = match got.kind() {
        Some(json::Kind::Null) | None => "null",
        Some(json::Kind::Bool) => "a boolean",
        Some(json::Kind::Number) => "a number",
        Some(json::Kind::String) => "a string",
        Some(json::Kind::Array) => "an array",
        Some(json::Kind::Object) => "an object",
    };
    let message = format!("Invalid type for '{key}': expected {want}, but got {got} instead.");
    Error::new(Kind::BadRequest, message).param(key)
}

#[cfg(test)]
mod tests;
