//! Streams of Converse, in the AWS event stream.

use super::super::StreamError;
use super::super::observe::Frame;
use super::super::text::TextKind;
use super::usage::usage;
use crate::wire::eventstream::Message;
use crate::wire::json::{self, Value};

/// Reads one message.
pub(in crate::dialect) fn read(message: &Message<'_>, frame: &mut Frame<'_>) {
    match message.message_type() {
        Some("event") => event(message, frame),
        Some("exception") => {
            let text = json::find(message.payload, &["message"]);
            let text = text.and_then(|text| text.as_str()).unwrap_or_default();
            frame.error(StreamError::new(&text, message.exception_type(), None));
        }
        Some("error") => {
            let text = message.header(":error-message").unwrap_or_default();
            frame.error(StreamError::new(text, message.header(":error-code"), None));
        }
        _ => frame.not_understood(),
    }
}

fn event(message: &Message<'_>, frame: &mut Frame<'_>) {
    let mut index = 0;
    let (mut delta, mut start, mut used, mut reason) = (None, None, None, None);
    frame.members(message.payload, |_, key, value| match key {
        b"contentBlockIndex" => index = value.as_u64().unwrap_or(0),
        b"delta" => delta = Some(value),
        b"start" => start = Some(value),
        b"usage" => used = usage(value),
        b"stopReason" => reason = Some(value),
        _ => {}
    });
    match message.event_type() {
        Some("contentBlockDelta") => {
            delta.iter().flat_map(Value::members).for_each(|member| {
                block_delta(index, member.key, member.value, frame);
            });
        }
        Some("contentBlockStart") if start.is_some_and(|start| start.get("toolUse").is_some()) => {
            frame.content();
        }
        Some("messageStop") => {
            if let Some(reason) = reason {
                frame.finish_reason(reason);
            }
            frame.finished();
        }
        // Comes last, behind `messageStop`.
        Some("metadata") => {
            if let Some(used) = used {
                frame.usage(used, true);
            }
            frame.terminal();
        }
        _ => {}
    }
}

fn block_delta(index: u64, key: &[u8], value: Value<'_>, frame: &mut Frame<'_>) {
    match key {
        b"text" => frame.text(index, TextKind::Text, 0, value),
        b"toolUse" => {
            if let Some(input) = value.get("input") {
                frame.text(index, TextKind::Tool, 0, input);
            }
        }
        b"reasoningContent" => match value.get("text") {
            Some(text) => frame.text(index, TextKind::Reasoning, 0, text),
            None => frame.content(),
        },
        _ => frame.content(),
    }
}
