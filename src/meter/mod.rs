//! Tokens and money: tokenizers, incremental counting, usage, prices.
//!
//! A provider's own usage report wins. Where there is none (a stream cut short, a client gone, an
//! upstream without usage) a [`Counter`] has counted along, exactly where the model's vocabulary
//! is public. [`UsageSource`] says which of the two it was.

mod background;
mod catalogue;
mod chat;
mod count;
mod counter;
mod counters;
mod estimate;
mod merges;
mod model;
mod pieces;
mod price;
mod seam;
mod vocabulary;

#[cfg(test)]
mod tests;

pub use background::{count_chat_off_worker, count_off_worker};
pub use catalogue::{OverrideError, Prices};
pub use chat::{ChatError, CountReport, count_chat, count_text};
pub use count::count;
pub use counter::Counter;
pub use counters::Counters;
pub use estimate::{tokens_of as estimate_tokens, tokens_of_len as estimate_tokens_of_len};
pub use model::{Tokenizer, tokenizer_for};
pub use price::{LongPromptSettings, NanoUsd, Price, PriceError, PriceSettings};
pub use vocabulary::{Vocabulary, warm};

/// A number of tokens, and whether it is a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Tokens.
    pub tokens: u64,
    /// Whether they were counted with the vocabulary. False for an estimate and for text without any
    /// place to cut it over many kilobytes. Says nothing of whether the vocabulary is the model's own:
    /// that is [`Tokenizer::exact`].
    pub exact: bool,
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.tokens += other.tokens;
        self.exact &= other.exact;
    }
}

/// Where a request's usage comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UsageSource {
    /// The provider reported it.
    Provider,
    /// Counted here with the model's own vocabulary.
    Counted,
    /// Counted with a stand-in vocabulary, or derived from the size of the text.
    Estimated,
    /// There is none: the endpoint has no tokens, or nothing was produced.
    None,
}

impl UsageSource {
    /// Every source, in declaration order.
    pub const ALL: [UsageSource; 4] =
        [UsageSource::Provider, UsageSource::Counted, UsageSource::Estimated, UsageSource::None];

    /// The label used in metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            UsageSource::Provider => "provider",
            UsageSource::Counted => "counted",
            UsageSource::Estimated => "estimated",
            UsageSource::None => "none",
        }
    }
}
