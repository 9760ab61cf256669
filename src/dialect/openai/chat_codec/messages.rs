//! The messages of a request, and the message of an answer.

use crate::dialect::ir::{
    self, Block, Cache, Content, Format, Media, MediaKind, Message, Role, Seal, Source, Text,
    Thought, ToolCall, ToolResult,
};
use crate::error::Error;
use crate::wire::json::{Kind, Value};

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

/// A string, or a list of parts.
pub(in crate::dialect) fn content<'a>(
    value: Value<'a>,
    field: &str,
    blocks: &mut Vec<Block<'a>>,
) -> Result<(), Error> {
    if value.kind() == Some(Kind::String) {
        let text = ir::string(value, field)?;
        if !text.is_empty() {
            blocks.push(Block::text(text));
        }
        return Ok(());
    }
    for (at, item) in ir::items(value, &format!("{field}.content"))?.enumerate() {
        blocks.push(part(item, &format!("{field}.content[{at}]"))?);
    }
    Ok(())
}

/// One part of a message.
pub(in crate::dialect) fn part<'a>(part: Value<'a>, field: &str) -> Result<Block<'a>, Error> {
    let kind = part.get("type").and_then(|kind| kind.as_str()).unwrap_or_default();
    let need = |path: &[&str]| {
        let value = part.find(path).filter(|value| !value.is_null());
        ir::string(value.ok_or_else(|| ir::refused_shape(field, &path.join(".")))?, field)
    };
    let content = match &*kind {
        "text" => Content::Text(need(&["text"])?),
        "refusal" => Content::Refusal(need(&["refusal"])?),
        "image_url" => {
            let url = match part.get("image_url").and_then(|url| url.as_str()) {
                Some(url) => url,
                None => need(&["image_url", "url"])?,
            };
            let detail = part.find(&["image_url", "detail"]).and_then(|detail| detail.as_str());
            Content::Media(located(MediaKind::Image, url, detail, None))
        }
        "input_audio" => Content::Media(Media {
            kind: MediaKind::Audio,
            source: Source::Base64(need(&["input_audio", "data"])?),
            media_type: ir::media_type(&need(&["input_audio", "format"])?).map(Text::Borrowed),
            name: None,
            detail: None,
        }),
        "file" => {
            let member = |key| part.find(&["file", key]).and_then(|value| value.as_str());
            file(member("file_data"), member("file_id"), member("filename"), field)?
        }
        _ => return Err(ir::refused_shape(&format!("{field}.type"), "a known type of content")),
    };
    Ok(Block { content, cache: Cache::mark(part) })
}

/// A file of which one of data and id is known.
pub(in crate::dialect) fn file<'a>(
    data: Option<Text<'a>>,
    id: Option<Text<'a>>,
    name: Option<Text<'a>>,
    field: &str,
) -> Result<Content<'a>, Error> {
    Ok(Content::Media(match (data, id) {
        (Some(data), _) => located(MediaKind::Document, data, None, name),
        (None, Some(id)) => Media {
            kind: MediaKind::Document,
            source: Source::File(id),
            media_type: None,
            name,
            detail: None,
        },
        (None, None) => return Err(ir::refused_shape(field, "`file_data` or `file_id`")),
    }))
}

/// Media at an address, which may be its data.
pub(in crate::dialect) fn located<'a>(
    kind: MediaKind,
    url: Text<'a>,
    detail: Option<Text<'a>>,
    name: Option<Text<'a>>,
) -> Media<'a> {
    match ir::data_url(&url) {
        Some((media_type, data)) => Media {
            kind,
            source: Source::Base64(data),
            media_type: Some(media_type).filter(|name| !name.is_empty()),
            name,
            detail,
        },
        None => Media { kind, source: Source::Url(url), media_type: None, name, detail },
    }
}

/// One call of a tool.
pub(in crate::dialect) fn call<'a>(call: Value<'a>, field: &str) -> Result<ToolCall<'a>, Error> {
    let field = format!("{field}.tool_calls");
    let need = |path: &[&str]| {
        let value = call.find(path).filter(|value| !value.is_null());
        ir::string(value.ok_or_else(|| ir::refused_shape(&field, &path.join(".")))?, &field)
    };
    let seal = call.find(&["extra_content", "google", "thought_signature"]);
    let seal = seal.and_then(|seal| seal.as_str());
    Ok(ToolCall {
        id: need(&["id"])?,
        name: need(&["function", "name"])?,
        arguments: call
            .find(&["function", "arguments"])
            .and_then(|text| text.as_str())
            .unwrap_or_default(),
        seal: seal.map(|value| Seal::found(Format::Gemini, value)),
    })
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
