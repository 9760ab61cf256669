//! Whole messages.

use super::super::StreamError;
use super::super::observe::Frame;
use super::super::text::TextKind;
use crate::wire::json::Value;

pub(in crate::dialect) fn read(body: &[u8], frame: &mut Frame<'_>) {
    frame.members(body, |frame, key, value| match key {
        b"error" => frame.error(StreamError::from_value(value)),
        b"model" => frame.model(value),
        b"stop_reason" => frame.finish_reason(value),
        b"content" => {
            value.items().enumerate().for_each(|(at, block)| read_block(at as u64, block, frame));
        }
        _ => {}
    });
}

fn read_block(index: u64, block: Value<'_>, frame: &mut Frame<'_>) {
    for member in block.members() {
        match member.key {
            b"text" => frame.text(index, TextKind::Text, 0, member.value),
            b"thinking" => frame.text(index, TextKind::Reasoning, 0, member.value),
            b"input" => frame.raw(index, TextKind::Tool, 0, member.value),
            _ => {}
        }
    }
}
