//! Items: of a request's input and of an answer's output.

use crate::dialect::ir::{
    self, Block, Content, Format, Media, MediaKind, ObjectWriter, Opaque, Role, Seal, Source, Text,
    Thought, ToolCall, ToolResult,
};
use crate::dialect::shared::parts::{file, located};
use crate::error::Error;
use crate::wire::json::{Kind, Value};

/// Who speaks in an item, and what is said.
pub(super) fn decode<'a>(item: Value<'a>, field: &str) -> Result<(Role, Vec<Block<'a>>), Error> {
    let text = |key: &str| item.get(key).and_then(|value| value.as_str());
    let need = |key: &str| {
        text(key).ok_or_else(|| ir::refused_shape(&format!("{field}.{key}"), "a string"))
    };
    let one = |content| Ok((Role::Assistant, vec![Block::new(content)]));
    match text("type").as_deref() {
        None | Some("message") => message(item, field),
        Some("function_call") => one(Content::ToolCall(ToolCall {
            id: need("call_id")?,
            name: need("name")?,
            arguments: text("arguments").unwrap_or_default(),
            seal: None,
        })),
        Some("function_call_output") => {
            let result = ToolResult {
                call_id: need("call_id")?,
                name: None,
                blocks: match item.get("output") {
                    Some(output) => contents(output, &format!("{field}.output"))?,
                    None => Vec::new(),
                },
                is_error: false,
            };
            Ok((Role::User, vec![Block::new(Content::ToolResult(result))]))
        }
        Some("reasoning") => one(Content::Thought(thought(item))),
        Some("item_reference") => {
            Err(ir::refused_shape(field, "an item, or the id of one that is kept here"))
        }
        Some(kind) => one(Content::Opaque(Opaque {
            origin: Format::Responses,
            kind: kind.to_owned().into(),
            value: Text::Borrowed(ir::raw(item)),
        })),
    }
}

fn message<'a>(item: Value<'a>, field: &str) -> Result<(Role, Vec<Block<'a>>), Error> {
    let role = item.get("role").and_then(|role| role.as_str()).unwrap_or_default();
    let role = match &*role {
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "system" => Role::System,
        "developer" => Role::Developer,
        _ => return Err(ir::refused_shape(&format!("{field}.role"), "a known role")),
    };
    let field = format!("{field}.content");
    let content = item.get("content").ok_or_else(|| ir::refused_shape(&field, "a text or list"))?;
    Ok((role, contents(content, &field)?))
}

/// Whether all of it are results of tools.
pub(super) fn are_results(blocks: &[Block<'_>]) -> bool {
    blocks.iter().all(|block| matches!(block.content, Content::ToolResult(_)))
}

/// A text, or a list of parts.
fn contents<'a>(value: Value<'a>, field: &str) -> Result<Vec<Block<'a>>, Error> {
    if value.kind() == Some(Kind::String) {
        return Ok(vec![Block::text(ir::string(value, field)?)]);
    }
    ir::items(value, field)?
        .enumerate()
        .map(|(at, item)| Ok(Block::new(part(item, &format!("{field}[{at}]"))?)))
        .collect()
}

/// One part of a message.
pub(super) fn part<'a>(part: Value<'a>, field: &str) -> Result<Content<'a>, Error> {
    let text = |key: &str| part.get(key).and_then(|value| value.as_str());
    let need = |key: &str| {
        text(key).ok_or_else(|| ir::refused_shape(&format!("{field}.{key}"), "a string"))
    };
    Ok(match text("type").as_deref() {
        Some("input_text" | "output_text" | "text") => Content::Text(need("text")?),
        Some("refusal") => Content::Refusal(need("refusal")?),
        Some("input_image") => Content::Media(match (text("image_url"), text("file_id")) {
            (Some(url), _) => located(MediaKind::Image, url, text("detail"), None),
            (None, Some(id)) => Media {
                kind: MediaKind::Image,
                source: Source::File(id),
                media_type: None,
                name: None,
                detail: text("detail"),
            },
            (None, None) => return Err(ir::refused_shape(field, "`image_url` or `file_id`")),
        }),
        Some("input_file") => match text("file_url") {
            Some(url) => Content::Media(located(MediaKind::Document, url, None, text("filename"))),
            None => file(text("file_data"), text("file_id"), text("filename"), field)?,
        },
        Some("input_audio") => {
            let member = |key| part.find(&["input_audio", key]).and_then(|value| value.as_str());
            let data = member("data").ok_or_else(|| ir::refused_shape(field, "`data`"))?;
            let media_type = member("format").and_then(|format| ir::media_type(&format));
            Content::Media(Media {
                kind: MediaKind::Audio,
                source: Source::Base64(data),
                media_type: media_type.map(Text::Borrowed),
                name: None,
                detail: None,
            })
        }
        _ => return Err(ir::refused_shape(&format!("{field}.type"), "a known type of content")),
    })
}

