//! What a request asks for.

use super::REDACTED;
use crate::dialect::ir::{
    self, Block, Cache, Content, Effort, Format, Media, MediaKind, Message, Opaque, Output,
    Reasoning, Request, Role, Schema, Seal, Source, Text, Thought, Tool, ToolCall, ToolChoice,
    ToolResult,
};
use crate::error::Error;
use crate::wire::json::{Kind, Value};

/// Reads a request, which is valid JSON.
pub(in crate::dialect) fn decode(body: Value<'_>) -> Result<Request<'_>, Error> {
    let mut request =
        Request { origin: Some(Format::Anthropic), stream_usage: true, ..Request::default() };
    let mut reasoning = Reasoning::UNSAID;
    let mut system = None;
    for member in ir::members(body, "body")? {
        let value = member.value;
        let name = ir::utf8(member.key);
        match name {
            "model" => {}
            "system" => {
                let blocks = contents(value, name)?;
                system = Some(Message { role: Role::System, blocks });
            }
            "messages" => request.messages = messages(value)?,
            "stream" => request.stream = ir::boolean(value, name)?,
            "max_tokens" => request.max_tokens = Some(ir::unsigned(value, name)?),
            "stop_sequences" => {
                let texts = ir::items(value, name)?.map(|text| ir::string(text, name));
                request.stop = texts.collect::<Result<_, _>>()?;
            }
            "temperature" => request.temperature = Some(ir::raw(value)),
            "top_p" => request.top_p = Some(ir::raw(value)),
            "top_k" => request.top_k = Some(ir::raw(value)),
            "tools" => request.tools = tools(value)?,
            "tool_choice" => tool_choice(value, &mut request)?,
            "thinking" => thinking(value, &mut reasoning)?,
            "output_config" => output_config(value, &mut request, &mut reasoning)?,
            "output_format" => request.output = output(value)?,
            "metadata" => metadata(value, &mut request)?,
            "mcp_servers" | "container" => request.need(name, ir::raw(value)),
            _ => request.keep(name, ir::raw(value)),
        }
    }
    request.reasoning = Some(reasoning).filter(|reasoning| *reasoning != Reasoning::UNSAID);
    request.messages.splice(0..0, system);
    Ok(request)
}

fn metadata<'a>(value: Value<'a>, request: &mut Request<'a>) -> Result<(), Error> {
    for member in ir::members(value, "metadata")? {
        match member.key {
            b"user_id" => request.user = Some(ir::string(member.value, "metadata.user_id")?),
            key => {
                let name = format!("metadata.{}", ir::utf8(key));
                request.keep(name, ir::raw(member.value));
            }
        }
    }
    Ok(())
}

fn messages(value: Value<'_>) -> Result<Vec<Message<'_>>, Error> {
    let mut messages = Vec::new();
    for (at, message) in ir::items(value, "messages")?.enumerate() {
        let role = message.get("role").and_then(|role| role.as_str()).unwrap_or_default();
        let role = match &*role {
            "user" => Role::User,
            "assistant" => Role::Assistant,
            "system" => Role::System,
            _ => {
                let field = format!("messages[{at}].role");
                return Err(ir::refused_shape(&field, "`user` or `assistant`"));
            }
        };
        let field = format!("messages[{at}].content");
        let content = message
            .get("content")
            .ok_or_else(|| ir::refused_shape(&field, "a string or a list"))?;
        messages.push(Message { role, blocks: contents(content, &field)? });
    }
    Ok(messages)
}

/// A string, or a list of blocks.
fn contents<'a>(value: Value<'a>, field: &str) -> Result<Vec<Block<'a>>, Error> {
    if value.kind() == Some(Kind::String) {
        return Ok(vec![Block::text(ir::string(value, field)?)]);
    }
    let blocks = ir::items(value, field)?.enumerate();
    blocks.map(|(at, item)| block(item, &format!("{field}[{at}]"))).collect()
}

/// One block, of a request or of an answer.
pub(super) fn block<'a>(value: Value<'a>, field: &str) -> Result<Block<'a>, Error> {
    let kind = value.get("type").and_then(|kind| kind.as_str()).unwrap_or_default();
    let need = |key: &str| {
        let found = value.get(key).filter(|found| !found.is_null());
        ir::string(
            found.ok_or_else(|| ir::refused_shape(&format!("{field}.{key}"), "a string"))?,
            field,
        )
    };
    let content = match &*kind {
        "text" => Content::Text(need("text")?),
        "image" => Content::Media(media(MediaKind::Image, value, field)?),
        "document" => document(value, field)?,
        "tool_use" => Content::ToolCall(ToolCall {
            id: need("id")?,
            name: need("name")?,
            arguments: value.get("input").map_or("{}".into(), |input| ir::raw(input).into()),
            seal: None,
        }),
        "tool_result" => Content::ToolResult(ToolResult {
            call_id: need("tool_use_id")?,
            name: None,
            blocks: match value.get("content").filter(|content| !content.is_null()) {
                Some(content) => contents(content, &format!("{field}.content"))?,
                None => Vec::new(),
            },
            is_error: value.get("is_error").and_then(|flag| flag.as_bool()).unwrap_or(false),
        }),
        "thinking" => Content::Thought(Thought {
            text: need("thinking")?,
            seal: value
                .get("signature")
                .and_then(|seal| seal.as_str())
                .filter(|seal| !seal.is_empty())
                .map(|seal| Seal::found(Format::Anthropic, seal)),
        }),
        "redacted_thinking" => Content::Thought(redacted(need("data")?)),
        _ => Content::Opaque(Opaque {
            origin: Format::Anthropic,
            kind,
            value: Text::Borrowed(ir::raw(value)),
        }),
    };
    Ok(Block { content, cache: Cache::mark(value) })
}

