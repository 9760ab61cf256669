//! Streams of chat completions and of the older completions.

use super::super::StreamError;
use super::super::observe::Frame;
use super::super::text::TextKind;
use super::usage::usage;
use crate::wire::json::{Kind, Value};

/// Members of a chunk that are not read and that each has for itself.
pub(in crate::dialect) const UNREAD: [&[u8]; 3] = [b"id", b"created", b"obfuscation"];

/// Reads the chunks of one stream.
#[derive(Debug)]
pub(in crate::dialect) struct Decoder {
    /// weir asked for the usage frame, the client did not.
    usage_injected: bool,
    /// One more than the highest index of a choice.
    choices: u64,
    /// Choices that have ended.
    ended: u64,
}

impl Decoder {
    pub fn new(usage_injected: bool) -> Self {
        Self { usage_injected, choices: 0, ended: 0 }
    }

    /// How many choices it has seen so far; none if one of them has ended.
    pub fn choices(&self) -> Option<u64> {
        (self.ended == 0).then_some(self.choices)
    }

    /// A chunk has gone by that has so many, of which none ended.
    pub fn saw_choices(&mut self, choices: u64) {
        self.choices = self.choices.max(choices);
    }

    pub fn event(&mut self, name: Option<&[u8]>, data: &[u8], frame: &mut Frame<'_>) {
        if data == b"[DONE]" {
            return frame.terminal();
        }
        let (mut used, mut no_choices) = (None, false);
        let (mut is_error, mut groq) = (name == Some(b"error"), None);
        frame.members(data, |frame, key, value| match key {
            b"choices" => {
                no_choices = value.is_empty() && value.kind() == Some(Kind::Array);
                value.items().for_each(|choice| self.choice(choice, frame));
            }
            b"usage" => used = usage(value),
            b"x_groq" => groq = value.get("usage"),
            b"model" => frame.model(value),
            b"object" => is_error |= value.raw() == b"\"error\"",
            b"error" if !value.is_null() => frame.error(StreamError::from_value(value)),
            _ => {}
        });
        // Older vLLM has the members of the error at the top.
        if is_error && !frame.has_error() {
            frame.error(StreamError::from_value(crate::wire::json::lazy(data)));
        }
        // With `continuous_usage_stats` every chunk carries what was used so far; the last one
        // comes after the last choice has ended.
        let complete = no_choices || (self.choices > 0 && self.ended >= self.choices);
        if let Some(used) = used {
            frame.usage(used, complete);
            if self.usage_injected && no_choices {
                frame.withhold();
            }
        } else if let Some(used) = groq.and_then(usage)
            && !frame.usage_is_complete()
        {
            frame.usage(used, true);
        }
    }

    fn choice(&mut self, choice: Value<'_>, frame: &mut Frame<'_>) {
        let index = choice.get("index").and_then(|index| index.as_u64()).unwrap_or(0);
        self.choices = self.choices.max(index.saturating_add(1));
        for member in choice.members() {
            match member.key {
                b"delta" | b"message" => message(index, member.value, frame),
                b"text" => frame.text(index, TextKind::Text, 0, member.value),
                b"finish_reason" if !member.value.is_null() => {
                    frame.finish_reason(member.value);
                    self.ended += 1;
                    if self.ended >= self.choices {
                        frame.finished();
                    }
                }
                _ => {}
            }
        }
    }
}

/// A delta, or a whole message of a body that does not stream.
pub(super) fn message(index: u64, message: Value<'_>, frame: &mut Frame<'_>) {
    // Some servers send reasoning under both of its names.
    let mut reasoned = false;
    for member in message.members() {
        let value = member.value;
        match member.key {
            b"content" => content(index, value, frame),
            b"refusal" => frame.text(index, TextKind::Refusal, 0, value),
            b"reasoning_content" | b"reasoning" if !reasoned => {
                reasoned = value.kind() == Some(Kind::String);
                frame.text(index, TextKind::Reasoning, 0, value);
            }
            b"tool_calls" => value.items().enumerate().for_each(|(at, call)| {
                frame.content();
                tool_call(index, at as u64, call, frame);
            }),
            b"function_call" if value.kind() == Some(Kind::Object) => {
                frame.content();
                if let Some(arguments) = value.get("arguments") {
                    frame.text(index, TextKind::Tool, 0, arguments);
                }
            }
            b"audio" if value.kind() == Some(Kind::Object) => {
                frame.content();
                if let Some(transcript) = value.get("transcript") {
                    frame.text(index, TextKind::Text, 1, transcript);
                }
            }
            _ => {}
        }
    }
}

/// A string, or (Mistral) a list of parts, of which some are thoughts.
fn content(index: u64, value: Value<'_>, frame: &mut Frame<'_>) {
    frame.text(index, TextKind::Text, 0, value);
    for part in value.items() {
        for member in part.members() {
            match member.key {
                b"text" => frame.text(index, TextKind::Text, 0, member.value),
                b"thinking" => {
                    let thoughts = member.value.items().filter_map(|thought| thought.get("text"));
                    thoughts.for_each(|text| frame.text(index, TextKind::Reasoning, 0, text));
                }
                _ => {}
            }
        }
    }
}

fn tool_call(index: u64, position: u64, call: Value<'_>, frame: &mut Frame<'_>) {
    let part = call.get("index").and_then(|at| at.as_u64()).unwrap_or(position);
    for member in call.members() {
        let arguments = match member.key {
            b"function" => member.value.get("arguments"),
            b"custom" => member.value.get("input"),
            _ => None,
        };
        if let Some(arguments) = arguments {
            frame.text(index, TextKind::Tool, part, arguments);
        }
    }
}
