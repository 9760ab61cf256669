//! Token usage as providers report it, in one shape.

use serde::{Deserialize, Serialize};

/// Tokens by kind. `input` and `output` are totals: the other fields say what part of them was
/// cached, reasoning or audio, whatever way the provider adds them up on the wire (Anthropic's
/// `input_tokens` leaves cache reads and writes out; they are added here).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// All tokens of the prompt.
    pub input: u64,
    /// All tokens of the answer.
    pub output: u64,
    /// Part of `input` that was read from the provider's prompt cache.
    pub cached_input: u64,
    /// Part of `input` that was written to the prompt cache for five minutes (the default kind).
    pub cache_creation_5m: u64,
    /// Part of `input` that was written to the prompt cache for one hour.
    pub cache_creation_1h: u64,
    /// Part of `output` that was reasoning.
    pub reasoning: u64,
    /// Part of `input` that was audio.
    pub audio_input: u64,
    /// Part of `output` that was audio.
    pub audio_output: u64,
}
