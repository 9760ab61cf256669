//! `OpenAI`'s `usage`, in the spellings of its endpoints and of those who are compatible with it.

use super::super::Usage;
use super::super::usage::count;
use crate::wire::json::{Kind, Leaf, Leaves, Value};

/// Reads a `usage` object. `None` if it is none, or measures something else than tokens
/// (transcriptions may be billed by their duration).
pub(in crate::dialect) fn usage(value: Value<'_>) -> Option<Usage> {
    if value.kind() == Some(Kind::Object) { read(&mut value.leaves()) } else { None }
}

/// What the numbers of an object count.
#[derive(Clone, Copy)]
enum Part {
    Whole,
    Input,
    Output,
    Other,
}

impl Part {
    /// Of the object within `usage` that has this key; those of `usage` itself are in none.
    fn of(key: &[u8]) -> Self {
        match key {
            b"" => Part::Whole,
            b"prompt_tokens_details" | b"input_tokens_details" | b"input_token_details" => {
                Part::Input
            }
            b"completion_tokens_details" | b"output_tokens_details" | b"output_token_details" => {
                Part::Output
            }
            _ => Part::Other,
        }
    }
}

/// The same of its leaves, of which it may leave some.
pub(in crate::dialect) fn read(leaves: &mut Leaves<'_>) -> Option<Usage> {
    let mut usage = Usage::default();
    let (mut found, mut total) = (false, None);
    let (mut object, mut part) = (&b""[..], Part::Whole);
    for Leaf { within, key, value } in leaves {
        // The leaves of an object come one after the other and lie in the same place.
        if !std::ptr::eq(within, object) {
            (object, part) = (within, Part::of(within));
        }
        match part {
            Part::Whole => match key {
                b"prompt_tokens" | b"input_tokens" => {
                    usage.input = count(value)?;
                    found = true;
                }
                b"completion_tokens" | b"output_tokens" => {
                    usage.output = count(value)?;
                    found = true;
                }
                b"total_tokens" => total = count(value),
                // DeepSeek's own word for what it read from its cache.
                b"prompt_cache_hit_tokens" if usage.cached_input == 0 => {
                    usage.cached_input = count(value).unwrap_or_default();
                }
                _ => {}
            },
            Part::Input => {
                let tokens = match key {
                    b"cached_tokens" => &mut usage.cached_input,
                    b"cache_write_tokens" | b"cache_creation_tokens" => {
                        &mut usage.cache_creation_5m
                    }
                    b"audio_tokens" => &mut usage.audio_input,
                    _ => continue,
                };
                *tokens = count(value).unwrap_or_default();
            }
            Part::Output => {
                let tokens = match key {
                    b"reasoning_tokens" => &mut usage.reasoning,
                    b"audio_tokens" => &mut usage.audio_output,
                    _ => continue,
                };
                *tokens = count(value).unwrap_or_default();
            }
            Part::Other => {}
        }
    }
    if !found {
        // Embeddings and rerank of some servers only say the total.
        usage.input = total?;
    }
    Some(usage)
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
