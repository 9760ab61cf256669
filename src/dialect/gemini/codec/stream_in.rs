//! The chunks of a stream, each a whole document.

use super::super::usage;
use super::{answer, cite, decode, finish_of, logprob};
use crate::dialect::StreamError;
use crate::dialect::ir::{Content, Event, Finish, Flow, Opaque, Opening, Run, Seal, Sink, Text};
use crate::wire::json::{self, Value};

/// Reads the chunks of one stream.
#[derive(Debug, Default)]
pub(in crate::dialect) struct Decoder {
    flow: Flow,
    started: bool,
    id: String,
    /// How many calls there were.
    calls: usize,
    /// Candidates that have begun, a bit for each.
    begun: u128,
    /// Candidates that have ended, a bit for each.
    ended: u128,
}

impl Decoder {
    /// One chunk.
    pub fn event(&mut self, data: &[u8], sink: &mut dyn Sink) {
        // Every chunk of this format has new counts, so none is like another: they are read once.
        let chunk = json::lazy(data);
        let (mut used, mut candidates, mut feedback) = (None, None, None);
        for member in chunk.members() {
            match member.key {
                b"candidates" => candidates = candidates.or(Some(member.value)),
                b"usageMetadata" => used = used.or(Some(member.value)),
                b"promptFeedback" => feedback = feedback.or(Some(member.value)),
                b"error" if !member.value.is_null() => {
                    return sink.event(Event::Error(StreamError::from_value(member.value)));
                }
                _ => {}
            }
        }
        if !std::mem::replace(&mut self.started, true) {
            let text = |key| chunk.get(key).and_then(|value| value.as_str());
            let (id, model) = (text("responseId"), text("modelVersion"));
            self.id = id.clone().unwrap_or_default().into_owned();
            sink.event(Event::Start { id, model });
        }
        if let Some(usage) = used.and_then(usage) {
            sink.event(Event::Usage(usage));
        }
        for candidate in candidates.iter().flat_map(Value::items) {
            self.candidate(candidate, sink);
        }
        let blocked = feedback.and_then(|it| it.get("blockReason"));
        if blocked.is_some_and(|reason| !reason.is_null()) {
            self.finish(0, Finish::Filtered, sink);
        }
    }

    /// Whether a candidate has begun that has not come to its end, whatever it has said.
    pub fn is_cut(&self) -> bool {
        self.begun & !self.ended != 0
    }

    /// The upstream has sent everything.
    pub fn end(&mut self, sink: &mut dyn Sink) {
        self.flow.end(sink);
    }

    fn candidate(&mut self, candidate: Value<'_>, sink: &mut dyn Sink) {
        let (mut index, mut content, mut reason) = (None, None, None);
        let (mut likely, mut cites) = (None, false);
        for member in candidate.members() {
            let value = Some(member.value);
            match member.key {
                b"index" => index = index.or(value),
                b"content" => content = content.or(value),
                b"finishReason" => reason = reason.or(value),
                b"logprobsResult" => likely = likely.or(value),
                b"groundingMetadata" | b"citationMetadata" => cites = true,
                _ => {}
            }
        }
        let number = Flow::number(index);
        self.begun |= 1 << number;
        let parts = content.and_then(|content| content.get("parts"));
        parts.iter().flat_map(Value::items).for_each(|part| self.part(number, part, sink));
        if let Some(result) = likely {
            let tokens = logprob::decode(result);
            if !tokens.is_empty() {
                sink.event(Event::Logprobs { choice: number, tokens });
            }
        }
        // Its parts have been in other chunks: places are counted in all that it has said.
        if cites {
            cite::decode(candidate, &|_| None, &mut |found| {
                sink.event(match found {
                    cite::Found::Citation(citation) => Event::Source { choice: number, citation },
                    cite::Found::Lost(name) => Event::Unsaid(name),
                });
            });
        }
        if let Some(reason) = reason.and_then(|reason| reason.as_str()) {
            self.finish(number, finish_of(&reason), sink);
        }
    }

    fn finish(&mut self, choice: u32, finish: Finish, sink: &mut dyn Sink) {
        // Some servers repeat the reason in every chunk behind the first one that has it.
        if self.ended & 1 << choice == 0 {
            self.ended |= 1 << choice;
            self.flow.leave(choice, sink);
            sink.event(Event::Finish { choice, finish, stop_sequence: None });
        }
    }

    fn part(&mut self, choice: u32, part: Value<'_>, sink: &mut dyn Sink) {
        if let Some(call) = answer::call(part, &self.id, choice, self.calls) {
            self.calls += 1;
            let run = Run::Call(self.calls as u64);
            let opening = Opening::ToolCall { id: call.id, name: call.name, seal: call.seal };
            self.flow.enter(choice, run, opening, sink);
            self.flow.push_text(choice, &call.arguments, sink);
            return self.flow.leave(choice, sink);
        }
        let seal = decode::seal(part);
        let thought = part.get("thought").and_then(|it| it.as_bool()) == Some(true);
        match part.get("text") {
            Some(text) => {
                let some = text.contents().is_some_and(|contents| !contents.is_empty());
                if some && thought {
                    self.flow.enter(choice, Run::Thought, Opening::Thought, sink);
                } else if some {
                    self.flow.enter(choice, Run::Text, Opening::Text, sink);
                }
                if some {
                    self.flow.push(choice, text, sink);
                }
            }
            None => {
                if let Ok(Some(content)) = decode::plain(part, "parts") {
                    self.whole(choice, content, sink);
                }
            }
        }
        if let Some(seal) = seal {
            self.sealed(choice, &seal, sink);
        }
    }

    fn whole(&mut self, choice: u32, content: Content<'_>, sink: &mut dyn Sink) {
        match content {
            Content::Opaque(Opaque { origin, kind, value }) => {
                self.flow.whole(choice, Opening::Opaque(Opaque { origin, kind, value }), sink);
            }
            Content::Media(media) => self.flow.whole(choice, Opening::Media(media), sink),
            _ => {}
        }
    }

    /// A signature ends the thought that it is of; one of a text stands in a thought of its own.
    fn sealed(&mut self, choice: u32, seal: &Seal<'_>, sink: &mut dyn Sink) {
        self.flow.enter(choice, Run::Thought, Opening::Thought, sink);
        let block = self.flow.block(choice);
        let value = Text::Borrowed(&*seal.value);
        let seal = Seal { origin: seal.origin, id: seal.id.clone(), value };
        sink.event(Event::Sealed { choice, block, seal });
        self.flow.leave(choice, sink);
    }
}