/// A thought: its summary, or its text where the model shows it.
pub(super) fn thought(item: Value<'_>) -> Thought<'_> {
    let parts = |key: &str| {
        let list = item.get(key);
        let texts = list.iter().flat_map(Value::items).filter_map(|part| part.get("text"));
        texts.filter_map(|text| text.as_str()).collect::<Vec<_>>().join("\n\n")
    };
    let summary = parts("summary");
    let text = if summary.is_empty() { parts("content") } else { summary };
    let sealed = item.get("encrypted_content").and_then(|seal| seal.as_str());
    let id = item.get("id").and_then(|id| id.as_str());
    Thought { text: text.into(), seal: sealed.map(|value| seal(id, value)) }
}

/// The seal of an item, its own or one of another format that was put there.
pub(super) fn seal<'a>(id: Option<Text<'a>>, value: Text<'a>) -> Seal<'a> {
    let mut seal = Seal::found(Format::Responses, value);
    if seal.origin == Format::Responses {
        seal.id = id;
    }
    seal
}

/// A picture that the model has made.
pub(super) fn picture(item: Value<'_>) -> Option<Media<'_>> {
    item.get("type").filter(|kind| kind.raw() == b"\"image_generation_call\"")?;
    let data = item.get("result")?.as_str()?;
    let word = item.get("output_format").and_then(|word| word.as_str());
    let media_type = word.and_then(|word| ir::media_type(&word));
    Some(Media::picture(data, media_type.map(Text::Borrowed)))
}

/// Its data, if it is here.
pub(super) fn picture_data<'m>(media: &'m Media<'_>) -> Option<&'m str> {
    match (media.kind, &media.source) {
        (MediaKind::Image, Source::Base64(data)) => Some(data),
        _ => None,
    }
}

/// The members of an item that makes a picture: what it has made, if it is done.
pub(super) fn write_picture(id: &str, data: Option<&str>, out: &mut ObjectWriter<'_>) {
    out.text("type", "image_generation_call");
    out.text("id", id);
    if let Some(data) = data {
        out.text("status", "completed");
        out.text("result", data);
    } else {
        out.text("status", "in_progress");
        out.null("result");
    }
}

/// What an item says.
#[derive(Clone, Copy, Debug)]
pub(super) enum Part<'a> {
    Text {
        text: &'a str,
        /// The elements of a list.
        annotations: &'a str,
        /// The elements of a list.
        logprobs: &'a str,
    },
    Refusal(&'a str),
}

/// The members of an item that says something.
pub(super) fn write_message(
    id: &str,
    status: &str,
    said: Option<Part<'_>>,
    out: &mut ObjectWriter<'_>,
) {
    out.text("type", "message");
    out.text("id", id);
    out.text("status", status);
    out.text("role", "assistant");
    out.array("content", |parts| {
        if let Some(said) = said {
            parts.object(|part| write_part(said, part));
        }
    });
}

/// The members of a part that says something.
pub(super) fn write_part(part: Part<'_>, out: &mut ObjectWriter<'_>) {
    match part {
        Part::Refusal(text) => {
            out.text("type", "refusal");
            out.text("refusal", text);
        }
        Part::Text { text, annotations, logprobs } => {
            out.text("type", "output_text");
            out.text("text", text);
            out.array("annotations", |list| {
                if !annotations.is_empty() {
                    list.raw(annotations);
                }
            });
            out.array("logprobs", |list| {
                if !logprobs.is_empty() {
                    list.raw(logprobs);
                }
            });
        }
    }
}

/// The members of an item that calls a tool.
pub(super) fn write_call(
    id: &str,
    status: &str,
    (call_id, name, arguments): (&str, &str, &str),
    out: &mut ObjectWriter<'_>,
) {
    out.text("type", "function_call");
    out.text("id", id);
    out.text("call_id", call_id);
    out.text("name", name);
    out.text("arguments", arguments);
    out.text("status", status);
}

/// The members of an item that thinks.
pub(super) fn write_thought(id: &str, text: &str, seal: Option<&str>, out: &mut ObjectWriter<'_>) {
    out.text("type", "reasoning");
    out.text("id", id);
    out.array("summary", |parts| {
        if !text.is_empty() {
            parts.object(|part| {
                part.text("type", "summary_text");
                part.text("text", text);
            });
        }
    });
    if let Some(seal) = seal {
        out.text("encrypted_content", seal);
    }
}
