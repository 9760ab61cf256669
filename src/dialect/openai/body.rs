//! Whole answers of this dialect.

use super::super::observe::Frame;
use super::super::text::TextKind;
use super::super::{Endpoint, StreamError};
use super::chat;
use crate::wire::json::Value;

pub(in crate::dialect) fn read(endpoint: Endpoint, body: &[u8], frame: &mut Frame<'_>) {
    frame.members(body, |frame, key, value| match key {
        b"error" if !value.is_null() => frame.error(StreamError::from_value(value)),
        b"model" => frame.model(value),
        b"choices" => value.items().for_each(|choice| read_choice(choice, frame)),
        b"output" if endpoint == Endpoint::Responses => {
            let items = value.items().enumerate();
            items.for_each(|(at, item)| read_item(at as u64, item, frame));
        }
        b"status" if endpoint == Endpoint::Responses => frame.finish_reason(value),
        b"text" if endpoint == Endpoint::Audio => frame.text(0, TextKind::Text, 0, value),
        _ => {}
    });
}

fn read_choice(choice: Value<'_>, frame: &mut Frame<'_>) {
    let index = choice.get("index").and_then(|index| index.as_u64()).unwrap_or(0);
    for member in choice.members() {
        match member.key {
            b"message" => chat::message(index, member.value, frame),
            b"text" => frame.text(index, TextKind::Text, 0, member.value),
            b"finish_reason" => frame.finish_reason(member.value),
            _ => {}
        }
    }
}

/// An item of a response: a message, a tool call, reasoning.
fn read_item(index: u64, item: Value<'_>, frame: &mut Frame<'_>) {
    for member in item.members() {
        let value = member.value;
        let parts = || value.items().enumerate();
        match member.key {
            b"content" => parts().for_each(|(at, part)| {
                if let Some(text) = part.get("text") {
                    frame.text(index, TextKind::Text, at as u64, text);
                }
                if let Some(refusal) = part.get("refusal") {
                    frame.text(index, TextKind::Refusal, at as u64, refusal);
                }
            }),
            b"summary" => parts().for_each(|(at, part)| {
                if let Some(text) = part.get("text") {
                    frame.text(index, TextKind::Reasoning, at as u64, text);
                }
            }),
            b"arguments" | b"input" | b"code" => frame.text(index, TextKind::Tool, 0, value),
            _ => {}
        }
    }
}
