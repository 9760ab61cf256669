//! The messages of an event stream.

use super::super::usage;
use super::{REDACTED, cite, finish_of};
use crate::dialect::StreamError;
use crate::dialect::ir::{Event, Flow, Format, Opening, Run, Seal, Sink, Text};
use crate::wire::eventstream::Message;
use crate::wire::json::{self, Value};

/// Reads the messages of one stream.
#[derive(Debug, Default)]
pub(in crate::dialect) struct Decoder {
    flow: Flow,
    finished: bool,
}

impl Decoder {
    /// One message.
    pub fn message(&mut self, message: &Message<'_>, sink: &mut dyn Sink) {
        match message.message_type() {
            Some("event") => self.event(message.event_type(), json::lazy(message.payload), sink),
            Some("exception") => {
                let text = json::find(message.payload, &["message"]);
                let text = text.and_then(|text| text.as_str()).unwrap_or_default();
                let kind = message.exception_type();
                sink.event(Event::Error(StreamError::new(&text, kind, None)));
            }
            Some("error") => {
                let text = message.header(":error-message").unwrap_or_default();
                let kind = message.header(":error-code");
                sink.event(Event::Error(StreamError::new(text, kind, None)));
            }
            _ => {}
        }
    }

    /// The upstream has sent everything.
    pub fn end(&mut self, sink: &mut dyn Sink) {
        self.flow.end(sink);
    }

    fn event(&mut self, kind: Option<&str>, event: Value<'_>, sink: &mut dyn Sink) {
        match kind {
            Some("messageStart") => sink.event(Event::Start { id: None, model: None }),
            Some("contentBlockStart") => {
                self.flow.leave(0, sink);
                if let Some(tool) = event.find(&["start", "toolUse"]) {
                    let text = |key| tool.get(key).and_then(|text: Value<'_>| text.as_str());
                    let opening = Opening::ToolCall {
                        id: text("toolUseId").unwrap_or_default(),
                        name: text("name").unwrap_or_default(),
                        seal: None,
                    };
                    self.flow.enter(0, Run::Call(0), opening, sink);
                }
            }
            Some("contentBlockDelta") => {
                event.get("delta").iter().flat_map(Value::members).for_each(|member| {
                    self.delta(member.key, member.value, sink);
                });
            }
            Some("contentBlockStop") => self.flow.leave(0, sink),
            Some("messageStop") => {
                self.flow.leave(0, sink);
                let word = event.get("stopReason").and_then(|word| word.as_str());
                let finish = finish_of(&word.unwrap_or_default());
                self.finished = true;
                sink.event(Event::Finish { choice: 0, finish, stop_sequence: None });
            }
            // Comes last, behind `messageStop`.
            Some("metadata") => {
                if let Some(usage) = event.get("usage").and_then(usage) {
                    sink.event(Event::Usage(usage));
                }
                if self.finished {
                    self.end(sink);
                }
            }
            _ => {}
        }
    }

    fn delta(&mut self, key: &[u8], value: Value<'_>, sink: &mut dyn Sink) {
        match key {
            b"text" => {
                self.flow.enter(0, Run::Text, Opening::Text, sink);
                self.flow.push(0, value, sink);
            }
            b"toolUse" => {
                if let Some(input) = value.get("input") {
                    self.flow.push(0, input, sink);
                }
            }
            b"reasoningContent" => {
                self.flow.enter(0, Run::Thought, Opening::Thought, sink);
                if let Some(text) = value.get("text") {
                    self.flow.push(0, text, sink);
                }
                let signature = value.get("signature").map(|seal| (seal, None));
                let redacted = value.get("redactedContent").map(|seal| (seal, Some(REDACTED)));
                if let Some((seal, id)) = signature.or(redacted)
                    && let Some(value) = seal.as_str()
                {
                    let block = self.flow.block(0);
                    let id = id.map(Text::Borrowed);
                    let seal = Seal { origin: Format::Bedrock, id, value };
                    sink.event(Event::Sealed { choice: 0, block, seal });
                }
            }
            b"citation" => {
                let mut lost = |name| sink.event(Event::Unsaid(name));
                let citation = cite::decode(value, self.flow.block(0), &mut lost);
                sink.event(Event::Source { choice: 0, citation });
            }
            _ => sink.event(Event::Unsaid("delta")),
        }
    }
}
