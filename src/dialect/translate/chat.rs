//! Chats: six formats, each with a codec in a folder of its own. This file only puts them together.

use std::fmt;
use std::ops::Range;

use bytes::Bytes;

use super::{Client, Place, TranslatedRequest, malformed};
use crate::dialect::call::{BodyKind, Call};
use crate::dialect::ir::{
    self, Answer, Content, Dropped, Finish, Format, Loss, LossPolicy, Model, Request,
};
use crate::dialect::{Endpoint, anthropic, bedrock, cohere, gemini, openai};
use crate::error::{Error, Kind};
use crate::wire::json;

mod by_call;
mod known;
mod stream;

pub use stream::StreamTranslator;

/// The client's format and the upstream's, where they differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChatPair {
    client: Format,
    upstream: Format,
}

impl fmt::Display for ChatPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.client, self.upstream)
    }
}

impl ChatPair {
    /// The pair of a call and an upstream that speaks these formats, of which the first is the one
    /// to translate to. `None` if the upstream speaks the call's own, or if the call cannot be
    /// translated.
    pub fn between(call: &Call<'_>, upstream: &[Format]) -> Option<Self> {
        let client = Format::of(call.endpoint)?;
        // Below an endpoint there are others, about answers that were kept.
        let whole = client != Format::Responses || call.tail == "/responses";
        if upstream.contains(&client) || call.body != BodyKind::Json || !whole {
            return None;
        }
        Some(Self { client, upstream: *upstream.first()? })
    }

    /// A pair of two formats. `None` if they are the same: nothing is translated between equals.
    pub fn of(client: Format, upstream: Format) -> Option<Self> {
        (client != upstream).then_some(Self { client, upstream })
    }

    /// The client's format.
    pub const fn client(self) -> Format {
        self.client
    }

    /// The upstream's format.
    pub const fn upstream(self) -> Format {
        self.upstream
    }

    /// The endpoint of the upstream.
    pub const fn endpoint(self, stream: bool) -> Endpoint {
        self.upstream.endpoint(stream)
    }

    /// Where the upstream's endpoint is, below its base address.
    pub(super) fn place(self, stream: bool) -> Place {
        let (tail, model_span, query) = place(self.upstream, stream);
        Place { tail, model_span, query }
    }

    /// The request as the upstream gets it. `body` is valid JSON.
    ///
    /// # Errors
    ///
    /// [`Kind::BadRequest`] if it is not what its format says, [`Kind::NotExpressible`] if the
    /// upstream's format has no words for it.
    pub fn request<'m>(
        self,
        body: &[u8],
        stream: bool,
        model: impl Into<Model<'m>>,
        policy: LossPolicy,
    ) -> Result<TranslatedRequest, Error> {
        let model = model.into();
        let mut request = decode_request(self.client, body)?;
        request.stream = stream;
        request.quirks = model.quirks;
        request.attach_seals();
        let stream_usage = request.stream_usage;
        let mut loss = Loss::new(self.upstream.as_str(), policy);
        for name in ir::unknown_members(json::lazy(body), known::of(self.client)) {
            if known::is_essential(&name) { loss.refuse(name) } else { loss.drop(name) }
        }
        let answer_by_call = request.suit_model(&mut loss);
        let body = encode_request(self.upstream, request, model.name, &mut loss);
        let dropped = loss.into_report()?;
        Ok(TranslatedRequest { body: body.into(), dropped, stream_usage, answer_by_call })
    }

    /// A whole answer as the client gets it.
    ///
    /// # Errors
    ///
    /// [`Kind::UpstreamProtocol`] if it is not what the upstream's format says.
    pub fn answer(self, body: &[u8], client: Client<'_>) -> Result<(Bytes, Dropped), Error> {
        let mut answer = decode_answer(self.upstream, body).map_err(|error| malformed(&error))?;
        if answer.model.is_none() {
            answer.model = Some(client.model.into());
        }
        let mut loss = Loss::new(self.client.as_str(), LossPolicy::Lenient);
        if client.answer_by_call {
            by_call::whole(&mut answer, &mut loss);
        }
        settle_finish(&mut answer)?;
        answer.extra.drain(..).for_each(|extra| loss.drop(extra.name.into_owned()));
        let body = encode_answer(self.client, &answer, client, &mut loss);
        Ok((body.into(), loss.take()))
    }
}

