//! Answers of `generateContent`: a stream is a sequence of the same documents that a whole answer
//! is one of.

use super::super::StreamError;
use super::super::observe::Frame;
use super::super::text::TextKind;
use super::usage::usage;
use crate::wire::json::{Kind, Value};

/// Reads the chunks of one answer.
#[derive(Debug)]
pub(in crate::dialect) struct Decoder {
    /// Candidates that have begun, a bit for each. The first one is always waited for.
    begun: u128,
    /// Candidates that have ended. Some servers repeat the reason why.
    ended: u128,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { begun: 1, ended: 0 }
    }
}

impl Decoder {
    pub fn event(&mut self, data: &[u8], frame: &mut Frame<'_>) {
        let mut used = None;
        frame.members(data, |frame, key, value| match key {
            b"candidates" => value.items().for_each(|candidate| self.candidate(candidate, frame)),
            b"usageMetadata" => used = usage(value),
            b"modelVersion" => frame.model(value),
            // The prompt was refused: an answer, and all of it.
            b"promptFeedback" => {
                if let Some(reason) = value.get("blockReason").filter(|reason| !reason.is_null()) {
                    frame.finish_reason(reason);
                    frame.terminal();
                }
            }
            b"error" => frame.error(StreamError::from_value(value)),
            _ => {}
        });
        if self.ended > 0 {
            if self.begun & !self.ended == 0 {
                frame.terminal();
            } else {
                // One may begin when those before it have ended.
                frame.unfinished();
            }
        }
        // Every chunk says what was used so far.
        if let Some(used) = used {
            frame.usage(used, frame.is_finished());
        }
    }

    fn candidate(&mut self, candidate: Value<'_>, frame: &mut Frame<'_>) {
        let index = candidate.get("index").and_then(|index| index.as_u64()).unwrap_or(0);
        let bit = 1 << index.min(u64::from(u128::BITS - 1));
        self.begun |= bit;
        for member in candidate.members() {
            match member.key {
                b"content" => {
                    let parts = member.value.get("parts");
                    let parts = parts.iter().flat_map(Value::items).enumerate();
                    parts.for_each(|(at, value)| part(index, at as u64, value, frame));
                }
                b"finishReason" if !member.value.is_null() => {
                    frame.finish_reason(member.value);
                    self.ended |= bit;
                }
                _ => {}
            }
        }
    }
}

fn part(index: u64, position: u64, part: Value<'_>, frame: &mut Frame<'_>) {
    let thought = part.get("thought").and_then(|thought| thought.as_bool()).unwrap_or(false);
    let kind = if thought { TextKind::Reasoning } else { TextKind::Text };
    for member in part.members() {
        let value = member.value;
        match member.key {
            b"text" => frame.text(index, kind, 0, value),
            b"functionCall" => {
                frame.content();
                if let Some(arguments) = value.get("args") {
                    frame.raw(index, TextKind::Tool, position, arguments);
                }
            }
            b"executableCode" => {
                if let Some(code) = value.get("code") {
                    frame.text(index, TextKind::Tool, position, code);
                }
            }
            b"inlineData" | b"fileData" | b"codeExecutionResult"
                if value.kind() == Some(Kind::Object) =>
            {
                frame.content();
            }
            _ => {}
        }
    }
}
