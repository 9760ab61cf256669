//! The data plane's endpoints, and which dialect each speaks.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A wire format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    /// `OpenAI` and what is compatible with it.
    #[serde(rename = "openai")]
    OpenAi,
    /// Anthropic Messages.
    Anthropic,
    /// Google Gemini `generateContent`.
    Gemini,
    /// Cohere v2.
    Cohere,
    /// Amazon Bedrock Converse.
    Bedrock,
}

impl Dialect {
    /// Every dialect.
    pub const ALL: [Dialect; 5] =
        [Dialect::OpenAi, Dialect::Anthropic, Dialect::Gemini, Dialect::Cohere, Dialect::Bedrock];

    /// The name in configuration, logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Dialect::OpenAi => "openai",
            Dialect::Anthropic => "anthropic",
            Dialect::Gemini => "gemini",
            Dialect::Cohere => "cohere",
            Dialect::Bedrock => "bedrock",
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An endpoint of the data plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// `POST /v1/chat/completions`
    ChatCompletions,
    /// `POST /v1/completions`
    Completions,
    /// `POST /v1/responses` and what is below it.
    Responses,
    /// `POST /v1/embeddings`
    Embeddings,
    /// `POST /v1/rerank`, `/v2/rerank`
    Rerank,
    /// `POST /v1/moderations`
    Moderations,
    /// `POST /v1/images/*`
    Images,
    /// `POST /v1/audio/*`
    Audio,
    /// `/v1/files*`
    Files,
    /// `/v1/batches*`
    Batches,
    /// `/v1/realtime` (WebSocket)
    Realtime,
    /// `GET /v1/models*`
    Models,
    /// `POST /v1/messages`
    Messages,
    /// `POST /v1/messages/count_tokens`
    CountTokens,
    /// `POST …/models/{model}:generateContent`
    GenerateContent,
    /// `POST …/models/{model}:streamGenerateContent`
    StreamGenerateContent,
    /// `POST …/models/{model}:countTokens`
    GeminiCountTokens,
    /// `POST …/models/{model}:embedContent` and `:batchEmbedContents`
    EmbedContent,
    /// `POST /v2/chat`
    CohereChat,
    /// `POST /v2/embed`
    CohereEmbed,
    /// `POST /model/{id}/converse`
    Converse,
    /// `POST /model/{id}/converse-stream`
    ConverseStream,
    /// `/passthrough/{provider}/*`
    Passthrough,
}
