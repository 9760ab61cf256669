//! What several dialects write alike, a floor below them: Cohere's messages and tools are those of
//! `OpenAI`, and models on Bedrock take what their makers' own APIs take.

pub(super) mod claude;
pub(super) mod documents;
pub(super) mod embed_by_type;
pub(super) mod parts;
pub(super) mod prompt;
pub(super) mod tools;
