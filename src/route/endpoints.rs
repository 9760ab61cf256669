//! The endpoints' names in a route.

use crate::dialect::Endpoint;

/// Every endpoint with its name.
pub(super) const NAMES: [(Endpoint, &str); 23] = [
    (Endpoint::ChatCompletions, "chat_completions"),
    (Endpoint::Completions, "completions"),
    (Endpoint::Responses, "responses"),
    (Endpoint::Embeddings, "embeddings"),
    (Endpoint::Rerank, "rerank"),
    (Endpoint::Moderations, "moderations"),
    (Endpoint::Images, "images"),
    (Endpoint::Audio, "audio"),
    (Endpoint::Files, "files"),
    (Endpoint::Batches, "batches"),
    (Endpoint::Realtime, "realtime"),
    (Endpoint::Models, "models"),
    (Endpoint::Messages, "messages"),
    (Endpoint::CountTokens, "count_tokens"),
    (Endpoint::GenerateContent, "generate_content"),
    (Endpoint::StreamGenerateContent, "stream_generate_content"),
    (Endpoint::GeminiCountTokens, "gemini_count_tokens"),
    (Endpoint::EmbedContent, "embed_content"),
    (Endpoint::CohereChat, "cohere_chat"),
    (Endpoint::CohereEmbed, "cohere_embed"),
    (Endpoint::Converse, "converse"),
    (Endpoint::ConverseStream, "converse_stream"),
    (Endpoint::Passthrough, "passthrough"),
];

/// An endpoint's name.
pub(super) fn name(endpoint: Endpoint) -> &'static str {
    NAMES[endpoint as usize].1
}

/// A set of endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Set(u32);

impl Set {
    pub const ALL: Self = Self(u32::MAX);
    pub const NONE: Self = Self(0);

    pub fn with(self, endpoint: Endpoint) -> Self {
        Self(self.0 | 1 << endpoint as u32)
    }

    pub fn contains(self, endpoint: Endpoint) -> bool {
        self.0 & 1 << endpoint as u32 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_in_the_order_of_the_endpoints() {
        for (at, (endpoint, name_there)) in NAMES.iter().enumerate() {
            assert_eq!(*endpoint as usize, at);
            assert_eq!(name(*endpoint), *name_there);
            assert!(Set::NONE.with(*endpoint).contains(*endpoint));
        }
    }
}