fn redacted(data: Text<'_>) -> Thought<'_> {
    let mut seal = Seal::found(Format::Anthropic, data);
    if seal.origin == Format::Anthropic {
        seal.id = Some(Text::Borrowed(REDACTED));
    }
    Thought { text: Text::Borrowed(""), seal: Some(seal) }
}

fn media<'a>(kind: MediaKind, value: Value<'a>, field: &str) -> Result<Media<'a>, Error> {
    let field = format!("{field}.source");
    let part = |key: &str| value.find(&["source", key]).and_then(|part| part.as_str());
    let need = |key: &str| {
        part(key).ok_or_else(|| ir::refused_shape(&format!("{field}.{key}"), "a string"))
    };
    let source = match &*need("type")? {
        "base64" => Source::Base64(need("data")?),
        "url" => Source::Url(need("url")?),
        "file" => Source::File(need("file_id")?),
        "text" => Source::Plain(need("data")?),
        _ => return Err(ir::refused_shape(&format!("{field}.type"), "a known type of source")),
    };
    let name = value.get("title").and_then(|title| title.as_str());
    Ok(Media { kind, source, media_type: part("media_type"), name, detail: None })
}

/// A document of blocks, or one whose citations or context are asked for, is of this format only.
fn document<'a>(value: Value<'a>, field: &str) -> Result<Content<'a>, Error> {
    let of_blocks = value.find(&["source", "type"]).is_some_and(|v| v.raw() == b"\"content\"");
    let cited = value.find(&["citations", "enabled"]).and_then(|v| v.as_bool()) == Some(true);
    if of_blocks || cited || value.get("context").is_some_and(|context| !context.is_null()) {
        return Ok(Content::Opaque(Opaque {
            origin: Format::Anthropic,
            kind: "document".into(),
            value: Text::Borrowed(ir::raw(value)),
        }));
    }
    Ok(Content::Media(media(MediaKind::Document, value, field)?))
}

fn tools(value: Value<'_>) -> Result<Vec<Tool<'_>>, Error> {
    let mut tools = Vec::new();
    for (at, tool) in ir::items(value, "tools")?.enumerate() {
        let kind = tool.get("type").and_then(|kind| kind.as_str()).unwrap_or_default();
        if !kind.is_empty() && kind != "custom" {
            tools.push(Tool::Opaque(Opaque {
                origin: Format::Anthropic,
                kind,
                value: Text::Borrowed(ir::raw(tool)),
            }));
            continue;
        }
        let field = format!("tools[{at}]");
        let text = |key: &str| tool.get(key).and_then(|value| value.as_str());
        tools.push(Tool::Function {
            name: text("name").ok_or_else(|| ir::refused_shape(&field, "a `name`"))?,
            description: text("description"),
            parameters: tool.get("input_schema").map(|schema| ir::raw(schema).into()),
            strict: tool.get("strict").and_then(|strict| strict.as_bool()),
            cache: Cache::mark(tool),
        });
    }
    Ok(tools)
}

fn tool_choice<'a>(value: Value<'a>, request: &mut Request<'a>) -> Result<(), Error> {
    let text = |key: &str| value.get(key).and_then(|part| part.as_str());
    request.tool_choice = Some(match text("type").as_deref() {
        Some("auto") => ToolChoice::Auto,
        Some("any") => ToolChoice::Required,
        Some("none") => ToolChoice::None,
        Some("tool") => {
            let name = text("name");
            ToolChoice::Function(name.ok_or_else(|| ir::refused_shape("tool_choice", "a `name`"))?)
        }
        _ => return Err(ir::refused_shape("tool_choice.type", "`auto`, `any`, `tool` or `none`")),
    });
    let alone = value.get("disable_parallel_tool_use").and_then(|flag| flag.as_bool());
    request.parallel_tool_calls = alone.map(|alone| !alone);
    Ok(())
}

fn thinking(value: Value<'_>, reasoning: &mut Reasoning) -> Result<(), Error> {
    let kind = value.get("type").and_then(|kind| kind.as_str()).unwrap_or_default();
    reasoning.enabled = match &*kind {
        "enabled" | "adaptive" => Some(true),
        "disabled" => Some(false),
        _ => return Err(ir::refused_shape("thinking.type", "`enabled`, `adaptive` or `disabled`")),
    };
    if let Some(budget) = value.get("budget_tokens") {
        reasoning.budget_tokens = Some(ir::unsigned(budget, "thinking.budget_tokens")?);
    }
    if let Some(display) = value.get("display").and_then(|display| display.as_str()) {
        reasoning.visible = Some(display != "omitted");
    }
    Ok(())
}

fn output_config<'a>(
    value: Value<'a>,
    request: &mut Request<'a>,
    reasoning: &mut Reasoning,
) -> Result<(), Error> {
    for member in ir::members(value, "output_config")? {
        match member.key {
            b"format" => request.output = output(member.value)?,
            b"effort" => {
                let word = ir::string(member.value, "output_config.effort")?;
                let effort = Effort::named(&word);
                reasoning.effort = Some(effort.ok_or_else(|| {
                    ir::refused_shape("output_config.effort", "low, medium, high or max")
                })?);
            }
            key => {
                let name = format!("output_config.{}", ir::utf8(key));
                request.keep(name, ir::raw(member.value));
            }
        }
    }
    Ok(())
}

fn output(value: Value<'_>) -> Result<Output<'_>, Error> {
    let schema = value
        .get("schema")
        .ok_or_else(|| ir::refused_shape("output_config.format.schema", "a JSON Schema"))?;
    let name = value.get("name").and_then(|name| name.as_str());
    Ok(Output::Schema(Schema { name, schema: ir::raw(schema).into(), ..Schema::default() }))
}
