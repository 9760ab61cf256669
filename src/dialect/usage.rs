//! Token usage as providers report it, in one shape.

use serde::{Deserialize, Serialize};

use crate::wire::json::Value;

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

impl std::ops::Add for Usage {
    type Output = Usage;

    fn add(self, other: Usage) -> Usage {
        Usage {
            input: self.input.saturating_add(other.input),
            output: self.output.saturating_add(other.output),
            cached_input: self.cached_input.saturating_add(other.cached_input),
            cache_creation_5m: self.cache_creation_5m.saturating_add(other.cache_creation_5m),
            cache_creation_1h: self.cache_creation_1h.saturating_add(other.cache_creation_1h),
            reasoning: self.reasoning.saturating_add(other.reasoning),
            audio_input: self.audio_input.saturating_add(other.audio_input),
            audio_output: self.audio_output.saturating_add(other.audio_output),
        }
    }
}

/// A number of tokens. Some providers write whole numbers with a fraction (`17.0`).
pub(super) fn count(value: Value<'_>) -> Option<u64> {
    /// Beyond this an `f64` no longer tells whole numbers apart.
    const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;
    value
        .as_u64()
        .or_else(|| value.as_f64().filter(|n| (0.0..=WHOLE_MAX).contains(n)).map(|n| n as u64))
}
