//! Rankings.

use bytes::Bytes;

use super::{Client, Place, TranslatedRequest, malformed};
use crate::dialect::call::{BodyKind, Call};
use crate::dialect::ir::{Dropped, Loss, LossPolicy, RankFormat, RankRequest};
use crate::dialect::{Dialect, Endpoint, body, cohere, openai};
use crate::error::Error;
use crate::wire::json::{self, Value};

/// The client's format and the upstream's, where they differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RankPair {
    client: RankFormat,
    upstream: RankFormat,
}

impl RankFormat {
    pub(super) fn place(self) -> Place {
        Place { tail: self.tail(), model_span: None, query: None }
    }
}

impl RankPair {
    /// The pair of a call and an upstream of this dialect, if they differ.
    pub fn between(call: &Call<'_>, upstream: Dialect) -> Option<Self> {
        let client = RankFormat::of(call)?;
        if client.dialect() == upstream || call.body != BodyKind::Json {
            return None;
        }
        Some(Self { client, upstream: RankFormat::of_dialect(upstream)? })
    }

    /// The client's format.
    pub const fn client(self) -> RankFormat {
        self.client
    }

    /// The upstream's format.
    pub const fn upstream(self) -> RankFormat {
        self.upstream
    }

    pub(super) fn request(
        self,
        body: &[u8],
        model: &str,
        policy: LossPolicy,
    ) -> Result<TranslatedRequest, Error> {
        let request = decode_request(self.client, json::lazy(body))?;
        let mut loss = Loss::new(self.upstream.as_str(), policy);
        let body = match self.upstream {
            RankFormat::Jina => openai::rank_codec::encode_request(request, model, &mut loss),
            RankFormat::CohereV1 | RankFormat::Cohere => {
                cohere::rank_codec::encode_request(request, model, &mut loss)
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
        let answer = match self.upstream {
            RankFormat::Jina => openai::rank_codec::decode_answer(document),
            RankFormat::CohereV1 | RankFormat::Cohere => {
                cohere::rank_codec::decode_answer(document)
            }
        };
        let mut answer = answer.map_err(|error| malformed(&error))?;
        answer.usage = body::usage(Endpoint::Rerank, self.upstream.dialect(), document);
        let request = decode_request(self.client, json::lazy(client.request))?;
        let out = match self.client {
            RankFormat::Jina => openai::rank_codec::encode_answer(&answer, &request, client.model),
            RankFormat::CohereV1 | RankFormat::Cohere => {
                let first_version = self.client == RankFormat::CohereV1;
                let id = client.request_id;
                cohere::rank_codec::encode_answer(&answer, &request, first_version, id)
            }
        };
        Ok((out.into(), Dropped::default()))
    }
}

fn decode_request(format: RankFormat, body: Value<'_>) -> Result<RankRequest<'_>, Error> {
    match format {
        RankFormat::Jina => openai::rank_codec::decode_request(body),
        RankFormat::CohereV1 | RankFormat::Cohere => cohere::rank_codec::decode_request(body),
    }
}

#[cfg(test)]
mod tests;
