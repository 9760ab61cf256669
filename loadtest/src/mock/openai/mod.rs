//! `OpenAI` and what is compatible with it.

pub(super) mod chat;
mod parts;
