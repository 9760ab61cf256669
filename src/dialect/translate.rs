//! A request of one format for an upstream of another, and its answer on the way back.
//!
//! Two codecs meet in the intermediate representation ([`ir`]): the client's format decodes requests
//! and encodes answers, the upstream's encodes requests and decodes answers. There is one such
//! representation for each kind of work: chats, embeddings, rankings. A pair of the same format is
//! never translated: its bytes are forwarded.

use std::fmt;
use std::ops::Range;

use bytes::Bytes;

use super::call::{BodyKind, Call};
use super::ir::{Dropped, Format, KeptAs, LossPolicy, Model};
use super::{Dialect, Endpoint, Paths, StreamError, failure, rewrite};
use crate::error::{Error, Kind};
use crate::wire::frame::Framing;
use crate::wire::json;

mod chat;
mod embed;
mod rank;

pub use chat::{ChatPair, StreamTranslator};
pub use embed::EmbedPair;
pub use rank::RankPair;

/// The client's format and the upstream's, where they differ, by kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pair {
    /// Chats.
    Chat(ChatPair),
    /// Embeddings.
    Embed(EmbedPair),
    /// Rankings.
    Rank(RankPair),
}

/// What an upstream speaks.
#[derive(Clone, Copy, Debug)]
pub struct Speaks<'a> {
    /// Its dialect.
    pub dialect: Dialect,
    /// Its formats of chats, of which the first is the one to translate to.
    pub formats: &'a [Format],
}

/// A request for the upstream.
#[derive(Clone, Debug)]
pub struct TranslatedRequest {
    /// The body.
    pub body: Bytes,
    /// What of the client's request is not in it.
    pub dropped: Dropped,
    /// The client wants to be told what was used at the end of the stream.
    pub stream_usage: bool,
    /// The answer will be the arguments of a call, since the model gives none of a schema.
    pub answer_by_call: bool,
}

/// The client to whom an answer goes.
#[derive(Clone, Copy, Debug)]
pub struct Client<'a> {
    /// What to call an answer that has no id.
    pub request_id: &'a str,
    /// The model that was asked for, for an answer that does not name one.
    pub model: &'a str,
    /// Seconds since 1970, for an answer that does not say when it was given.
    pub unix_s: u64,
    /// The client wants to be told what was used at the end of the stream.
    pub stream_usage: bool,
    /// The arguments of the call that weir asked for are its answer.
    pub answer_by_call: bool,
    /// As what its answer is kept, if it is.
    pub kept: Option<KeptAs<'a>>,
    /// Its request, as it came: some of what an answer looks like is asked for there.
    pub request: &'a [u8],
    /// How its stream is cut into frames.
    pub framing: Framing,
}

/// Where an endpoint is below an upstream's base address.
struct Place {
    tail: &'static str,
    /// Where the model stands in it.
    model_span: Option<Range<usize>>,
    query: Option<&'static str>,
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.client(), self.upstream())
    }
}

impl Pair {
    /// The pair of a call and an upstream. `None` if the upstream speaks the call's own format, or if
    /// the call cannot be translated.
    pub fn between(call: &Call<'_>, upstream: Speaks<'_>) -> Option<Self> {
        let chat = || ChatPair::between(call, upstream.formats).map(Pair::Chat);
        let embed = || EmbedPair::between(call, upstream.dialect).map(Pair::Embed);
        chat().or_else(embed).or_else(|| RankPair::between(call, upstream.dialect).map(Pair::Rank))
    }

