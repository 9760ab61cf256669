//! `OpenAI`'s `usage`, in the spellings of its endpoints and of those who are compatible with it.

use std::cell::RefCell;

use super::super::Usage;
use super::super::usage::count;
use crate::wire::json::{Forms, LastKey, Leaf, Value};

/// What a number counts.
#[derive(Clone, Copy, Debug)]
enum Counts {
    Input,
    Output,
    Total,
    /// `DeepSeek`'s own word for what it read from its cache.
    CacheHit,
    CachedInput,
    CacheCreation,
    AudioInput,
    Reasoning,
    AudioOutput,
}

impl Counts {
    /// The number of a leaf of `usage`.
    #[inline]
    fn of(leaf: &Leaf<'_>) -> Option<Self> {
        Some(match leaf.within {
            b"" => match leaf.key {
                b"prompt_tokens" | b"input_tokens" => Counts::Input,
                b"completion_tokens" | b"output_tokens" => Counts::Output,
                b"total_tokens" => Counts::Total,
                b"prompt_cache_hit_tokens" => Counts::CacheHit,
                _ => return None,
            },
            b"prompt_tokens_details" | b"input_tokens_details" | b"input_token_details" => {
                match leaf.key {
                    b"cached_tokens" => Counts::CachedInput,
                    b"cache_write_tokens" | b"cache_creation_tokens" => Counts::CacheCreation,
                    b"audio_tokens" => Counts::AudioInput,
                    _ => return None,
                }
            }
            b"completion_tokens_details" | b"output_tokens_details" | b"output_token_details" => {
                match leaf.key {
                    b"reasoning_tokens" => Counts::Reasoning,
                    b"audio_tokens" => Counts::AudioOutput,
                    _ => return None,
                }
            }
            _ => return None,
        })
    }
}

/// What the numbers come to.
#[derive(Default)]
struct Count {
    usage: Usage,
    found: bool,
    total: Option<u64>,
}

impl Count {
    /// Takes the next number. None if there is none where there has to be one.
    fn take(&mut self, counts: Counts, number: Option<u64>) -> Option<()> {
        let usage = &mut self.usage;
        let tokens = number.unwrap_or_default();
        match counts {
            Counts::Input => (usage.input, self.found) = (number?, true),
            Counts::Output => (usage.output, self.found) = (number?, true),
            Counts::Total => self.total = number,
            Counts::CacheHit if usage.cached_input > 0 => {}
            Counts::CacheHit | Counts::CachedInput => usage.cached_input = tokens,
            Counts::CacheCreation => usage.cache_creation_5m = tokens,
            Counts::AudioInput => usage.audio_input = tokens,
            Counts::Reasoning => usage.reasoning = tokens,
            Counts::AudioOutput => usage.audio_output = tokens,
        }
        Some(())
    }

    fn usage(mut self) -> Option<Usage> {
        if !self.found {
            // Embeddings and rerank of some servers only say the total.
            self.usage.input = self.total?;
        }
        Some(self.usage)
    }
}

/// Reads a `usage` object. `None` if it is none, or measures something else than tokens
/// (transcriptions may be billed by their duration).
pub(in crate::dialect) fn usage(value: Value<'_>) -> Option<Usage> {
    let mut all = Count::default();
    for leaf in value.leaves() {
        if let Some(counts) = Counts::of(&leaf) {
            all.take(counts, count(leaf.value))?;
        }
    }
    all.usage()
}

thread_local! {
    /// How the answers that this thread read last ended.
    static ENDS: RefCell<Forms<Counts>> = const { RefCell::new(Forms::none()) };
}

/// The same of the last member of an answer with this key.
pub(in crate::dialect) fn last(answer: Value<'_>, key: &LastKey) -> Option<Usage> {
    ENDS.with_borrow_mut(|ends| {
        if let Some(numbers) = ends.read(answer) {
            let mut all = Count::default();
            for (counts, number) in numbers {
                all.take(counts, Some(number))?;
            }
            return all.usage();
        }
        let usage = answer.get_last(key).and_then(usage);
        if usage.is_some() {
            ends.learn(answer, key, Counts::of);
        }
        usage
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::json::lazy;

    #[track_caller]
    fn check(raw: &str, want: Option<Usage>) {
        assert_eq!(usage(lazy(raw.as_bytes())), want, "{raw}");
    }

    #[test]
    fn chat() {
        check(
            r#"{"prompt_tokens":100,"completion_tokens":50,"total_tokens":150,
                "prompt_tokens_details":{"cached_tokens":64,"audio_tokens":3},
                "completion_tokens_details":{"reasoning_tokens":20,"audio_tokens":7,
                "accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}"#,
            Some(Usage {
                input: 100,
                output: 50,
                cached_input: 64,
                reasoning: 20,
                audio_input: 3,
                audio_output: 7,
                ..Usage::default()
            }),
        );
    }

    #[test]
    fn responses_and_others() {
        let plain = Usage { input: 9, output: 4, ..Usage::default() };
        check(
            r#"{"input_tokens":9,"input_tokens_details":{"cached_tokens":2},"output_tokens":4,
                "output_tokens_details":{"reasoning_tokens":1},"total_tokens":13}"#,
            Some(Usage { cached_input: 2, reasoning: 1, ..plain }),
        );
        check(
            r#"{"prompt_tokens":9,"completion_tokens":4,"prompt_cache_hit_tokens":8}"#,
            Some(Usage { cached_input: 8, ..plain }),
        );
        check(
            r#"{"prompt_tokens":5,"total_tokens":5}"#,
            Some(Usage { input: 5, ..Usage::default() }),
        );
        check(r#"{"total_tokens":5}"#, Some(Usage { input: 5, ..Usage::default() }));
        check(r#"{"type":"duration","seconds":12}"#, None);
        check("null", None);
        check(r#"{"prompt_tokens":null,"completion_tokens":1}"#, None);
    }
}
