//! What of a forwarded stream has to be known to end it early: what is open, and what it is called.
//!
//! A stream whose request may not use more ends as if its model had reached the length that was asked
//! for: what is open is closed, and the reason is the format's own word for length, so that every
//! client library takes it for a complete answer. A stream that is translated knows all that
//! ([`StreamTranslator::cut`](super::StreamTranslator::cut)); one that is forwarded is followed by an
//! outline, and only where a limit may end it. Frames that are alike but for their text are not looked
//! at, except in Responses, whose last event repeats all that was said.

use bytes::Bytes;

use super::ir::{Event, Finish, Loss, LossPolicy};
use super::{Dialect, Endpoint, Usage, anthropic, bedrock, cohere, gemini, openai};
use crate::wire::eventstream::Message;
use crate::wire::frame::Framing;

/// The outline of one stream.
#[derive(Debug)]
pub(super) enum Outline {
    Chat(openai::chat_cut::Outline),
    Responses(openai::responses_cut::Outline),
    Anthropic(anthropic::cut::Outline),
    Gemini(gemini::cut::Outline),
    Cohere(cohere::cut::Outline),
    Bedrock(bedrock::cut::Outline),
}

/// What the last frames of a stream say.
#[derive(Clone, Copy, Debug)]
pub struct Ending<'a> {
    /// What was used.
    pub usage: Usage,
    /// The client wants to be told that in formats where it has to ask for it.
    pub wants_usage: bool,
    /// Names the request.
    pub request_id: &'a str,
}

/// What the client has of a stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Given {
    pub framing: Framing,
    /// How many frames.
    pub frames: u64,
}

impl Outline {
    /// Of a stream that has not begun. `None` for what has no end of its own, such as audio.
    pub fn new(dialect: Dialect, endpoint: Endpoint) -> Option<Self> {
        match (dialect, endpoint) {
            (Dialect::OpenAi, Endpoint::ChatCompletions | Endpoint::Completions) => {
                Some(Outline::Chat(openai::chat_cut::Outline::default()))
            }
            (Dialect::OpenAi, Endpoint::Responses) => {
                Some(Outline::Responses(openai::responses_cut::Outline::default()))
            }
            (Dialect::Anthropic, Endpoint::Messages) => {
                Some(Outline::Anthropic(anthropic::cut::Outline::default()))
            }
            (Dialect::Gemini, Endpoint::StreamGenerateContent) => {
                Some(Outline::Gemini(gemini::cut::Outline::default()))
            }
            (Dialect::Cohere, Endpoint::CohereChat) => {
                Some(Outline::Cohere(cohere::cut::Outline::default()))
            }
            (Dialect::Bedrock, Endpoint::ConverseStream) => {
                Some(Outline::Bedrock(bedrock::cut::Outline::default()))
            }
            _ => None,
        }
    }

    /// Whether it has to be shown frames that are alike but for their text.
    pub fn wants_texts(&self) -> bool {
        matches!(self, Outline::Responses(_))
    }

    /// An event of SSE or an element of a JSON array.
    pub fn event(&mut self, data: &[u8]) {
        match self {
            Outline::Chat(outline) => outline.event(data),
            Outline::Responses(outline) => outline.event(data),
            Outline::Anthropic(outline) => outline.event(data),
            Outline::Gemini(outline) => outline.event(data),
            Outline::Cohere(outline) => outline.event(data),
            Outline::Bedrock(_) => {}
        }
    }

    /// A message of the AWS event stream.
    pub fn message(&mut self, message: &Message<'_>) {
        if let Outline::Bedrock(outline) = self {
            outline.message(message);
        }
    }

    /// The frames with which the stream ends, in place of the last one that was looked at.
    pub fn end(&mut self, given: Given, ending: Ending<'_>) -> Bytes {
        let out = match self {
            Outline::Chat(outline) => outline.end(ending),
            Outline::Responses(outline) => outline.end(ending),
            Outline::Anthropic(outline) => outline.end(ending),
            Outline::Gemini(outline) => outline.end(given, ending),
            Outline::Cohere(outline) => outline.end(ending),
            Outline::Bedrock(outline) => outline.end(ending),
        };
        Bytes::from(out)
    }
}

/// What every encoder is told at the end of a stream that was cut.
pub(super) fn last_events(usage: Usage, mut encode: impl FnMut(Event<'static>, &mut Loss)) {
    // Nothing of it can be lost: it is three events that every format has words for.
    let mut loss = Loss::new("client", LossPolicy::Lenient);
    encode(Event::Usage(usage), &mut loss);
    encode(Event::Finish { choice: 0, finish: Finish::Length, stop_sequence: None }, &mut loss);
    encode(Event::End, &mut loss);
}