    /// The client's format, for messages, logs and metrics.
    pub const fn client(&self) -> &'static str {
        match self {
            Pair::Chat(pair) => pair.client().as_str(),
            Pair::Embed(pair) => pair.client().as_str(),
            Pair::Rank(pair) => pair.client().as_str(),
        }
    }

    /// The upstream's format, for messages, logs and metrics.
    pub const fn upstream(&self) -> &'static str {
        match self {
            Pair::Chat(pair) => pair.upstream().as_str(),
            Pair::Embed(pair) => pair.upstream().as_str(),
            Pair::Rank(pair) => pair.upstream().as_str(),
        }
    }

    /// The dialect and the endpoint of the client.
    const fn asked(self) -> (Dialect, Endpoint) {
        match self {
            Pair::Chat(pair) => (pair.client().dialect(), pair.client().endpoint(false)),
            Pair::Embed(pair) => (pair.client().dialect(), pair.client().endpoint()),
            Pair::Rank(pair) => (pair.client().dialect(), Endpoint::Rerank),
        }
    }

    /// Whether the client may go on from an answer by its id.
    pub fn is_continued(&self) -> bool {
        matches!(self, Pair::Chat(pair) if pair.client() == Format::Responses)
    }

    /// Whether an answer may be a stream.
    pub const fn streams(&self) -> bool {
        matches!(self, Pair::Chat(_))
    }

    /// The endpoint of the upstream.
    pub const fn endpoint(&self, stream: bool) -> Endpoint {
        match self {
            Pair::Chat(pair) => pair.endpoint(stream),
            Pair::Embed(pair) => pair.upstream().endpoint(),
            Pair::Rank(_) => Endpoint::Rerank,
        }
    }

    /// The path and query of the upstream.
    pub fn path(&self, paths: &Paths, model: &str, stream: bool) -> String {
        let (place, dialect) = match self {
            Pair::Chat(pair) => (pair.place(stream), pair.upstream().dialect()),
            Pair::Embed(pair) => (pair.upstream().place(), pair.upstream().dialect()),
            Pair::Rank(pair) => (pair.upstream().place(), pair.upstream().dialect()),
        };
        let call = Call {
            endpoint: self.endpoint(stream),
            dialect,
            body: BodyKind::Json,
            model: None,
            provider: None,
            tail: place.tail,
            headers: None,
            model_span: place.model_span,
        };
        rewrite::upstream_path(&call, paths, place.query, Some(model), stream)
    }

    /// The request as the upstream gets it. `body` is valid JSON.
    ///
    /// # Errors
    ///
    /// [`Kind::BadRequest`] if it is not what its format says, [`Kind::NotExpressible`] if the
    /// upstream's format has no words for it.
    pub fn request<'m>(
        &self,
        body: &[u8],
        stream: bool,
        model: impl Into<Model<'m>>,
        policy: LossPolicy,
    ) -> Result<TranslatedRequest, Error> {
        let model = model.into();
        match self {
            Pair::Chat(pair) => pair.request(body, stream, model, policy),
            Pair::Embed(pair) => pair.request(body, model.name, policy),
            Pair::Rank(pair) => pair.request(body, model.name, policy),
        }
    }

    /// A whole answer as the client gets it.
    ///
    /// # Errors
    ///
    /// [`Kind::UpstreamProtocol`] if it is not what the upstream's format says.
    pub fn answer(&self, body: &[u8], client: Client<'_>) -> Result<(Bytes, Dropped), Error> {
        json::validate(body, json::Limits { depth_max: json::DEPTH_MAX })
            .map_err(|error| malformed(&error))?;
        match self {
            Pair::Chat(pair) => pair.answer(body, client),
            Pair::Embed(pair) => pair.answer(body, client),
            Pair::Rank(pair) => pair.answer(body, client),
        }
    }

    /// A translator for a stream whose frames are cut as `framing` says, where there are streams.
    pub fn stream(&self, framing: Framing, client: Client<'_>) -> Option<StreamTranslator> {
        match self {
            Pair::Chat(pair) => Some(pair.stream(framing, client)),
            Pair::Embed(_) | Pair::Rank(_) => None,
        }
    }

    /// What an upstream's own error answer, with its status, says to the client.
    pub fn error(&self, status: u16, error: &Error, body: &[u8]) -> Error {
        let found = StreamError::from_body(body);
        let message = found.map_or_else(|| error.public.clone(), |found| found.message.into());
        let kind = match status {
            404 => Kind::NotFound,
            413 => Kind::BodyTooLarge,
            429 => Kind::UpstreamRateLimited,
            500 => Kind::Internal,
            503 | 529 => Kind::Overloaded,
            504 => Kind::TotalTimeout,
            501.. => Kind::UpstreamStatus,
            _ => Kind::UpstreamRejected,
        };
        Error::new(kind, message).retry_after(error.retry_after)
    }

    /// The body of an error answer, in the client's format.
    pub fn error_body(&self, error: &Error, request_id: &str) -> Bytes {
        let (dialect, endpoint) = self.asked();
        failure::error_body(dialect, endpoint, error, request_id)
    }
}

/// An answer that is not what its format says.
fn malformed(cause: &dyn fmt::Display) -> Error {
    Error::new(Kind::UpstreamProtocol, "The upstream's answer is malformed.").cause(cause)
}
