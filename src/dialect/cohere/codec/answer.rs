//! Whole answers.

use super::super::usage;
use super::{decode, finish_of, finish_word, usage_members};
use crate::dialect::ir::{
    self, Answer, Choice, Content, Extra, Finish, Loss, ObjectWriter, write_object,
};
use crate::error::Error;
use crate::wire::json::Value;

/// Reads an answer.
pub(in crate::dialect) fn decode(body: Value<'_>) -> Result<Answer<'_>, Error> {
    let mut answer = Answer::default();
    let mut choice = Choice::default();
    for member in ir::members(body, "answer")? {
        let value = member.value;
        match member.key {
            b"id" => answer.id = value.as_str(),
            b"model" => answer.model = value.as_str(),
            b"usage" => answer.usage = usage(value),
            b"finish_reason" => choice.finish = value.as_str().map(|word| finish_of(&word)),
            b"message" => {
                choice.blocks = decode::said(value, "message")?;
                if value.get("citations").is_some_and(|list| list.items().next().is_some()) {
                    let name = "citations".into();
                    answer.extra.push(Extra { name, value: "[]", essential: false });
                }
            }
            _ => {}
        }
    }
    answer.choices.push(choice);
    Ok(answer)
}

/// Writes an answer.
pub(in crate::dialect) fn encode(
    answer: &Answer<'_>,
    fallback_id: &str,
    loss: &mut Loss,
) -> Vec<u8> {
    let nothing = Choice::default();
    let choice = answer.choices.first().unwrap_or(&nothing);
    if answer.choices.len() > 1 {
        loss.drop("choices[1..]");
    }
    let mut out = Vec::with_capacity(1024);
    write_object(&mut out, |object| {
        object.text("id", answer.id.as_deref().unwrap_or(fallback_id));
        let finish = choice.finish.unwrap_or(Finish::Stop);
        finish_lost(finish, loss);
        object.text("finish_reason", finish_word(finish));
        object.object("message", |message| said(choice, message, loss));
        if let Some(usage) = &answer.usage {
            object.object("usage", |out| usage_members(usage, out));
        }
    });
    out
}

/// This format has no word for a filter's work.
pub(super) fn finish_lost(finish: Finish, loss: &mut Loss) {
    if matches!(finish, Finish::Filtered | Finish::Refused) {
        loss.drop("finish_reason");
    }
}

fn said(choice: &Choice<'_>, message: &mut ObjectWriter<'_>, loss: &mut Loss) {
    let contents = || choice.blocks.iter().map(|block| &block.content);
    message.text("role", "assistant");
    let calls = || {
        contents().filter_map(|content| match content {
            Content::ToolCall(call) => Some(call),
            _ => None,
        })
    };
    if contents().count() > calls().count() {
        message.array("content", |parts| {
            for content in contents() {
                match content {
                    Content::Text(text) | Content::Refusal(text) => parts.object(|part| {
                        part.text("type", "text");
                        part.text("text", text);
                    }),
                    Content::Thought(thought) => {
                        if thought.seal.is_some() {
                            loss.drop("thinking signature");
                        }
                        parts.object(|part| {
                            part.text("type", "thinking");
                            part.text("thinking", &thought.text);
                        });
                    }
                    Content::Opaque(opaque) => loss.drop(format!("content ({})", opaque.kind)),
                    Content::Media(_) => loss.drop("content (media)"),
                    Content::ToolResult(_) => loss.drop("content (tool result)"),
                    Content::ToolCall(_) => {}
                }
            }
        });
    }
    if calls().next().is_some() {
        message.array("tool_calls", |list| {
            for call in calls() {
                if call.seal.is_some() {
                    loss.drop("thinking signature");
                }
                list.object(|object| {
                    object.text("id", &call.id);
                    object.text("type", "function");
                    object.object("function", |function| {
                        function.text("name", &call.name);
                        function.text("arguments", &call.object());
                    });
                });
            }
        });
    }
}
