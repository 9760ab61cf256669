//! Labels of endpoints.

use crate::dialect::Endpoint;

/// The endpoint's own label.
pub const fn label(endpoint: Endpoint) -> &'static str {
    match endpoint {
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
        Endpoint::Passthrough => "passthrough",
    }
}

/// `gen_ai.operation.name`.
pub const fn operation(endpoint: Endpoint) -> &'static str {
    match endpoint {
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
        Endpoint::Passthrough => "passthrough",
    }
}

/// Whether its answers use tokens.
pub const fn metered(endpoint: &Endpoint) -> bool {
    !matches!(
        endpoint,
        Endpoint::Files
            | Endpoint::Batches
            | Endpoint::Models
            | Endpoint::CountTokens
            | Endpoint::GeminiCountTokens
            | Endpoint::Passthrough
    )
}
