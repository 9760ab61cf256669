//! Attempts on upstreams of another format than the client's.
//!
//! The rest of an exchange is the same for them: the observer reads the upstream's own frames, so
//! that a stream is probed, metered and judged as any other, and only what goes to the client is
//! written anew. Between equal formats nothing here is ever called.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, StatusCode};

use super::attempt::{Answer, Order, Prepared, Stream};
use super::head::Head;
use super::kept::Keeping;
use super::refused::UpstreamAnswer;
use crate::clock;
use crate::dialect::{
    self, Client, Dialect, Dropped, Endpoint, Format, Forward, Model, Pair, Speaks,
    TranslatedRequest,
};
use crate::error::{Error, Kind};
use crate::pool::Target;
use crate::provider::{Credential, Provider};
use crate::transport::upstream;
use crate::wire::fields::{Field, Fields, Name};
use crate::wire::frame::Framing;

/// The largest body that is translated on the worker's own thread, as it is the largest that is read
/// there.
const TRANSLATE_HERE_BYTES_MAX: usize = 1 << 20;

/// The version of Anthropic's API whose requests are written.
const ANTHROPIC_VERSION: &str = "2023-06-01";

/// Headers of a client that mean the same to an upstream of any format.
const SHARED_HEADERS: [&str; 5] =
    ["user-agent", "traceparent", "tracestate", "baggage", "idempotency-key"];

/// A request that was translated for one attempt.
pub(super) struct Translation {
    pub(super) pair: Pair,
    /// What of it the upstream does not get.
    pub(super) dropped: Dropped,
    /// What is kept of the answer.
    pub(super) keeping: Option<Box<Keeping>>,
    stream: bool,
    stream_usage: bool,
    answer_by_call: bool,
    model: Arc<str>,
}

/// A whole answer: the upstream's own, and what the client gets of it.
pub(super) struct TranslatedAnswer {
    pub(super) theirs: Bytes,
    pub(super) ours: Bytes,
    pub(super) dropped: Dropped,
}

/// What a provider has to be asked through. `None` if it speaks the client's own format.
pub(super) fn pair(head: &Head, provider: &Provider) -> Option<Pair> {
    if head.endpoint == Endpoint::Passthrough {
        return None;
    }
    let speaks = Speaks { dialect: provider.dialect, formats: &provider.formats };
    Pair::between(&head.call(), speaks)
}

/// Whether a provider can answer this request at all.
pub(super) fn serves(provider: &Provider, head: &Head) -> bool {
    if head.endpoint == Endpoint::Passthrough {
        return true;
    }
    let own = Format::of(head.endpoint).is_none_or(|format| provider.formats.contains(&format));
    own && provider.dialect == head.dialect || pair(head, provider).is_some()
}

/// Whether a body would hold up the worker's other requests while it is translated.
pub(super) fn is_heavy(body: &[u8]) -> bool {
    body.len() > TRANSLATE_HERE_BYTES_MAX
}

/// What a target has to be asked through, if the request is too large to be translated here.
pub(super) fn heavy(order: Order<'_>, target: &Target) -> Option<Pair> {
    if !is_heavy(&order.admitted.body) {
        return None;
    }
    pair(order.head, &target.provider)
}

/// Translates a large request on another thread.
pub(super) async fn off_worker(
    order: Order<'_>,
    pair: Pair,
    target: &Target,
    model: Option<&str>,
) -> Result<TranslatedRequest, Error> {
    let Order { admitted, .. } = order;
    let model = model.or(target.model.as_deref()).or(admitted.model());
    let model = model.unwrap_or_default().to_owned();
    let quirks = target.provider.quirks(&model);
    let (body, loss) = (admitted.body.clone(), admitted.loss);
    let stream = admitted.peeked.stream && pair.streams();
    let translating = tokio::task::spawn_blocking(move || {
        pair.request(&body, stream, Model { name: &model, quirks }, loss)
    });
    translating.await.unwrap_or_else(|error| Err(not_translated(&error)))
}

fn not_translated(error: &tokio::task::JoinError) -> Error {
    Error::new(Kind::Internal, "The request could not be translated.").cause(error)
}

