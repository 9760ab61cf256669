//! Streams of the second chat API.

use super::super::StreamError;
use super::super::observe::Frame;
use super::super::text::TextKind;
use super::usage::usage;
use crate::wire::json::{Value, lazy};

/// Reads one event.
pub(in crate::dialect) fn read(data: &[u8], frame: &mut Frame<'_>) {
    if data == b"[DONE]" {
        return frame.terminal();
    }
    let (mut kind, mut index, mut delta): (&[u8], _, _) = (b"", 0, lazy(b""));
    let mut failure = None;
    frame.members(data, |_, key, value| match key {
        b"type" => kind = value.contents().unwrap_or_default(),
        b"index" => index = value.as_u64().unwrap_or(0),
        b"delta" => delta = value,
        b"message" | b"error" => failure = Some(value),
        _ => {}
    });
    match kind {
        b"content-start" | b"content-delta" | b"tool-plan-delta" | b"tool-call-start"
        | b"tool-call-delta" => message(kind, index, delta, frame),
        b"message-end" => end(delta, frame),
        b"citation-start" => frame.content(),
        b"error" => frame.error(StreamError::from_value(lazy(data))),
        b"" => {
            if let Some(failure) = failure {
                frame.error(StreamError::from_value(failure));
            }
        }
        _ => {}
    }
}

fn message(kind: &[u8], index: u64, delta: Value<'_>, frame: &mut Frame<'_>) {
    if kind == b"tool-call-start" {
        frame.content();
    }
    for member in delta.get("message").iter().flat_map(Value::members) {
        let value = member.value;
        match member.key {
            b"content" => part(index, value, frame),
            b"tool_plan" => frame.text(index, TextKind::Reasoning, 1, value),
            b"tool_calls" => {
                if let Some(arguments) = value.find(&["function", "arguments"]) {
                    frame.text(index, TextKind::Tool, 0, arguments);
                }
            }
            _ => {}
        }
    }
}

/// A piece of content, in a stream or in a whole message.
pub(super) fn part(index: u64, part: Value<'_>, frame: &mut Frame<'_>) {
    for member in part.members() {
        match member.key {
            b"text" => frame.text(index, TextKind::Text, 0, member.value),
            b"thinking" => frame.text(index, TextKind::Reasoning, 0, member.value),
            _ => {}
        }
    }
}

fn end(delta: Value<'_>, frame: &mut Frame<'_>) {
    let (mut failed, mut message) = (false, None);
    for member in delta.members() {
        let value = member.value;
        match member.key {
            b"finish_reason" => {
                failed = value.raw() == b"\"ERROR\"" || value.raw() == b"\"TIMEOUT\"";
                if !failed {
                    frame.finish_reason(value);
                }
            }
            b"usage" => {
                if let Some(used) = usage(value) {
                    frame.usage(used, true);
                }
            }
            b"error" => message = value.as_str(),
            _ => {}
        }
    }
    if failed {
        let message = message.as_deref().unwrap_or("The generation failed.");
        frame.error(StreamError::new(message, None, None));
    }
    frame.terminal();
}
