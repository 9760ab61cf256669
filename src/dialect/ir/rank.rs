//! What a request for a ranking asks for, and what its answer says.

use super::super::call::Call;
use super::super::{Dialect, Endpoint, Usage};
use super::{Extra, Loss, Text};

/// A format of requests for rankings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RankFormat {
    /// The shape of Jina, which vLLM and others share, at `/v1/rerank`.
    Jina,
    /// Cohere's first version, at `/v1/rerank`.
    CohereV1,
    /// Cohere's `/v2/rerank`.
    Cohere,
}

impl RankFormat {
    /// The format of a call, if it is one for a ranking.
    pub fn of(call: &Call<'_>) -> Option<Self> {
        match (call.endpoint, call.dialect) {
            (Endpoint::Rerank, Dialect::OpenAi) => Some(RankFormat::Jina),
            (Endpoint::Rerank, Dialect::Cohere) if call.tail == "/v1/rerank" => {
                Some(RankFormat::CohereV1)
            }
            (Endpoint::Rerank, Dialect::Cohere) => Some(RankFormat::Cohere),
            _ => None,
        }
    }

    /// The one in which an upstream is asked.
    pub const fn of_dialect(dialect: Dialect) -> Option<Self> {
        match dialect {
            Dialect::OpenAi => Some(RankFormat::Jina),
            Dialect::Cohere => Some(RankFormat::Cohere),
            _ => None,
        }
    }

    /// The dialect that it belongs to.
    pub const fn dialect(self) -> Dialect {
        match self {
            RankFormat::Jina => Dialect::OpenAi,
            RankFormat::CohereV1 | RankFormat::Cohere => Dialect::Cohere,
        }
    }

    /// The path below a base address.
    pub const fn tail(self) -> &'static str {
        match self {
            RankFormat::Jina => "/rerank",
            RankFormat::CohereV1 => "/v1/rerank",
            RankFormat::Cohere => "/v2/rerank",
        }
    }

    /// The name in messages, logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            RankFormat::Jina => "rerank",
            RankFormat::CohereV1 | RankFormat::Cohere => "cohere_rerank",
        }
    }
}

/// A request for a ranking.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RankRequest<'a> {
    /// What the documents are compared with.
    pub query: Text<'a>,
    /// Texts, in order.
    pub documents: Vec<Text<'a>>,
    /// How many of the best are wanted; all if it does not say.
    pub top: Option<u64>,
    /// The documents are wanted back.
    pub documents_back: Option<bool>,
    /// Members that only some formats have.
    pub extra: Vec<Extra<'a>>,
}

impl RankRequest<'_> {
    /// Accounts for what is left.
    pub fn lose_the_rest(&mut self, loss: &mut Loss) {
        for extra in self.extra.drain(..) {
            let name = extra.name.into_owned();
            if extra.essential { loss.refuse(name) } else { loss.drop(name) }
        }
    }
}

/// A ranking.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RankAnswer<'a> {
    /// Its id, where the format has one.
    pub id: Option<Text<'a>>,
    /// The model that gave it.
    pub model: Option<Text<'a>>,
    /// The best first.
    pub results: Vec<Ranked<'a>>,
    /// What was used, in tokens.
    pub usage: Option<Usage>,
    /// What was used, in searches, as it was written.
    pub searches: Option<&'a str>,
}

/// One document's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ranked<'a> {
    /// Which document of the request it is.
    pub index: u64,
    /// How well it fits, as it was written.
    pub score: &'a str,
}
