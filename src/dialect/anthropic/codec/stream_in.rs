//! The events of a stream.

use super::super::usage::Counts;
use super::{REDACTED, cite, finish_of};
use crate::dialect::StreamError;
use crate::dialect::ir::{Event, Flow, Format, Opaque, Opening, Run, Seal, Sink, Text, raw};
use crate::wire::json::{self, Value};

/// Reads the events of one stream.
#[derive(Debug, Default)]
pub(in crate::dialect) struct Decoder {
    flow: Flow,
    counts: Counts,
    /// The open block is one of this format only.
    opaque: bool,
}

impl Decoder {
    /// One event. Its type stands in the data, too, and that is what counts.
    pub fn event(&mut self, data: &[u8], sink: &mut dyn Sink) {
        let event = json::lazy(data);
        let kind = event.get("type").and_then(|kind| kind.contents()).unwrap_or_default();
        let part = |key| event.get(key).unwrap_or(json::lazy(b""));
        match kind {
            b"message_start" => {
                let message = part("message");
                let text = |key| message.get(key).and_then(|value| value.as_str());
                sink.event(Event::Start { id: text("id"), model: text("model") });
                self.used(message.get("usage"), sink);
            }
            b"content_block_start" => self.open(part("content_block"), sink),
            b"content_block_delta" => self.delta(part("delta"), sink),
            b"content_block_stop" => self.flow.leave(0, sink),
            b"message_delta" => {
                self.used(event.get("usage"), sink);
                let delta = part("delta");
                let text = |key| delta.get(key).and_then(|value| value.as_str());
                if let Some(word) = text("stop_reason") {
                    self.flow.leave(0, sink);
                    let (finish, stop_sequence) = (finish_of(&word), text("stop_sequence"));
                    sink.event(Event::Finish { choice: 0, finish, stop_sequence });
                }
            }
            b"message_stop" => self.flow.end(sink),
            b"error" => sink.event(Event::Error(StreamError::from_value(part("error")))),
            _ => {}
        }
    }

    fn used(&mut self, usage: Option<Value<'_>>, sink: &mut dyn Sink) {
        if usage.is_some_and(|usage| self.counts.read(usage)) {
            sink.event(Event::Usage(self.counts.usage()));
        }
    }

    fn open(&mut self, block: Value<'_>, sink: &mut dyn Sink) {
        self.flow.leave(0, sink);
        self.opaque = false;
        let text = |key: &str| block.get(key).and_then(|value| value.as_str()).unwrap_or_default();
        let kind = text("type");
        let run = Run::Call(0);
        match &*kind {
            "text" => {
                self.flow.enter(0, run, Opening::Text, sink);
                self.piece(block.get("text"), sink);
            }
            "thinking" => {
                self.flow.enter(0, run, Opening::Thought, sink);
                self.piece(block.get("thinking"), sink);
                self.sealed(None, text("signature"), sink);
            }
            "redacted_thinking" => {
                self.flow.enter(0, run, Opening::Thought, sink);
                self.sealed(Some(REDACTED), text("data"), sink);
            }
            "tool_use" => {
                let opening = Opening::ToolCall { id: text("id"), name: text("name"), seal: None };
                self.flow.enter(0, run, opening, sink);
            }
            _ => {
                let value = Text::Borrowed(raw(block));
                let origin = Format::Anthropic;
                self.opaque = true;
                self.flow.enter(0, run, Opening::Opaque(Opaque { origin, kind, value }), sink);
            }
        }
    }

    fn delta(&mut self, delta: Value<'_>, sink: &mut dyn Sink) {
        if self.opaque {
            return;
        }
        for member in delta.members() {
            match member.key {
                b"text" | b"thinking" | b"partial_json" => self.piece(Some(member.value), sink),
                b"signature" => {
                    let seal = member.value.as_str().unwrap_or_default();
                    self.sealed(None, seal, sink);
                }
                b"citation" => {
                    let mut lost = |name| sink.event(Event::Unsaid(name));
                    let citation = cite::decode(member.value, self.flow.block(0), &mut lost);
                    sink.event(Event::Source { choice: 0, citation });
                }
                _ => {}
            }
        }
    }

    fn piece(&mut self, text: Option<Value<'_>>, sink: &mut dyn Sink) {
        if let Some(text) = text {
            self.flow.push(0, text, sink);
        }
    }

    fn sealed(&mut self, id: Option<&'static str>, value: Text<'_>, sink: &mut dyn Sink) {
        if !value.is_empty() {
            let seal = Seal { origin: Format::Anthropic, id: id.map(Text::Borrowed), value };
            let block = self.flow.block(0);
            sink.event(Event::Sealed { choice: 0, block, seal });
        }
    }
}
