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
        // Of a member that occurs twice the first counts, as it does where streams are translated.
        let (mut kind, mut index, mut used) = (None, None, None);
        let (mut message, mut said, mut begun, mut failure) = (None, None, None, None);
        frame.members(data, |_, key, value| {
            let place = match key {
                b"type" => &mut kind,
                b"index" => &mut index,
                b"usage" => &mut used,
                b"message" => &mut message,
                b"delta" => &mut said,
                b"content_block" => &mut begun,
                b"error" => &mut failure,
                _ => return,
            };
            *place = place.or(Some(value));
        });
        let kind = kind.and_then(|kind| kind.contents()).unwrap_or_default();
        let index = index.and_then(|index| index.as_u64()).unwrap_or(0);
        let part = |part: Option<_>| part.unwrap_or(lazy(b""));
        match kind {
            b"content_block_delta" => delta(index, part(said), frame),
            b"content_block_start" => block(index, part(begun), frame),
            b"message_start" => {
                let message = part(message);
                if let Some(model) = message.get("model") {
                    frame.model(model);
                }
                self.used(message.get("usage"), false, frame);
            }
            b"message_delta" => {
                if let Some(reason) = part(said).get("stop_reason") {
                    frame.finish_reason(reason);
                }
                self.used(used, true, frame);
            }
            b"message_stop" => frame.terminal(),
            b"error" => frame.error(StreamError::from_value(part(failure))),
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
