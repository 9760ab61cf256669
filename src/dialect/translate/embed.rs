//! Embeddings.

use bytes::Bytes;

use super::{Client, Place, TranslatedRequest, malformed};
use crate::dialect::call::{BodyKind, Call};
use crate::dialect::ir::{Dropped, EmbedAnswer, EmbedFormat, EmbedRequest, Loss, LossPolicy};
use crate::dialect::{Dialect, bedrock, body, cohere, gemini, openai};
use crate::error::Error;
use crate::wire::json::{self, Value};

/// The client's format and the upstream's, where they differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EmbedPair {
    client: EmbedFormat,
    upstream: EmbedFormat,
}

impl EmbedFormat {
    pub(super) fn place(self) -> Place {
        let (tail, model_span) = self.tail();
        Place { tail, model_span, query: None }
    }
}

impl EmbedPair {
    /// The pair of a call and an upstream of this dialect, if they differ.
    pub fn between(call: &Call<'_>, upstream: Dialect) -> Option<Self> {
        let client = EmbedFormat::of(call)?;
        if client.dialect() == upstream || call.body != BodyKind::Json {
            return None;
        }
        Some(Self { client, upstream: EmbedFormat::of_dialect(upstream)? })
    }

    /// The client's format.
    pub const fn client(self) -> EmbedFormat {
        self.client
    }

    /// The upstream's format.
    pub const fn upstream(self) -> EmbedFormat {
        self.upstream
    }

    pub(super) fn request(
        self,
        body: &[u8],
        model: &str,
        policy: LossPolicy,
    ) -> Result<TranslatedRequest, Error> {
        let body = json::lazy(body);
        let request = decode_request(self.client, body)?;
        let mut loss = Loss::new(self.upstream.as_str(), policy);
        let own = body.get("texts").is_some();
        let body = match self.upstream {
            EmbedFormat::OpenAi => openai::embed_codec::encode_request(request, model, &mut loss),
            EmbedFormat::GeminiOne | EmbedFormat::Gemini => {
                gemini::embed_codec::encode_request(request, model, &mut loss)
            }
            EmbedFormat::Cohere => {
                cohere::embed_codec::encode_request(request, model, own, &mut loss)
            }
            EmbedFormat::Bedrock => {
                bedrock::embed_codec::encode_request(request, model, own, &mut loss)
            }
        };
        Ok(TranslatedRequest {
            body: body.into(),
            dropped: loss.into_report()?,
            stream_usage: false,
            answer_by_call: false,
        })
    }

    pub(super) fn answer(self, body: &[u8], client: Client<'_>) -> Result<(Bytes, Dropped), Error> {
        let document = json::lazy(body);
        let mut answer = self.decode_answer(document).map_err(|error| malformed(&error))?;
        answer.usage = body::usage(self.upstream.endpoint(), self.upstream.dialect(), document);
        let asked = json::lazy(client.request);
        let request = decode_request(self.client, asked)?;
        if answer.vectors.len() != request.inputs.len() {
            return Err(malformed(&"another number of vectors than of inputs"));
        }
        let out = match self.client {
            EmbedFormat::OpenAi => {
                openai::embed_codec::encode_answer(&answer, &request, client.model)
            }
            EmbedFormat::GeminiOne => gemini::embed_codec::encode_answer(&answer, false),
            EmbedFormat::Gemini => gemini::embed_codec::encode_answer(&answer, true),
            EmbedFormat::Cohere => {
                cohere::embed_codec::encode_answer(&answer, &request, client.request_id)
            }
            EmbedFormat::Bedrock => {
                bedrock::embed_codec::encode_answer(&answer, &request, asked, client.request_id)
            }
        };
        let out = out.ok_or_else(|| malformed(&"a vector that cannot be read"))?;
        Ok((out.into(), Dropped::default()))
    }

    fn decode_answer(self, body: Value<'_>) -> Result<EmbedAnswer<'_>, Error> {
        match self.upstream {
            EmbedFormat::OpenAi => openai::embed_codec::decode_answer(body),
            EmbedFormat::GeminiOne | EmbedFormat::Gemini => {
                gemini::embed_codec::decode_answer(body)
            }
            EmbedFormat::Cohere => cohere::embed_codec::decode_answer(body),
            EmbedFormat::Bedrock => bedrock::embed_codec::decode_answer(body),
        }
    }
}

fn decode_request(format: EmbedFormat, body: Value<'_>) -> Result<EmbedRequest<'_>, Error> {
    match format {
        EmbedFormat::OpenAi => openai::embed_codec::decode_request(body),
        EmbedFormat::GeminiOne | EmbedFormat::Gemini => gemini::embed_codec::decode_request(body),
        EmbedFormat::Cohere => cohere::embed_codec::decode_request(body),
        EmbedFormat::Bedrock => bedrock::embed_codec::decode_request(body),
    }
}

#[cfg(test)]
mod tests;
