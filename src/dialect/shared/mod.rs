//! What several dialects write alike, a floor below them: Cohere's messages and tools are those of
//! `OpenAI`, and Cohere's models on Bedrock take the bodies that Cohere's own API takes.

pub(super) mod documents;
pub(super) mod embed_by_type;
pub(super) mod parts;
pub(super) mod prompt;
pub(super) mod tools;
