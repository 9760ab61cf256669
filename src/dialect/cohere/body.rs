//! Whole answers of the second chat API.

use super::super::StreamError;
use super::super::observe::Frame;
use super::super::text::TextKind;
use super::stream::part;
use crate::wire::json::{Value, lazy};

pub(in crate::dialect) fn read(body: &[u8], frame: &mut Frame<'_>) {
    frame.members(body, |frame, key, value| match key {
        // Of an answer the message is an object; of an error it is the text.
        b"message" if value.contents().is_some() => {
            frame.error(StreamError::from_value(lazy(body)));
        }
        b"message" => read_message(value, frame),
        b"finish_reason" => frame.finish_reason(value),
        _ => {}
    });
}

fn read_message(message: Value<'_>, frame: &mut Frame<'_>) {
    for member in message.members() {
        let value = member.value;
        match member.key {
            b"content" => {
                value.items().enumerate().for_each(|(at, item)| part(at as u64, item, frame));
            }
            b"tool_plan" => frame.text(0, TextKind::Reasoning, 1, value),
            b"tool_calls" => {
                for (at, call) in value.items().enumerate() {
                    if let Some(arguments) = call.find(&["function", "arguments"]) {
                        frame.text(at as u64, TextKind::Tool, 0, arguments);
                    }
                }
            }
            _ => {}
        }
    }
}
