//! The chunks of a stream.

use super::super::{annotation, logprob, usage};
use super::answer::{index, pictures};
use super::finish_of;
use crate::dialect::StreamError;
use crate::dialect::ir::{Event, Finish, Flow, Format, Opening, Run, Seal, Sink, Text};
use crate::dialect::usage::count;
use crate::wire::json::{self, Kind, Value};

/// Reads the chunks of one stream.
#[derive(Debug, Default)]
pub(in crate::dialect) struct Decoder {
    flow: Flow,
    started: bool,
    finished: bool,
    /// Choices that have begun, and those that have ended, a bit for each.
    begun: u128,
    ended: u128,
    refused: bool,
    /// How many pages of a list beside the answer have been found.
    pages: usize,
    /// One more than the highest number of a call that has begun.
    calls: Vec<u64>,
}

impl Decoder {
    /// One event of the stream.
    pub fn event(&mut self, name: Option<&[u8]>, data: &[u8], sink: &mut dyn Sink) {
        if data == b"[DONE]" {
            return self.end(sink);
        }
        let chunk = json::lazy(data);
        let error = chunk.get("error").filter(|error| !error.is_null());
        let is_error = name == Some(b"error")
            || chunk.get("object").is_some_and(|object| object.raw() == b"\"error\"");
        if is_error || error.is_some() {
            return sink.event(Event::Error(StreamError::from_value(error.unwrap_or(chunk))));
        }
        if !std::mem::replace(&mut self.started, true) {
            let text = |key| chunk.get(key).and_then(|value| value.as_str());
            sink.event(Event::Start { id: text("id"), model: text("model") });
        }
        // Some servers repeat the list in every chunk.
        for citation in annotation::pages(chunk).skip(self.pages) {
            self.pages += 1;
            sink.event(Event::Source { choice: 0, citation });
        }
        for member in chunk.members() {
            match member.key {
                b"choices" => member.value.items().for_each(|choice| self.choice(choice, sink)),
                b"usage" => {
                    if let Some(usage) = usage(member.value) {
                        sink.event(Event::Usage(usage));
                    }
                }
                b"x_groq" => {
                    if let Some(usage) = member.value.get("usage").and_then(usage) {
                        sink.event(Event::Usage(usage));
                    }
                }
                _ => {}
            }
        }
    }

    /// Whether a choice has begun that has not come to its end, whatever it has said.
    pub fn is_cut(&self) -> bool {
        self.begun & !self.ended != 0
    }

    /// The upstream has sent everything.
    pub fn end(&mut self, sink: &mut dyn Sink) {
        self.flow.end(sink);
    }

    fn choice(&mut self, choice: Value<'_>, sink: &mut dyn Sink) {
        let number = index(choice);
        self.begun |= 1 << number;
        if let Some(delta) = choice.get("delta").or_else(|| choice.get("message")) {
            self.delta(number, delta, sink);
        }
        if let Some(list) = choice.find(&["logprobs", "content"]) {
            let tokens: Vec<_> = logprob::decode(list).collect();
            if !tokens.is_empty() {
                sink.event(Event::Logprobs { choice: number, tokens });
            }
        }
        let reason = choice.get("finish_reason").and_then(|reason| reason.as_str());
        if let Some(reason) = reason {
            self.flow.leave(number, sink);
            self.finished = true;
            self.ended |= 1 << number;
            let finish = match finish_of(&reason) {
                Finish::Stop if self.refused => Finish::Refused,
                finish => finish,
            };
            sink.event(Event::Finish { choice: number, finish, stop_sequence: None });
        }
    }

