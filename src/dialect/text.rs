//! The text that deltas carry, handed to whoever counts it.

use memchr::memchr;

use crate::wire::json::{self, Value};

/// Channels with half a surrogate pair that are remembered at once. A provider would have to cut a
/// character in that many choices at the same moment to lose one.
const CARRIES_MAX: usize = 64;

/// Hears the text of an answer (or of a prompt) as it comes.
///
/// A channel is one run of text: what is said on one channel belongs together and is counted as one
/// text; what is said on two does not.
pub trait TextSink {
    /// The next piece of a channel. Never empty.
    fn text(&mut self, channel: u32, text: &str);
}

/// A sink for when nobody counts.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoText;

impl TextSink for NoText {
    fn text(&mut self, _channel: u32, _text: &str) {}
}

/// What a run of text is, for the number of its channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TextKind {
    Text = 0,
    Refusal = 1,
    Tool = 2,
    Reasoning = 3,
}

/// The channel of the `part`-th run of a kind in the `index`-th choice (or content block).
pub(super) fn channel(index: u64, kind: TextKind, part: u64) -> u32 {
    const PART_BITS: u32 = 12;
    const KIND_BITS: u32 = 2;
    let part = part.min((1 << PART_BITS) - 1) as u32;
    let index = index.min((1 << (31 - PART_BITS - KIND_BITS)) - 1) as u32;
    index << (PART_BITS + KIND_BITS) | (kind as u32) << PART_BITS | part
}

/// Decodes JSON strings piece by piece. A piece without escapes, the usual one, is passed on as it
/// lies in the frame.
#[derive(Debug, Default)]
pub(super) struct Texts {
    /// First halves of surrogate pairs whose second half comes with a later delta.
    carries: Vec<(u32, u16)>,
    /// Empty between two pieces.
    scratch: String,
}

impl Texts {
    /// Whether half a character waits for the next piece of its channel.
    pub fn waits(&self) -> bool {
        !self.carries.is_empty()
    }

    /// Passes on a JSON string. `true` if there was text in it.
    pub fn push(&mut self, channel: u32, value: Value<'_>, sink: &mut dyn TextSink) -> bool {
        let Some(contents) = value.contents().filter(|contents| !contents.is_empty()) else {
            return false;
        };
        if self.carries.is_empty()
            && memchr(b'\\', contents).is_none()
            && let Ok(text) = std::str::from_utf8(contents)
        {
            sink.text(channel, text);
            return true;
        }
        let at = self.carries.iter().position(|(owner, _)| *owner == channel);
        let mut carry = at.map(|at| self.carries.swap_remove(at).1);
        json::unescape(contents, &mut carry, &mut self.scratch);
        if let Some(half) = carry
            && self.carries.len() < CARRIES_MAX
        {
            self.carries.push((channel, half));
        }
        if !self.scratch.is_empty() {
            sink.text(channel, &self.scratch);
            self.scratch.clear();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Pieces(Vec<(u32, String)>);

    impl TextSink for Pieces {
        fn text(&mut self, channel: u32, text: &str) {
            self.0.push((channel, text.to_owned()));
        }
    }

    fn pushed(strings: &[(u32, &str)]) -> Vec<(u32, String)> {
        let mut texts = Texts::default();
        let mut sink = Pieces::default();
        for (channel, string) in strings {
            texts.push(*channel, json::lazy(string.as_bytes()), &mut sink);
        }
        sink.0
    }

    #[test]
    fn plain_text_and_escapes() {
        let got = pushed(&[(1, r#""plain é""#), (1, r#""a\nb\u00e9""#), (1, r#""""#), (1, "null")]);
        assert_eq!(got, [(1, "plain é".to_owned()), (1, "a\nbé".to_owned())]);
    }

    #[test]
    fn a_surrogate_pair_over_two_deltas_of_interleaved_channels() {
        let got = pushed(&[
            (1, r#""x\ud83d""#),
            (2, r#""\ud83c""#),
            (1, r#""\ude00y""#),
            (2, r#""\udf0d""#),
        ]);
        let want = [(1, "x"), (1, "😀y"), (2, "🌍")].map(|(c, t)| (c, t.to_owned()));
        assert_eq!(got, want);
    }

    #[test]
    fn channels_do_not_meet() {
        let mut seen = std::collections::HashSet::new();
        for index in 0..40 {
            for kind in [TextKind::Text, TextKind::Refusal, TextKind::Tool, TextKind::Reasoning] {
                for part in 0..40 {
                    assert!(seen.insert(channel(index, kind, part)));
                }
            }
        }
        channel(u64::MAX, TextKind::Reasoning, u64::MAX);
    }
}
