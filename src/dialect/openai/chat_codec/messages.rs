//! The messages of a request, and the message of an answer.

use crate::dialect::ir::{
    self, Block, Cache, Content, Format, Message, Role, Seal, Thought, ToolResult,
};
use crate::dialect::shared::parts::{call, content};
use crate::error::Error;
use crate::wire::json::Value;

pub(super) fn decode(value: Value<'_>) -> Result<Vec<Message<'_>>, Error> {
    ir::items(value, "messages")?.enumerate().map(|(at, message)| one(at, message)).collect()
}

fn one(at: usize, message: Value<'_>) -> Result<Message<'_>, Error> {
    let field = format!("messages[{at}]");
    let role = message.get("role").and_then(|role| role.as_str()).unwrap_or_default();
    let role = match &*role {
        "system" => Role::System,
        "developer" => Role::Developer,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "tool" => return result(message, &field),
        _ => return Err(ir::refused_shape(&format!("{field}.role"), "a known role")),
    };
    let mut blocks = Vec::new();
    said(message, &field, &mut blocks)?;
    Ok(Message { role, blocks })
}

/// What a message says, in the order in which the other formats want it: thoughts, text, calls.
pub(super) fn said<'a>(
    message: Value<'a>,
    field: &str,
    blocks: &mut Vec<Block<'a>>,
) -> Result<(), Error> {
    let mut calls = Vec::new();
    let mut texts = Vec::new();
    thoughts(message, blocks);
    for member in ir::members(message, field)? {
        let value = member.value;
        match member.key {
            b"content" => content(value, field, &mut texts)?,
            b"refusal" => {
                texts.push(Block::new(Content::Refusal(ir::string(value, field)?)));
            }
            b"tool_calls" => {
                for item in ir::items(value, field)? {
                    calls.push(Block::new(Content::ToolCall(call(item, field)?)));
                }
            }
            // Read elsewhere, or accounted for as not known.
            _ => {}
        }
    }
    if let (Some(mark), Some(last)) = (Cache::mark(message), texts.last_mut()) {
        last.cache = Some(mark);
    }
    blocks.append(&mut texts);
    blocks.append(&mut calls);
    Ok(())
}

/// Thoughts, which servers that are compatible with `OpenAI` have under several names. The detailed
/// form also carries what a provider wants back.
fn thoughts<'a>(message: Value<'a>, blocks: &mut Vec<Block<'a>>) {
    if let Some(details) = message.get("reasoning_details").filter(|list| !list.is_null()) {
        for detail in details.items() {
            let part = |key| detail.get(key).and_then(|value| value.as_str());
            let text = part("text").or_else(|| part("summary")).unwrap_or_default();
            let seal = part("signature").or_else(|| part("data"));
            let seal = seal.map(|value| Seal::found(Format::Chat, value));
            blocks.push(Block::new(Content::Thought(Thought { text, seal })));
        }
        return;
    }
    let plain = message.get("reasoning_content").or_else(|| message.get("reasoning"));
    if let Some(text) = plain.and_then(|text| text.as_str()).filter(|text| !text.is_empty()) {
        blocks.push(Block::new(Content::Thought(Thought { text, seal: None })));
    }
}

fn result<'a>(message: Value<'a>, field: &str) -> Result<Message<'a>, Error> {
    let mut blocks = Vec::new();
    if let Some(value) = message.get("content").filter(|value| !value.is_null()) {
        content(value, field, &mut blocks)?;
    }
    let id = message.get("tool_call_id");
    let id = id.ok_or_else(|| ir::refused_shape(&format!("{field}.tool_call_id"), "a string"))?;
    let result = ToolResult {
        call_id: ir::string(id, field)?,
        name: message.get("name").and_then(|name| name.as_str()),
        blocks,
        is_error: false,
    };
    let block = Block { content: Content::ToolResult(result), cache: Cache::mark(message) };
    Ok(Message { role: Role::User, blocks: vec![block] })
}
