//! What a request asks for.

use super::REDACTED;
use crate::dialect::ir::{
    self, Block, Cache, Content, Effort, Format, Media, MediaKind, Message, Opaque, Output,
    Reasoning, Request, Role, Schema, Seal, Source, Text, Thought, Tool, ToolCall, ToolChoice,
    ToolResult,
};
use crate::error::Error;
use crate::wire::json::Value;

/// Reads a request, which is valid JSON.
pub(in crate::dialect) fn decode(body: Value<'_>) -> Result<Request<'_>, Error> {
    let mut request =
        Request { origin: Some(Format::Bedrock), stream_usage: true, ..Request::default() };
    let mut system = None;
    let mut reasoning = Reasoning::UNSAID;
    for member in ir::members(body, "body")? {
        let value = member.value;
        let name = ir::utf8(member.key);
        match name {
            "messages" => request.messages = messages(value)?,
            "system" => {
                let blocks = contents(value, "system")?;
                system = Some(Message { role: Role::System, blocks });
            }
            "inferenceConfig" => inference(value, &mut request)?,
            "toolConfig" => tool_config(value, &mut request)?,
            "outputConfig" => output_config(value, &mut request, &mut reasoning)?,
            "additionalModelRequestFields" => additional(value, &mut request, &mut reasoning)?,
            "guardrailConfig" | "promptVariables" => request.need(name, ir::raw(value)),
            _ => request.keep(name, ir::raw(value)),
        }
    }
    request.reasoning = Some(reasoning).filter(|reasoning| *reasoning != Reasoning::UNSAID);
    request.messages.splice(0..0, system);
    Ok(request)
}

fn inference<'a>(value: Value<'a>, request: &mut Request<'a>) -> Result<(), Error> {
    for member in ir::members(value, "inferenceConfig")? {
        let value = member.value;
        match member.key {
            b"maxTokens" => request.max_tokens = Some(ir::unsigned(value, "maxTokens")?),
            b"temperature" => request.temperature = Some(ir::raw(value)),
            b"topP" => request.top_p = Some(ir::raw(value)),
            b"stopSequences" => {
                let name = "stopSequences";
                let texts = ir::items(value, name)?.map(|text| ir::string(text, name));
                request.stop = texts.collect::<Result<_, _>>()?;
            }
            key => request.keep(format!("inferenceConfig.{}", ir::utf8(key)), ir::raw(value)),
        }
    }
    Ok(())
}

/// What the models have beside what Converse knows: those of Anthropic think and sample.
fn additional<'a>(
    value: Value<'a>,
    request: &mut Request<'a>,
    reasoning: &mut Reasoning,
) -> Result<(), Error> {
    let field = "additionalModelRequestFields";
    for member in ir::members(value, field)? {
        let value = member.value;
        match member.key {
            b"thinking" | b"reasoning_config" => {
                let kind = value.get("type").and_then(|kind| kind.as_str());
                reasoning.enabled = kind.map(|kind| kind != "disabled");
                if let Some(budget) = value.get("budget_tokens") {
                    reasoning.budget_tokens = Some(ir::unsigned(budget, field)?);
                }
            }
            b"output_config" if value.get("effort").is_some() => {
                let word = value.get("effort").and_then(|word| word.as_str());
                reasoning.effort = word.and_then(|word| Effort::named(&word));
            }
            b"top_k" => request.top_k = Some(ir::raw(value)),
            key => request.keep(format!("{field}.{}", ir::utf8(key)), ir::raw(value)),
        }
    }
    Ok(())
}