/// The request as a target of another format gets it. A large one was translated ahead.
pub(super) fn prepare(
    order: Order<'_>,
    target: &Target,
    (pair, ahead): (Pair, Option<TranslatedRequest>),
    model: Option<&str>,
    credential: Credential,
) -> Result<Prepared, Error> {
    let Order { head, admitted, .. } = order;
    let provider = &target.provider;
    let model = model.or(admitted.model()).unwrap_or_default();
    let stream = admitted.peeked.stream && pair.streams();
    let mut translated = if let Some(translated) = ahead {
        translated
    } else {
        let model = Model { name: model, quirks: provider.quirks(model) };
        pair.request(&admitted.body, stream, model, admitted.loss)?
    };
    if let Some(adaptation) = &provider.adaptation {
        let policy = (admitted.loss, &*provider.name);
        let (body, dropped) = adaptation.apply(pair, stream, model, translated.body, policy)?;
        translated.body = body;
        translated.dropped.extend(dropped);
    }
    let mut headers = head.headers.clone();
    headers.retain(is_shared);
    headers.set_first(Name::Host, &provider.authority);
    headers.set(Name::Accept, "*/*");
    headers.set(Name::ContentType, "application/json");
    if provider.dialect == Dialect::Anthropic {
        headers.set(Name::AnthropicVersion, ANTHROPIC_VERSION);
    }
    for (name, value) in &provider.headers {
        headers.set_field(name, value);
    }
    headers.set(Name::XRequestId, head.request_id.as_str());
    headers.set_number(Name::ContentLength, translated.body.len() as u64);
    let target = pair.path(&provider.paths, model, stream);
    let mut request = upstream::Request { method: Method::POST, target, headers };
    credential.apply(&mut request, std::slice::from_ref(&translated.body))?;
    let translation = Translation {
        pair,
        dropped: translated.dropped,
        keeping: pair.is_continued().then(|| Keeping::of(admitted, order.store)).flatten(),
        stream,
        stream_usage: translated.stream_usage,
        answer_by_call: translated.answer_by_call,
        model: model.into(),
    };
    Ok(Prepared::translated(request, translated.body, translation))
}

fn is_shared(field: Field<'_>) -> bool {
    SHARED_HEADERS.iter().any(|name| field.name.eq_ignore_ascii_case(name.as_bytes()))
}

impl Prepared {
    /// A request that was translated.
    pub(super) fn translated(
        request: upstream::Request,
        body: Bytes,
        translation: Translation,
    ) -> Self {
        let translation = Some(Box::new(translation));
        Self { request, body: body.into(), usage_injected: false, translation, dropped: None }
    }

    /// The endpoint as which the answer is read.
    pub(super) fn read_as(&self, head: &Head) -> Endpoint {
        self.translation.as_ref().map_or(head.read_as, |translation| translation.read_as())
    }
}

impl Translation {
    /// The endpoint as which the upstream's answer is read.
    pub(super) fn read_as(&self) -> Endpoint {
        self.pair.endpoint(self.stream)
    }

    /// An answer has to come in the way that was asked for.
    pub(super) fn check(&self, framing: Option<Framing>, headers: &Fields) -> Result<(), Error> {
        let encoded =
            headers.get(Name::ContentEncoding).is_some_and(|coding| coding != b"identity");
        let streams = matches!(framing, Some(framing) if framing != Framing::Opaque);
        let opaque = framing == Some(Framing::Opaque);
        if encoded || opaque || streams != self.stream {
            return Err(Error::new(
                Kind::UpstreamProtocol,
                "The upstream's answer is of another kind than what it was asked for.",
            ));
        }
        Ok(())
    }

    fn client<'a>(&'a self, order: Order<'a>) -> Client<'a> {
        let Order { head, admitted, .. } = order;
        Client {
            request_id: head.request_id.as_str(),
            model: &self.model,
            unix_s: clock::unix_ms() / 1000,
            stream_usage: self.stream_usage,
            answer_by_call: self.answer_by_call,
            kept: self.keeping.as_deref().map(Keeping::known_as),
            request: &admitted.body,
            framing: client_framing(head.dialect, head.query()),
        }
    }

    /// Makes a stream speak the client's format.
    pub(super) fn attach(&self, order: Order<'_>, stream: &mut Stream) {
        let framing = stream.framer.framing();
        stream.translator = self.pair.stream(framing, self.client(order)).map(Box::new);
    }

