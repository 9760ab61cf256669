//! Anthropic's `usage`, which leaves what was read from and written to the cache out of
//! `input_tokens`, and comes in parts over a stream.

use super::super::Usage;
use super::super::usage::count;
use crate::wire::json::{Kind, Value};

/// The counts as they stand on the wire. A later part of a stream replaces what it names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::dialect) struct Counts {
    input: u64,
    output: u64,
    cache_read: u64,
    cache_creation: u64,
    /// The parts of `cache_creation`, where the provider splits it.
    cache_creation_5m: Option<u64>,
    cache_creation_1h: Option<u64>,
    thinking: u64,
}

impl Counts {
    /// Takes what a `usage` object says. `false` if it is none.
    pub fn read(&mut self, usage: Value<'_>) -> bool {
        for member in usage.members() {
            let Some(value) = count(member.value) else {
                match member.key {
                    b"cache_creation" => self.read_creation(member.value),
                    b"output_tokens_details" => {
                        let thinking = member.value.get("thinking_tokens").and_then(count);
                        self.thinking = thinking.unwrap_or(self.thinking);
                    }
                    _ => {}
                }
                continue;
            };
            match member.key {
                b"input_tokens" => self.input = value,
                b"output_tokens" => self.output = value,
                b"cache_read_input_tokens" => self.cache_read = value,
                b"cache_creation_input_tokens" => self.cache_creation = value,
                _ => {}
            }
        }
        usage.kind() == Some(Kind::Object)
    }

    fn read_creation(&mut self, parts: Value<'_>) {
        for part in parts.members() {
            match part.key {
                b"ephemeral_5m_input_tokens" => self.cache_creation_5m = count(part.value),
                b"ephemeral_1h_input_tokens" => self.cache_creation_1h = count(part.value),
                _ => {}
            }
        }
    }

    /// The counts in weir's terms.
    pub fn usage(&self) -> Usage {
        // Some servers say the parts only, some less in them than in all.
        let short = self.cache_creation_5m.unwrap_or(0);
        let written =
            self.cache_creation.max(short.saturating_add(self.cache_creation_1h.unwrap_or(0)));
        let hour = self.cache_creation_1h.unwrap_or(0).min(written);
        Usage {
            input: self.input.saturating_add(self.cache_read).saturating_add(written),
            output: self.output,
            cached_input: self.cache_read,
            cache_creation_5m: written - hour,
            cache_creation_1h: hour,
            reasoning: self.thinking,
            ..Usage::default()
        }
    }
}

/// Reads the `usage` of a whole message. `None` if it is none.
pub(in crate::dialect) fn usage(value: Value<'_>) -> Option<Usage> {
    let mut counts = Counts::default();
    counts.read(value).then(|| counts.usage())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::json::lazy;

    fn read(parts: &[&str]) -> Usage {
        let mut counts = Counts::default();
        for part in parts {
            counts.read(lazy(part.as_bytes()));
        }
        counts.usage()
    }

    #[test]
    fn cache_reads_and_writes_are_input() {
        let usage = read(&[r#"{"input_tokens":10,"cache_creation_input_tokens":300,
            "cache_read_input_tokens":1000,"cache_creation":{"ephemeral_5m_input_tokens":100,
            "ephemeral_1h_input_tokens":200},"output_tokens":1,"service_tier":"standard"}"#]);
        let want = Usage {
            input: 1310,
            output: 1,
            cached_input: 1000,
            cache_creation_5m: 100,
            cache_creation_1h: 200,
            ..Usage::default()
        };
        assert_eq!(usage, want);
    }

    #[test]
    fn parts_without_a_whole_are_input() {
        let usage = read(&[r#"{"input_tokens":10,"output_tokens":1,
            "cache_creation":{"ephemeral_5m_input_tokens":3,"ephemeral_1h_input_tokens":4}}"#]);
        let want = Usage {
            input: 17,
            output: 1,
            cache_creation_5m: 3,
            cache_creation_1h: 4,
            ..Usage::default()
        };
        assert_eq!(usage, want);
        let usage =
            read(&[r#"{"input_tokens":10,"output_tokens":1,"cache_creation_input_tokens":9,
            "cache_creation":{"ephemeral_5m_input_tokens":3}}"#]);
        assert_eq!((usage.input, usage.cache_creation_5m), (19, 9));
    }

    #[test]
    fn a_later_part_replaces_what_it_names() {
        let usage = read(&[
            r#"{"input_tokens":10,"cache_creation_input_tokens":5,"cache_read_input_tokens":0,
                "output_tokens":1}"#,
            r#"{"output_tokens":42,"cache_read_input_tokens":null}"#,
        ]);
        let want = Usage { input: 15, output: 42, cache_creation_5m: 5, ..Usage::default() };
        assert_eq!(usage, want);
    }
}
