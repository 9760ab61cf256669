//! Parts of messages as `OpenAI` writes them, which Cohere does as well.

use crate::dialect::ir::{
    self, ArrayWriter, Block, Cache, Content, Format, Media, MediaKind, Seal, Source, Text,
    ToolCall,
};
use crate::error::Error;
use crate::wire::json::{Kind, Value};

/// A string, or a list of parts.
pub fn content<'a>(
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
pub fn part<'a>(part: Value<'a>, field: &str) -> Result<Block<'a>, Error> {
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
pub fn file<'a>(
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
pub fn located<'a>(
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
pub fn call<'a>(call: Value<'a>, field: &str) -> Result<ToolCall<'a>, Error> {
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

/// An image as this format and Cohere's have it.
pub fn image_part(media: &Media<'_>, parts: &mut ArrayWriter<'_>) {
    parts.object(|part| {
        part.text("type", "image_url");
        part.object("image_url", |image| {
            match &media.source {
                Source::Base64(data) => {
                    image.text("url", &format!("data:{};base64,{data}", media.media_type()));
                }
                Source::Url(text) | Source::File(text) | Source::Plain(text) => {
                    image.text("url", text);
                }
            }
            if let Some(detail) = &media.detail {
                image.text("detail", detail);
            }
        });
    });
}
