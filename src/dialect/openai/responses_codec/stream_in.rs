//! The events of a stream.

use super::super::{annotation, logprob, usage};
use super::{answer, items};
use crate::dialect::StreamError;
use crate::dialect::ir::{Event, Finish, Flow, Format, Opaque, Opening, Run, Sink, Text, raw};
use crate::dialect::usage::count;
use crate::wire::json::{self, Value};

/// Reads the events of one stream.
#[derive(Debug, Default)]
pub(in crate::dialect) struct Decoder {
    flow: Flow,
    started: bool,
    refused: bool,
    /// The open item has had text of its own.
    said: bool,
}

impl Decoder {
    /// One event. Its type stands in the data, too, and that is what counts.
    pub fn event(&mut self, name: Option<&[u8]>, data: &[u8], sink: &mut dyn Sink) {
        if data == b"[DONE]" {
            return;
        }
        let event = json::lazy(data);
        let kind = event.get("type").and_then(|kind| kind.contents()).or(name).unwrap_or_default();
        match kind {
            b"response.created" | b"response.in_progress" | b"response.queued" => {
                self.start(event.get("response"), sink);
            }
            b"response.output_item.added" => self.added(event, sink),
            b"response.output_item.done" => self.done(event, sink),
            b"response.output_text.delta" => {
                self.delta(event, Opening::Text, sink);
                let tokens = event.get("logprobs").into_iter().flat_map(logprob::decode);
                let tokens: Vec<_> = tokens.collect();
                if !tokens.is_empty() {
                    sink.event(Event::Logprobs { choice: 0, tokens });
                }
            }
            b"response.refusal.delta" => {
                self.refused = true;
                self.delta(event, Opening::Refusal, sink);
            }
            b"response.reasoning_summary_text.delta" | b"response.reasoning_text.delta" => {
                self.delta(event, Opening::Thought, sink);
            }
            b"response.reasoning_summary_part.added" if self.said => {
                // Parts of a summary are paragraphs.
                self.flow.push_text(0, "\n\n", sink);
            }
            b"response.function_call_arguments.delta" => {
                if let Some(delta) = event.get("delta") {
                    self.said = true;
                    self.flow.push(0, delta, sink);
                }
            }
            b"response.output_text.annotation.added" => {
                let block = Some(self.flow.block(0));
                let note = event.get("annotation");
                sink.event(match note.and_then(|note| annotation::decode(note, block)) {
                    Some(citation) => Event::Source { choice: 0, citation },
                    None => Event::Unsaid("annotations"),
                });
            }
            b"response.completed" | b"response.incomplete" => self.end(event, sink),
            b"response.failed" | b"response.cancelled" => {
                let error = event.find(&["response", "error"]).filter(|error| !error.is_null());
                sink.event(Event::Error(match error {
                    Some(error) => StreamError::from_value(error),
                    None => StreamError::new("The response failed.", None, None),
                }));
            }
            b"error" => {
                let error = event.get("error").filter(|error| !error.is_null()).unwrap_or(event);
                sink.event(Event::Error(StreamError::from_value(error)));
            }
            // Some servers break off with an error alone, as they do a stream of chat completions.
            b"" => {
                if let Some(error) = event.get("error").filter(|error| !error.is_null()) {
                    sink.event(Event::Error(StreamError::from_value(error)));
                }
            }
            _ => {}
        }
    }

    fn start(&mut self, response: Option<Value<'_>>, sink: &mut dyn Sink) {
        if !std::mem::replace(&mut self.started, true) {
            let text = |key| response?.get(key)?.as_str();
            sink.event(Event::Start { id: text("id"), model: text("model") });
        }
    }

    /// The number of an item, and of the part of it that is a block of its own.
    fn run(event: Value<'_>) -> Run {
        let number = |key| event.get(key).and_then(count).unwrap_or(0);
        Run::Call(number("output_index") << 16 | number("content_index") & 0xffff)
    }

    fn added(&mut self, event: Value<'_>, sink: &mut dyn Sink) {
        self.flow.leave(0, sink);
        self.said = false;
        let Some(item) = event.get("item") else { return };
        let text = |key: &str| item.get(key).and_then(|value| value.as_str()).unwrap_or_default();
        let kind = text("type");
        let opening = match &*kind {
            // The one begins with its first text, the other comes whole.
            "message" | "image_generation_call" => return,
            "reasoning" => Opening::Thought,
            "function_call" => {
                Opening::ToolCall { id: text("call_id"), name: text("name"), seal: None }
            }
            _ => {
                let value = Text::Borrowed(raw(item));
                Opening::Opaque(Opaque { origin: Format::Responses, kind, value })
            }
        };
        self.flow.enter(0, Self::run(event), opening, sink);
    }

    fn delta(&mut self, event: Value<'_>, opening: Opening<'_>, sink: &mut dyn Sink) {
        let Some(delta) = event.get("delta") else { return };
        self.flow.enter(0, Self::run(event), opening, sink);
        self.said = true;
        self.flow.push(0, delta, sink);
    }

    fn done(&mut self, event: Value<'_>, sink: &mut dyn Sink) {
        let Some(item) = event.get("item") else { return };
        let kind = item.get("type").and_then(|kind| kind.as_str()).unwrap_or_default();
        match &*kind {
            "function_call" if !self.said && self.flow.is_open(0, Self::run(event)) => {
                if let Some(arguments) = item.get("arguments") {
                    self.flow.push(0, arguments, sink);
                }
            }
            "reasoning" => {
                if let Some(seal) = items::thought(item).seal {
                    self.flow.enter(0, Self::run(event), Opening::Thought, sink);
                    let block = self.flow.block(0);
                    sink.event(Event::Sealed { choice: 0, block, seal });
                }
            }
            "image_generation_call" => match items::picture(item) {
                Some(media) => self.flow.whole(0, Opening::Media(media), sink),
                None => sink.event(Event::Unsaid("output (image_generation_call)")),
            },
            _ => {}
        }
        self.flow.leave(0, sink);
        self.said = false;
    }

    fn end(&mut self, event: Value<'_>, sink: &mut dyn Sink) {
        self.start(event.get("response"), sink);
        self.flow.leave(0, sink);
        let Some(response) = event.get("response") else { return };
        if let Some(usage) = response.get("usage").and_then(usage) {
            sink.event(Event::Usage(usage));
        }
        let finish = match answer::status(response).unwrap_or(Finish::Stop) {
            Finish::Stop if self.refused => Finish::Refused,
            finish => finish,
        };
        sink.event(Event::Finish { choice: 0, finish, stop_sequence: None });
        self.flow.end(sink);
    }
}