fn output_config<'a>(
    value: Value<'a>,
    request: &mut Request<'a>,
    reasoning: &mut Reasoning,
) -> Result<(), Error> {
    for member in ir::members(value, "outputConfig")? {
        match member.key {
            b"textFormat" => {
                let found = member.value.find(&["structure", "jsonSchema"]);
                let field = "outputConfig.textFormat.structure.jsonSchema";
                let found = found.ok_or_else(|| ir::refused_shape(field, "a schema"))?;
                let text = |key| found.get(key).and_then(|text: Value<'a>| text.as_str());
                // A document in a text.
                let schema = text("schema").filter(|schema| ir::as_object(schema).is_some());
                request.output = Output::Schema(Schema {
                    name: text("name"),
                    description: text("description"),
                    schema: schema.ok_or_else(|| ir::refused_shape(field, "a JSON Schema"))?,
                    strict: None,
                });
            }
            b"effort" => {
                let word = ir::string(member.value, "outputConfig.effort")?;
                reasoning.effort = Effort::named(&word);
            }
            key => {
                request.keep(format!("outputConfig.{}", ir::utf8(key)), ir::raw(member.value));
            }
        }
    }
    Ok(())
}

fn tool_config<'a>(value: Value<'a>, request: &mut Request<'a>) -> Result<(), Error> {
    for member in ir::members(value, "toolConfig")? {
        match member.key {
            b"tools" => request.tools = tools(member.value)?,
            b"toolChoice" => {
                let name = member.value.find(&["tool", "name"]).and_then(|name| name.as_str());
                request.tool_choice = Some(match (name, member.value.get("any")) {
                    (Some(name), _) => ToolChoice::Function(name),
                    (None, Some(_)) => ToolChoice::Required,
                    (None, None) => ToolChoice::Auto,
                });
            }
            key => request.keep(format!("toolConfig.{}", ir::utf8(key)), ir::raw(member.value)),
        }
    }
    Ok(())
}

fn tools(value: Value<'_>) -> Result<Vec<Tool<'_>>, Error> {
    let mut tools: Vec<Tool<'_>> = Vec::new();
    for (at, tool) in ir::items(value, "toolConfig.tools")?.enumerate() {
        let field = format!("toolConfig.tools[{at}]");
        if let Some(point) = tool.get("cachePoint") {
            if let Some(Tool::Function { cache, .. }) = tools.last_mut() {
                *cache = Some(mark(point));
            }
        } else if let Some(spec) = tool.get("toolSpec") {
            let text = |key| spec.get(key).and_then(|text: Value<'_>| text.as_str());
            let name = spec.get("name").ok_or_else(|| ir::refused_shape(&field, "a `name`"))?;
            tools.push(Tool::Function {
                name: ir::string(name, &field)?,
                description: text("description").map(|text| Text::Owned(text.into_owned())),
                parameters: spec.find(&["inputSchema", "json"]).map(|it| ir::raw(it).into()),
                strict: spec.get("strict").and_then(|strict| strict.as_bool()),
                cache: None,
            });
        } else {
            tools.push(Tool::Opaque(opaque(tool, &field)?));
        }
    }
    Ok(tools)
}

fn mark(point: Value<'_>) -> Cache {
    match point.get("ttl").and_then(|ttl| ttl.as_str()).as_deref() {
        Some("1h") => Cache::Hour,
        Some("5m") => Cache::Minutes5,
        _ => Cache::Default,
    }
}

fn opaque<'a>(value: Value<'a>, field: &str) -> Result<Opaque<'a>, Error> {
    let first = value.members().next().ok_or_else(|| ir::refused_shape(field, "an object"))?;
    let kind = ir::utf8(first.key).into();
    Ok(Opaque { origin: Format::Bedrock, kind, value: Text::Borrowed(ir::raw(value)) })
}

fn messages(value: Value<'_>) -> Result<Vec<Message<'_>>, Error> {
    let mut messages = Vec::new();
    for (at, message) in ir::items(value, "messages")?.enumerate() {
        let role = match message.get("role").and_then(|role| role.as_str()).as_deref() {
            Some("user") => Role::User,
            Some("assistant") => Role::Assistant,
            _ => {
                let field = format!("messages[{at}].role");
                return Err(ir::refused_shape(&field, "`user` or `assistant`"));
            }
        };
        let field = format!("messages[{at}].content");
        let content = message.get("content").ok_or_else(|| ir::refused_shape(&field, "a list"))?;
        messages.push(Message { role, blocks: contents(content, &field)? });
    }
    Ok(messages)
}

/// A list of blocks, in which a mark of the cache stands behind what it marks.
pub(super) fn contents<'a>(value: Value<'a>, field: &str) -> Result<Vec<Block<'a>>, Error> {
    let mut blocks: Vec<Block<'a>> = Vec::new();
    for (at, item) in ir::items(value, field)?.enumerate() {
        match (item.get("cachePoint"), blocks.last_mut()) {
            (Some(point), Some(last)) => last.cache = Some(mark(point)),
            (Some(_), None) => {}
            (None, _) => blocks.push(Block::new(content(item, &format!("{field}[{at}]"))?)),
        }
    }
    Ok(blocks)
}

