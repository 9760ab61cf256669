//! Whole answers of Converse.

use super::super::StreamError;
use super::super::observe::Frame;
use super::super::text::TextKind;
use crate::wire::json::{Value, lazy};

pub(in crate::dialect) fn read(body: &[u8], frame: &mut Frame<'_>) {
    frame.members(body, |frame, key, value| match key {
        b"message" | b"Message" => frame.error(StreamError::from_value(lazy(body))),
        b"stopReason" => frame.finish_reason(value),
        b"output" => {
            let content = value.find(&["message", "content"]);
            let blocks = content.iter().flat_map(Value::items).enumerate();
            blocks.for_each(|(at, block)| read_block(at as u64, block, frame));
        }
        _ => {}
    });
}

fn read_block(index: u64, block: Value<'_>, frame: &mut Frame<'_>) {
    for member in block.members() {
        let value = member.value;
        match member.key {
            b"text" => frame.text(index, TextKind::Text, 0, value),
            b"toolUse" => {
                if let Some(input) = value.get("input") {
                    frame.raw(index, TextKind::Tool, 0, input);
                }
            }
            b"reasoningContent" => {
                if let Some(text) = value.find(&["reasoningText", "text"]) {
                    frame.text(index, TextKind::Reasoning, 0, text);
                }
            }
            _ => {}
        }
    }
}
