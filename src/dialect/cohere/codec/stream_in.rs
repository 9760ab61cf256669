//! The events of a stream.

use super::super::usage;
use super::{cite, finish_of, logprob};
use crate::dialect::StreamError;
use crate::dialect::ir::{Event, Finish, Flow, Opening, Run, Sink};
use crate::dialect::usage::count;
use crate::wire::json::{self, Value};

/// Reads the events of one stream.
#[derive(Debug, Default)]
pub(in crate::dialect) struct Decoder {
    flow: Flow,
    started: bool,
}

impl Decoder {
    /// One event.
    pub fn event(&mut self, data: &[u8], sink: &mut dyn Sink) {
        if data == b"[DONE]" {
            return;
        }
        let event = json::lazy(data);
        let kind = event.get("type").and_then(|kind| kind.contents()).unwrap_or_default();
        let message = event.find(&["delta", "message"]).unwrap_or(json::lazy(b""));
        let number = event.get("index").and_then(count).unwrap_or(0);
        match kind {
            b"message-start" => self.start(event.get("id"), sink),
            b"content-start" | b"content-delta" => {
                for member in message.get("content").iter().flat_map(Value::members) {
                    match member.key {
                        b"text" => self.text(Run::Text, Opening::Text, member.value, sink),
                        b"thinking" => {
                            self.text(Run::Thought, Opening::Thought, member.value, sink);
                        }
                        _ => {}
                    }
                }
                if let Some(one) = event.get("logprobs").and_then(logprob::decode) {
                    sink.event(Event::Logprobs { choice: 0, tokens: vec![one] });
                }
            }
            b"tool-plan-delta" => {
                if let Some(text) = message.get("tool_plan") {
                    self.text(Run::Thought, Opening::Thought, text, sink);
                }
            }
            b"tool-call-start" => {
                let text = |path: &[&str]| message.find(path).and_then(|value| value.as_str());
                let id = text(&["tool_calls", "id"]).unwrap_or_default();
                let name = text(&["tool_calls", "function", "name"]).unwrap_or_default();
                let opening = Opening::ToolCall { id, name, seal: None };
                self.flow.enter(0, Run::Call(number), opening, sink);
                self.arguments(number, message, sink);
            }
            b"tool-call-delta" => self.arguments(number, message, sink),
            b"content-end" | b"tool-call-end" => self.flow.leave(0, sink),
            b"citation-start" => {
                let block = self.flow.block(0);
                let found = &mut |citation| sink.event(Event::Source { choice: 0, citation });
                let citation = message.get("citations").unwrap_or(json::lazy(b""));
                if !cite::decode(citation, &|_| Some(block), found) {
                    sink.event(Event::Unsaid("citations"));
                }
            }
            b"message-end" => self.end(event.get("delta"), sink),
            b"error" => sink.event(Event::Error(StreamError::from_value(event))),
            b"" => {
                if let Some(error) = event.get("message").or_else(|| event.get("error")) {
                    sink.event(Event::Error(StreamError::from_value(error)));
                }
            }
            _ => {}
        }
    }

    fn start(&mut self, id: Option<Value<'_>>, sink: &mut dyn Sink) {
        if !std::mem::replace(&mut self.started, true) {
            sink.event(Event::Start { id: id.and_then(|id| id.as_str()), model: None });
        }
    }

    fn text(&mut self, run: Run, opening: Opening<'_>, value: Value<'_>, sink: &mut dyn Sink) {
        if value.contents().is_some_and(|contents| !contents.is_empty()) {
            self.start(None, sink);
            self.flow.enter(0, run, opening, sink);
            self.flow.push(0, value, sink);
        }
    }

    fn arguments(&mut self, number: u64, message: Value<'_>, sink: &mut dyn Sink) {
        let arguments = message.find(&["tool_calls", "function", "arguments"]);
        if let Some(arguments) = arguments
            && self.flow.is_open(0, Run::Call(number))
        {
            self.flow.push(0, arguments, sink);
        }
    }

    fn end(&mut self, delta: Option<Value<'_>>, sink: &mut dyn Sink) {
        self.flow.leave(0, sink);
        let Some(delta) = delta else { return };
        if let Some(usage) = delta.get("usage").and_then(usage) {
            sink.event(Event::Usage(usage));
        }
        let reason = delta.get("finish_reason").and_then(|reason| reason.as_str());
        let Some(reason) = reason else { return };
        let finish = finish_of(&reason);
        if finish == Finish::Failed {
            let message = delta.get("error").and_then(|error| error.as_str());
            let message = message.as_deref().unwrap_or("The generation failed.");
            return sink.event(Event::Error(StreamError::new(message, None, None)));
        }
        sink.event(Event::Finish { choice: 0, finish, stop_sequence: None });
        self.flow.end(sink);
    }
}
