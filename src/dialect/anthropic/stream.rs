//! Streams of messages.

use super::super::StreamError;
use super::super::observe::Frame;
use super::super::text::TextKind;
use super::usage::Counts;
use crate::wire::json::{Value, lazy};

/// Reads the events of one stream.
#[derive(Debug, Default)]
pub(in crate::dialect) struct Decoder {
    counts: Counts,
}

impl Decoder {
    /// The type stands in the data as well as in the name of the event; the data is what the client
    /// libraries go by.
    pub fn event(&mut self, data: &[u8], frame: &mut Frame<'_>) {
        let (mut kind, mut index): (&[u8], u64) = (b"", 0);
        let (mut part, mut used) = (None, None);
        frame.members(data, |_, key, value| match key {
            b"type" => kind = value.contents().unwrap_or_default(),
            b"index" => index = value.as_u64().unwrap_or(0),
            b"message" | b"delta" | b"content_block" | b"error" => part = Some(value),
            b"usage" => used = Some(value),
            _ => {}
        });
        let part = part.unwrap_or(lazy(b""));
        match kind {
            b"content_block_delta" => delta(index, part, frame),
            b"content_block_start" => block(index, part, frame),
            b"message_start" => {
                if let Some(model) = part.get("model") {
                    frame.model(model);
                }
                self.used(part.get("usage"), false, frame);
            }
            b"message_delta" => {
                if let Some(reason) = part.get("stop_reason") {
                    frame.finish_reason(reason);
                }
                self.used(used, true, frame);
            }
            b"message_stop" => frame.terminal(),
            b"error" => frame.error(StreamError::from_value(part)),
            _ => {}
        }
    }

    fn used(&mut self, usage: Option<Value<'_>>, complete: bool, frame: &mut Frame<'_>) {
        if usage.is_some_and(|usage| self.counts.read(usage)) {
            frame.usage(self.counts.usage(), complete);
        }
    }
}

fn delta(index: u64, delta: Value<'_>, frame: &mut Frame<'_>) {
    for member in delta.members() {
        let kind = match member.key {
            b"text" => TextKind::Text,
            b"partial_json" => TextKind::Tool,
            b"thinking" => TextKind::Reasoning,
            // Signatures and citations: no text of the model, but something of its answer.
            b"signature" | b"citation" => {
                frame.content();
                continue;
            }
            _ => continue,
        };
        frame.text(index, kind, 0, member.value);
    }
}

/// The start of a block: empty for text and thinking, whose deltas follow; the name of the tool, or
/// all of its result, for others.
fn block(index: u64, block: Value<'_>, frame: &mut Frame<'_>) {
    for member in block.members() {
        match member.key {
            b"type" => {
                let waits = matches!(member.value.raw(), b"\"text\"" | b"\"thinking\"");
                if !waits {
                    frame.content();
                }
            }
            b"text" => frame.text(index, TextKind::Text, 0, member.value),
            b"thinking" => frame.text(index, TextKind::Reasoning, 0, member.value),
            _ => {}
        }
    }
}
