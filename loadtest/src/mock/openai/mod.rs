//! `OpenAI` and what is compatible with it.

pub(super) mod audio;
pub(super) mod chat;
pub(super) mod files;
mod parts;
pub(super) mod responses;
pub(super) mod small;
