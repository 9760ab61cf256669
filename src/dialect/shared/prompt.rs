//! The text of a prompt in the words of `OpenAI`, which are Cohere's as well.

use crate::dialect::prompt::Prompt;
use crate::wire::json::{Kind, Value};

/// The text of the prompt.
pub fn prompt(object: Value<'_>, out: &mut Prompt<'_>) {
    for member in object.members() {
        match member.key {
            b"messages" => member.value.items().for_each(|message| turn(message, out)),
            b"input" | b"prompt" | b"instructions" | b"query" | b"documents" | b"texts" => {
                input(member.value, out);
            }
            _ => {}
        }
    }
}

/// A string, a list of strings, or (responses) a list of items.
fn input(value: Value<'_>, out: &mut Prompt<'_>) {
    out.push(value);
    for item in value.items() {
        match item.kind() {
            Some(Kind::String) => out.push(item),
            _ => turn(item, out),
        }
    }
}

/// A message, or an item of the responses API.
fn turn(message: Value<'_>, out: &mut Prompt<'_>) {
    for member in message.members() {
        let value = member.value;
        match member.key {
            b"content" | b"output" | b"summary" => {
                out.push(value);
                for part in value.items() {
                    if let Some(text) = part.get("text").or_else(|| part.get("refusal")) {
                        out.push(text);
                    }
                }
            }
            b"text" | b"refusal" | b"arguments" => out.push(value),
            b"tool_calls" => {
                for call in value.items() {
                    if let Some(arguments) = call.find(&["function", "arguments"]) {
                        out.push(arguments);
                    }
                }
            }
            _ => {}
        }
    }
}
