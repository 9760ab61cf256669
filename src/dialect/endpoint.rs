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
    /// `POST /model/{id}/invoke`
    InvokeModel,
    /// `/passthrough/{provider}/*`
    Passthrough,
}

impl Endpoint {
    /// Every endpoint, in declaration order.
    pub const ALL: [Endpoint; 24] = [
        Endpoint::ChatCompletions,
        Endpoint::Completions,
        Endpoint::Responses,
        Endpoint::Embeddings,
        Endpoint::Rerank,
        Endpoint::Moderations,
        Endpoint::Images,
        Endpoint::Audio,
        Endpoint::Files,
        Endpoint::Batches,
        Endpoint::Realtime,
        Endpoint::Models,
        Endpoint::Messages,
        Endpoint::CountTokens,
        Endpoint::GenerateContent,
        Endpoint::StreamGenerateContent,
        Endpoint::GeminiCountTokens,
        Endpoint::EmbedContent,
        Endpoint::CohereChat,
        Endpoint::CohereEmbed,
        Endpoint::Converse,
        Endpoint::ConverseStream,
        Endpoint::InvokeModel,
        Endpoint::Passthrough,
    ];

    /// The name in configuration (`match: { endpoint: … }`), logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Endpoint::ChatCompletions => "chat_completions",
            Endpoint::Completions => "completions",
            Endpoint::Responses => "responses",
            Endpoint::Embeddings => "embeddings",
            Endpoint::Rerank => "rerank",
            Endpoint::Moderations => "moderations",
            Endpoint::Images => "images",
            Endpoint::Audio => "audio",
            Endpoint::Files => "files",
            Endpoint::Batches => "batches",
            Endpoint::Realtime => "realtime",
            Endpoint::Models => "models",
            Endpoint::Messages => "messages",
            Endpoint::CountTokens => "count_tokens",
            Endpoint::GenerateContent => "generate_content",
            Endpoint::StreamGenerateContent => "stream_generate_content",
            Endpoint::GeminiCountTokens => "gemini_count_tokens",
            Endpoint::EmbedContent => "embed_content",
            Endpoint::CohereChat => "cohere_chat",
            Endpoint::CohereEmbed => "cohere_embed",
            Endpoint::Converse => "converse",
            Endpoint::ConverseStream => "converse_stream",
            Endpoint::InvokeModel => "invoke_model",
            Endpoint::Passthrough => "passthrough",
        }
    }

    /// Whether its answers use tokens that are counted and billed.
    pub const fn metered(self) -> bool {
        !matches!(
            self,
            Endpoint::Files
                | Endpoint::Batches
                | Endpoint::Models
                | Endpoint::CountTokens
                | Endpoint::GeminiCountTokens
                | Endpoint::Passthrough
        )
    }

    /// Whether a request may be sent a second time after an upstream may have acted on the first:
    /// asking a model again costs tokens, uploading a file or starting a batch again leaves two of
    /// them behind. Passthrough may do anything, so it is not repeated either.
    pub const fn replayable(self) -> bool {
        !matches!(
            self,
            Endpoint::Files | Endpoint::Batches | Endpoint::Realtime | Endpoint::Passthrough
        )
    }

    /// `gen_ai.operation.name` of the OpenTelemetry `GenAI` semantic conventions, with names of the
    /// same style where they have none.
    pub const fn operation(self) -> &'static str {
        match self {
            Endpoint::ChatCompletions
            | Endpoint::Responses
            | Endpoint::Realtime
            | Endpoint::Messages
            | Endpoint::CohereChat
            | Endpoint::Converse
            | Endpoint::ConverseStream => "chat",
            Endpoint::Completions => "text_completion",
            Endpoint::Embeddings | Endpoint::EmbedContent | Endpoint::CohereEmbed => "embeddings",
            Endpoint::GenerateContent | Endpoint::StreamGenerateContent => "generate_content",
            Endpoint::Rerank => "rerank",
            Endpoint::Moderations => "moderation",
            Endpoint::Images => "image_generation",
            Endpoint::Audio => "audio",
            Endpoint::Files => "files",
            Endpoint::Batches => "batches",
            Endpoint::Models => "list_models",
            Endpoint::CountTokens | Endpoint::GeminiCountTokens => "count_tokens",
            Endpoint::InvokeModel => "invoke_model",
            Endpoint::Passthrough => "passthrough",
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