    fn delta(&mut self, choice: u32, delta: Value<'_>, sink: &mut dyn Sink) {
        let mut thought = false;
        for member in delta.members() {
            let value = member.value;
            match member.key {
                b"content" => self.content(choice, value, sink),
                b"refusal" => {
                    self.refused |= self.text(choice, Run::Refusal, Opening::Refusal, value, sink);
                }
                // Some servers send thoughts under several names at once.
                b"reasoning_content" | b"reasoning" if !thought => {
                    thought = self.text(choice, Run::Thought, Opening::Thought, value, sink);
                }
                b"images" => {
                    pictures(delta)
                        .for_each(|it| self.flow.whole(choice, Opening::Media(it), sink));
                }
                b"reasoning_details" => self.seals(choice, value, sink),
                b"tool_calls" => {
                    let calls = value.items().enumerate();
                    calls.for_each(|(at, call)| self.call(choice, at as u64, call, sink));
                }
                b"function_call" if !value.is_null() => {
                    sink.event(Event::Unsaid("delta.function_call"));
                }
                b"audio" if !value.is_null() => sink.event(Event::Unsaid("delta.audio")),
                b"annotations" => value.items().for_each(|note| {
                    sink.event(match annotation::decode(note, None) {
                        Some(citation) => Event::Source { choice, citation },
                        None => Event::Unsaid("delta.annotations"),
                    });
                }),
                _ => {}
            }
        }
    }

    /// A string, or (Mistral) a list of parts of which some are thoughts.
    fn content(&mut self, choice: u32, value: Value<'_>, sink: &mut dyn Sink) {
        self.text(choice, Run::Text, Opening::Text, value, sink);
        for part in value.items() {
            if let Some(text) = part.get("text") {
                self.text(choice, Run::Text, Opening::Text, text, sink);
            }
            for thought in part.get("thinking").iter().flat_map(Value::items) {
                if let Some(text) = thought.get("text") {
                    self.text(choice, Run::Thought, Opening::Thought, text, sink);
                }
            }
        }
    }

    fn text(
        &mut self,
        choice: u32,
        run: Run,
        opening: Opening<'_>,
        value: Value<'_>,
        sink: &mut dyn Sink,
    ) -> bool {
        let some = value.contents().is_some_and(|contents| !contents.is_empty());
        if some {
            self.flow.enter(choice, run, opening, sink);
            self.flow.push(choice, value, sink);
        }
        some
    }

    /// What has to come back with a thought. Its text came under a plainer name as well.
    fn seals(&mut self, choice: u32, details: Value<'_>, sink: &mut dyn Sink) {
        for detail in details.items() {
            let seal = detail.get("signature").or_else(|| detail.get("data"));
            let Some(value) = seal.and_then(|seal| seal.as_str()).filter(|seal| !seal.is_empty())
            else {
                continue;
            };
            self.flow.enter(choice, Run::Thought, Opening::Thought, sink);
            let block = self.flow.block(choice);
            let seal = Seal::found(Format::Chat, value);
            sink.event(Event::Sealed { choice, block, seal });
            self.flow.leave(choice, sink);
        }
    }

    fn call(&mut self, choice: u32, position: u64, call: Value<'_>, sink: &mut dyn Sink) {
        let number = call.get("index").and_then(count).unwrap_or(position);
        let text = |path: &[&str]| call.find(path).and_then(|value| value.as_str());
        let at = choice as usize;
        if self.calls.len() <= at {
            self.calls.resize(at + 1, 0);
        }
        if !self.flow.is_open(choice, Run::Call(number)) {
            if number < self.calls[at] {
                // It was closed when the next one began.
                return sink.event(Event::Error(StreamError::new(
                    "The upstream went back to a tool call that was complete.",
                    None,
                    None,
                )));
            }
            self.calls[at] = number.saturating_add(1);
            let id = text(&["id"]).unwrap_or_else(|| Text::Owned(format!("call_{number}")));
            let name = text(&["function", "name"]).unwrap_or_default();
            let seal = text(&["extra_content", "google", "thought_signature"]);
            let seal = seal.map(|value| Seal::found(Format::Gemini, value));
            self.flow.enter(choice, Run::Call(number), Opening::ToolCall { id, name, seal }, sink);
        }
        if let Some(arguments) = call.find(&["function", "arguments"]) {
            match arguments.kind() {
                Some(Kind::Object) => {
                    self.flow.push_text(choice, crate::dialect::ir::raw(arguments), sink);
                }
                _ => self.flow.push(choice, arguments, sink),
            }
        }
    }
}