/// The path of a format below its base address, where the model stands in it, and its query.
fn place(
    format: Format,
    stream: bool,
) -> (&'static str, Option<Range<usize>>, Option<&'static str>) {
    match (format, stream) {
        (Format::Chat, _) => ("/chat/completions", None, None),
        (Format::Responses, _) => ("/responses", None, None),
        (Format::Anthropic, _) => ("/v1/messages", None, None),
        (Format::Gemini, false) => ("/v1beta/models/-:generateContent", Some(15..16), None),
        (Format::Gemini, true) => {
            ("/v1beta/models/-:streamGenerateContent", Some(15..16), Some("alt=sse"))
        }
        (Format::Cohere, _) => ("/v2/chat", None, None),
        (Format::Bedrock, false) => ("/model/-/converse", Some(7..8), None),
        (Format::Bedrock, true) => ("/model/-/converse-stream", Some(7..8), None),
    }
}

fn decode_request(format: Format, body: &[u8]) -> Result<Request<'_>, Error> {
    let body = json::lazy(body);
    match format {
        Format::Chat => openai::chat_codec::decode_request(body),
        Format::Responses => openai::responses_codec::decode_request(body),
        Format::Anthropic => anthropic::codec::decode_request(body),
        Format::Gemini => gemini::codec::decode_request(body),
        Format::Cohere => cohere::codec::decode_request(body),
        Format::Bedrock => bedrock::codec::decode_request(body),
    }
}

fn encode_request(format: Format, request: Request<'_>, model: &str, loss: &mut Loss) -> Vec<u8> {
    match format {
        Format::Chat => openai::chat_codec::encode_request(request, model, loss),
        Format::Responses => openai::responses_codec::encode_request(request, model, loss),
        Format::Anthropic => anthropic::codec::encode_request(request, model, loss),
        Format::Gemini => gemini::codec::encode_request(request, loss),
        Format::Cohere => cohere::codec::encode_request(request, model, loss),
        Format::Bedrock => bedrock::codec::encode_request(request, model, loss),
    }
}

fn decode_answer(format: Format, body: &[u8]) -> Result<Answer<'_>, Error> {
    let body = json::lazy(body);
    match format {
        Format::Chat => openai::chat_codec::decode_answer(body),
        Format::Responses => openai::responses_codec::decode_answer(body),
        Format::Anthropic => anthropic::codec::decode_answer(body),
        Format::Gemini => gemini::codec::decode_answer(body),
        Format::Cohere => cohere::codec::decode_answer(body),
        Format::Bedrock => bedrock::codec::decode_answer(body),
    }
}

fn encode_answer(
    format: Format,
    answer: &Answer<'_>,
    client: Client<'_>,
    loss: &mut Loss,
) -> Vec<u8> {
    let Client { request_id: id, unix_s, .. } = client;
    match format {
        Format::Chat => openai::chat_codec::encode_answer(answer, id, unix_s, loss),
        Format::Responses => {
            let echo = openai::responses_codec::Echo::of(client.request, client.kept);
            openai::responses_codec::encode_answer(answer, id, unix_s, &echo, loss)
        }
        Format::Anthropic => anthropic::codec::encode_answer(answer, id, loss),
        Format::Gemini => gemini::codec::encode_answer(answer, id, loss),
        Format::Cohere => cohere::codec::encode_answer(answer, id, loss),
        Format::Bedrock => bedrock::codec::encode_answer(answer, loss),
    }
}

/// Some formats do not say that an answer ended with calls, and some say that it failed.
fn settle_finish(answer: &mut Answer<'_>) -> Result<(), Error> {
    for choice in &mut answer.choices {
        let calls = choice.blocks.iter().any(|block| matches!(block.content, Content::ToolCall(_)));
        match choice.finish {
            Some(Finish::Stop) if calls => choice.finish = Some(Finish::ToolCalls),
            Some(Finish::Failed) => {
                return Err(Error::new(Kind::UpstreamStreamError, "The model's answer failed."));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