fn content<'a>(block: Value<'a>, field: &str) -> Result<Content<'a>, Error> {
    let Some(member) = block.members().find(|member| !member.value.is_null()) else {
        return Err(ir::refused_shape(field, "a block of content"));
    };
    let value = member.value;
    let text = |key: &str| value.get(key).and_then(|text| text.as_str());
    let need = |key: &str| text(key).ok_or_else(|| ir::refused_shape(field, key));
    Ok(match member.key {
        b"text" => Content::Text(ir::string(value, field)?),
        b"image" => media(MediaKind::Image, value, block)?,
        b"document" => media(MediaKind::Document, value, block)?,
        b"video" => media(MediaKind::Video, value, block)?,
        b"audio" => media(MediaKind::Audio, value, block)?,
        b"toolUse" => Content::ToolCall(ToolCall {
            id: need("toolUseId")?,
            name: need("name")?,
            arguments: value.get("input").map_or("{}".into(), |input| ir::raw(input).into()),
            seal: None,
        }),
        b"toolResult" => Content::ToolResult(ToolResult {
            call_id: need("toolUseId")?,
            name: None,
            blocks: match value.get("content") {
                Some(list) => contents(list, field)?,
                None => Vec::new(),
            },
            is_error: text("status").as_deref() == Some("error"),
        }),
        // What it is drawn from is read with an answer.
        b"citationsContent" => {
            let parts = value.get("content");
            let texts = parts.iter().flat_map(Value::items);
            let texts = texts.filter_map(|part| part.get("text")?.as_str());
            Content::Text(texts.collect::<String>().into())
        }
        // In the result of a tool.
        b"json" => Content::Text(ir::raw(value).into()),
        b"reasoningContent" => Content::Thought(thought(value)),
        _ => Content::Opaque(opaque(block, field)?),
    })
}

/// A thought: signed, or redacted.
pub(super) fn thought(value: Value<'_>) -> Thought<'_> {
    let text = |path: &[&str]| value.find(path).and_then(|text| text.as_str());
    if let Some(data) = text(&["redactedContent"]) {
        let mut seal = Seal::found(Format::Bedrock, data);
        if seal.origin == Format::Bedrock {
            seal.id = Some(Text::Borrowed(REDACTED));
        }
        return Thought { text: Text::Borrowed(""), seal: Some(seal) };
    }
    let signature = text(&["reasoningText", "signature"]).filter(|seal| !seal.is_empty());
    Thought {
        text: text(&["reasoningText", "text"]).unwrap_or_default(),
        seal: signature.map(|seal| Seal::found(Format::Bedrock, seal)),
    }
}

fn media<'a>(kind: MediaKind, value: Value<'a>, block: Value<'a>) -> Result<Content<'a>, Error> {
    let text = |path: &[&str]| value.find(path).and_then(|text: Value<'a>| text.as_str());
    let source = text(&["source", "bytes"])
        .map(Source::Base64)
        .or_else(|| text(&["source", "text"]).map(Source::Plain))
        .or_else(|| text(&["source", "s3Location", "uri"]).map(Source::File));
    let cited = value.find(&["citations", "enabled"]).and_then(|it| it.as_bool()) == Some(true);
    let Some(source) = source.filter(|_| !cited && value.get("context").is_none()) else {
        return Ok(Content::Opaque(opaque(block, "content")?));
    };
    let media_type = text(&["format"]).and_then(|format| ir::media_type(&format));
    let media_type = media_type.map(Text::Borrowed);
    Ok(Content::Media(Media { kind, source, media_type, name: text(&["name"]), detail: None }))
}
