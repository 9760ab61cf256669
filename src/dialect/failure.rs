//! How an error looks to a client: the body, the status and the end of a stream that its own SDK
//! turns into the exception that its users catch.
//!
//! The shapes are those that the providers' APIs send; each dialect's folder has its own. What is
//! common is here: which status, which content type, and how a stream that was cut is brought to an
//! end in each framing.

use bytes::Bytes;

use super::{Dialect, Endpoint, anthropic, bedrock, cohere, gemini, openai};
use crate::error::{Error, Kind};
use crate::wire::frame::Framing;

/// The content type of every error body.
pub const ERROR_CONTENT_TYPE: &str = "application/json";

/// The status of an error answer.
///
/// That of the kind, but that AWS answers 403 to a credential it does not know, and that Anthropic
/// and Cohere answer 402, AWS 400, where no money is left.
pub fn error_status(dialect: Dialect, error: &Error) -> u16 {
    match (dialect, error.kind) {
        (Dialect::Bedrock, Kind::Unauthorized) => 403,
        (Dialect::Anthropic | Dialect::Cohere, Kind::BudgetSpent) => 402,
        (Dialect::Bedrock, Kind::BudgetSpent) => 400,
        _ => error.kind.status(),
    }
}

/// A header that belongs to the shape of an error answer: the AWS libraries find the name of the
/// exception there.
pub fn error_header(dialect: Dialect, error: &Error) -> Option<(&'static str, &'static str)> {
    match dialect {
        Dialect::Bedrock => Some(("x-amzn-errortype", bedrock::error::exception(error.kind))),
        _ => None,
    }
}

/// The body of an error answer. The status is [`error_status`].
pub fn error_body(dialect: Dialect, endpoint: Endpoint, error: &Error, request_id: &str) -> Bytes {
    let body = match dialect {
        Dialect::OpenAi => openai::error::body(endpoint, error),
        Dialect::Anthropic => anthropic::error::body(error, request_id),
        Dialect::Gemini => gemini::error::body(error),
        Dialect::Cohere => cohere::error::body(error, request_id),
        Dialect::Bedrock => bedrock::error::body(error),
    };
    Bytes::from(body.to_string())
}

/// The end of a stream that cannot go on: well-formed, with an error that the SDK raises. To be
/// written where a frame ends.
///
/// [`StreamObserver::end`](super::StreamObserver::end) also continues the numbers of the events
/// before it; use this one where there is no observer.
pub fn stream_end(
    dialect: Dialect,
    endpoint: Endpoint,
    framing: Framing,
    error: &Error,
    request_id: &str,
) -> Bytes {
    end(dialect, endpoint, framing, error, request_id, Seen { frames: 1, sequence_number: None })
}

/// What the client has seen of a stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// How many frames.
    pub frames: u64,
    /// The number of the last event, in dialects that number them.
    pub sequence_number: Option<u64>,
}

pub(super) fn end(
    dialect: Dialect,
    endpoint: Endpoint,
    framing: Framing,
    error: &Error,
    request_id: &str,
    seen: Seen,
) -> Bytes {
    let text = match framing {
        Framing::Opaque => return Bytes::new(),
        Framing::AwsEventStream => return Bytes::from(bedrock::error::frame(error)),
        Framing::JsonArray => {
            let before = if seen.frames == 0 { "[" } else { ",\r\n" };
            let body = error_body(dialect, endpoint, error, request_id);
            format!("{before}{}]", String::from_utf8_lossy(&body))
        }
        Framing::Sse => match dialect {
            Dialect::OpenAi => openai::error::events(endpoint, error, seen.sequence_number),
            Dialect::Anthropic => anthropic::error::event(error, request_id),
            Dialect::Gemini => gemini::error::event(error),
            Dialect::Cohere => cohere::error::event(error),
            Dialect::Bedrock => format!("data: {}\n\n", bedrock::error::body(error)),
        },
    };
    Bytes::from(text)
}

/// Bytes that keep an idle stream alive on its way and that the client's library skips. `None` where
/// there are none: `google-genai` takes an SSE comment for a broken chunk, and the other framings
/// have no room for one.
pub fn heartbeat(dialect: Dialect, framing: Framing) -> Option<Bytes> {
    match (dialect, framing) {
        (Dialect::Gemini, _) => None,
        (_, Framing::Sse) => Some(Bytes::from_static(b": keep-alive\n\n")),
        _ => None,
    }
}

/// How an answer streams, by its content type. `None` if it does not, or if its frames are none of
/// weir's business: whether a passthrough's stream is complete is not known here.
pub fn framing(endpoint: Endpoint, content_type: Option<&[u8]>) -> Option<Framing> {
    if matches!(endpoint, Endpoint::Passthrough | Endpoint::Files | Endpoint::Batches) {
        return None;
    }
    let content_type = content_type?;
    let end = memchr::memchr(b';', content_type).unwrap_or(content_type.len());
    let media_type = content_type[..end].trim_ascii();
    if media_type.eq_ignore_ascii_case(b"text/event-stream") {
        Some(Framing::Sse)
    } else if media_type.eq_ignore_ascii_case(b"application/vnd.amazon.eventstream") {
        Some(Framing::AwsEventStream)
    } else if endpoint == Endpoint::StreamGenerateContent
        && media_type.eq_ignore_ascii_case(b"application/json")
    {
        Some(Framing::JsonArray)
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