    /// A large answer in the client's format, translated on another thread.
    pub(super) async fn answer_off_worker(
        &self,
        order: Order<'_>,
        theirs: Bytes,
    ) -> Result<Answer, Error> {
        let (pair, request) = (self.pair, order.admitted.body.clone());
        let id = order.head.request_id.as_str().to_owned();
        let (model, keeping) = (Arc::clone(&self.model), self.keeping.clone());
        let Client { unix_s, stream_usage, answer_by_call, framing, .. } = self.client(order);
        let translating = tokio::task::spawn_blocking(move || {
            let kept = keeping.as_deref().map(Keeping::known_as);
            let client = Client {
                request_id: &id,
                model: &model,
                unix_s,
                stream_usage,
                answer_by_call,
                kept,
                request: &request,
                framing,
            };
            let (ours, dropped) = pair.answer(&theirs, client)?;
            Ok(Answer::Translated(Box::new(TranslatedAnswer { theirs, ours, dropped })))
        });
        translating.await.unwrap_or_else(|error| Err(not_translated(&error)))
    }

    /// A whole answer in the client's format.
    pub(super) fn answer(&self, order: Order<'_>, answer: Answer) -> Result<Answer, Error> {
        let Answer::Whole(theirs) = answer else {
            return Err(Error::new(
                Kind::UpstreamProtocol,
                "The upstream's answer is too large to be translated.",
            ));
        };
        let (ours, dropped) = self.pair.answer(&theirs, self.client(order))?;
        Ok(Answer::Translated(Box::new(TranslatedAnswer { theirs, ours, dropped })))
    }
}

/// How a client's stream is cut into frames.
fn client_framing(dialect: Dialect, query: Option<&str>) -> Framing {
    match dialect {
        Dialect::Bedrock => Framing::AwsEventStream,
        Dialect::Gemini => {
            let sse = query.unwrap_or_default().split('&').any(|pair| pair == "alt=sse");
            if sse { Framing::Sse } else { Framing::JsonArray }
        }
        _ => Framing::Sse,
    }
}

/// The content type of a client's stream.
fn stream_type(framing: Framing) -> &'static str {
    match framing {
        Framing::AwsEventStream => "application/vnd.amazon.eventstream",
        Framing::JsonArray => "application/json",
        Framing::Sse | Framing::Opaque => "text/event-stream; charset=utf-8",
    }
}

/// An upstream's own error answer in the client's format, under the upstream's own status.
pub(super) fn error_answer(
    pair: Pair,
    head: &Head,
    (status, headers, body): (StatusCode, &Fields, &[u8]),
    error: Error,
) -> UpstreamAnswer {
    let theirs = pair.error(status.as_u16(), &error, body);
    let body = pair.error_body(&theirs, head.request_id.as_str());
    let mut kept = Fields::default();
    kept.set(Name::ContentType, dialect::ERROR_CONTENT_TYPE);
    if let Some(after) = headers.text(Name::RetryAfter) {
        kept.set(Name::RetryAfter, after);
    }
    if let Some((name, value)) = dialect::error_header(head.dialect, &theirs) {
        kept.append(name, value);
    }
    // Only Anthropic's own clients know its word for being overloaded.
    let status = if status.as_u16() == 529 && head.dialect != Dialect::Anthropic {
        StatusCode::SERVICE_UNAVAILABLE
    } else {
        status
    };
    UpstreamAnswer { status, headers: kept, body, error }
}

impl Stream {
    /// How the client's stream is cut into frames.
    pub(super) fn client_framing(&self) -> Framing {
        self.translator.as_ref().map_or(self.framer.framing(), |translator| translator.framing())
    }

    /// The content type of the client's stream, where it is not the upstream's.
    pub(super) fn client_type(&self) -> Option<&'static str> {
        self.translator.as_ref().map(|translator| stream_type(translator.framing()))
    }

    /// Keeps what is for the client.
    pub(super) fn hold(&mut self, frames: &Bytes, forward: Forward) {
        match (&mut self.translator, forward) {
            (Some(translator), _) => {
                let ours = translator.push(frames);
                if !ours.is_empty() {
                    self.held.push(ours);
                }
            }
            (None, Forward::All) => self.held.push(frames.clone()),
            (None, Forward::Spans(spans)) => {
                self.held.extend(spans.into_iter().map(|span| frames.slice(span)));
            }
        }
    }

    /// Keeps the end of a stream that is complete.
    pub(super) fn hold_end(&mut self, rest: Option<Bytes>) {
        match self.translated_end(rest.as_deref()) {
            Some(end) => self.held.push(end),
            None => self.held.extend(rest),
        }
    }

    /// The end of a stream that is complete, for a client of another format.
    pub(super) fn translated_end(&mut self, rest: Option<&[u8]>) -> Option<Bytes> {
        let translator = self.translator.as_mut()?;
        let said = rest.map(|rest| translator.push(rest)).unwrap_or_default();
        let end = translator.finish();
        Some(if said.is_empty() { end } else { [said, end].concat().into() })
    }
}
