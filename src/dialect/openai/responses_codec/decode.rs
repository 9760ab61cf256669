//! What a request asks for.

use super::super::chat_codec::{decode_effort, decode_schema};
use super::items;
use crate::dialect::ir::{
    self, Block, Format, Message, Opaque, Output, Reasoning, Request, Role, Text, Tool, ToolChoice,
};
use crate::error::{Error, Kind};
use crate::wire::json::{self, Value};

/// Reads a request, which is valid JSON.
pub(in crate::dialect) fn decode(body: Value<'_>) -> Result<Request<'_>, Error> {
    let mut request =
        Request { origin: Some(Format::Responses), stream_usage: true, ..Request::default() };
    let mut instructions = None;
    let (mut logprobs, mut top) = (false, None);
    for member in ir::members(body, "body")? {
        let value = member.value;
        let name = ir::utf8(member.key);
        match name {
            // Responses are kept here, since no other format has a place for them.
            "model" | "store" => {}
            "instructions" => {
                let blocks = vec![Block::text(ir::string(value, name)?)];
                instructions = Some(Message { role: Role::Developer, blocks });
            }
            "input" => request.messages = input(value)?,
            "stream" => request.stream = ir::boolean(value, name)?,
            "max_output_tokens" => request.max_tokens = Some(ir::unsigned(value, name)?),
            "temperature" => request.temperature = Some(ir::raw(value)),
            "top_p" => request.top_p = Some(ir::raw(value)),
            "tools" => tools(value, &mut request)?,
            "tool_choice" => request.tool_choice = Some(tool_choice(value)?),
            "parallel_tool_calls" => {
                request.parallel_tool_calls = Some(ir::boolean(value, name)?);
            }
            "text" => text(value, &mut request)?,
            "reasoning" => reasoning(value, &mut request)?,
            "user" | "safety_identifier" => request.user = Some(ir::string(value, name)?),
            "include" => logprobs = include(value, &mut request),
            "top_logprobs" => top = Some((ir::unsigned(value, name)?, ir::raw(value))),
            "truncation" if value.raw() == b"\"disabled\"" => {}
            "background" if value.as_bool() == Some(false) => {}
            // One that is kept here stands in `input` by now.
            "previous_response_id" => {
                let id = ir::string(value, name)?;
                let message = format!("Previous response with id '{id}' not found.");
                return Err(Error::new(Kind::NotExpressible, message).param(name.to_owned()));
            }
            "conversation" | "prompt" | "background" => {
                request.need(name, ir::raw(value));
            }
            _ => request.keep(name, ir::raw(value)),
        }
    }
    request.messages.splice(0..0, instructions);
    match top {
        _ if logprobs => request.logprobs = Some(top.map_or(0, |(count, _)| count)),
        Some((_, raw)) => request.keep("top_logprobs", raw),
        None => {}
    }
    Ok(request)
}

/// What is asked for besides: whether how likely each token was is among it.
fn include<'a>(value: Value<'a>, request: &mut Request<'a>) -> bool {
    let logprobs = |item: Value<'_>| item.raw() == b"\"message.output_text.logprobs\"";
    // A thought that has to come back is always sealed.
    let sealed = |item: Value<'_>| item.raw() == b"\"reasoning.encrypted_content\"";
    if !value.items().all(|item| logprobs(item) || sealed(item)) {
        request.keep("include", ir::raw(value));
    }
    value.items().any(logprobs)
}

/// A text, or a list of items.
fn input(value: Value<'_>) -> Result<Vec<Message<'_>>, Error> {
    let mut messages = Vec::new();
    if value.kind() == Some(json::Kind::String) {
        let blocks = vec![Block::text(ir::string(value, "input")?)];
        messages.push(Message { role: Role::User, blocks });
        return Ok(messages);
    }
    for (at, item) in ir::items(value, "input")?.enumerate() {
        let (role, blocks) = items::decode(item, &format!("input[{at}]"))?;
        match messages.last_mut() {
            // What the model did in one turn stands in several items, as do its tools' results.
            Some(Message { role: last, blocks: said })
                if *last == role
                    && (role == Role::Assistant
                        || items::are_results(said) && items::are_results(&blocks)) =>
            {
                said.extend(blocks);
            }
            _ => messages.push(Message { role, blocks }),
        }
    }
    Ok(messages)
}

fn tools<'a>(value: Value<'a>, request: &mut Request<'a>) -> Result<(), Error> {
    for (at, tool) in ir::items(value, "tools")?.enumerate() {
        let text = |key: &str| tool.get(key).and_then(|value| value.as_str());
        let kind = text("type").unwrap_or_default();
        let value = Text::Borrowed(ir::raw(tool));
        if kind == "image_generation" {
            request.pictures = true;
            let how = tool.members().filter(|member| !member.is("type"));
            how.for_each(|member| {
                let name = format!("tools[{at}].{}", ir::utf8(member.key));
                request.keep(name, ir::raw(member.value));
            });
            continue;
        }
        if kind != "function" {
            request.tools.push(Tool::Opaque(Opaque { origin: Format::Responses, kind, value }));
            continue;
        }
        let field = format!("tools[{at}].name");
        let parameters = tool.get("parameters").filter(|schema| !schema.is_null());
        request.tools.push(Tool::Function {
            name: text("name").ok_or_else(|| ir::refused_shape(&field, "a string"))?,
            description: text("description"),
            parameters: parameters.map(|schema| ir::raw(schema).into()),
            strict: tool.get("strict").and_then(|strict| strict.as_bool()),
            cache: None,
        });
    }
    Ok(())
}

fn tool_choice(value: Value<'_>) -> Result<ToolChoice<'_>, Error> {
    let field = "tool_choice";
    if let Some(word) = value.as_str() {
        return match &*word {
            "auto" => Ok(ToolChoice::Auto),
            "none" => Ok(ToolChoice::None),
            "required" => Ok(ToolChoice::Required),
            _ => Err(ir::refused_shape(field, "`auto`, `none` or `required`")),
        };
    }
    let text = |key: &str| value.get(key).and_then(|value| value.as_str());
    match text("type").as_deref() {
        Some("function") => {
            let name = text("name");
            Ok(ToolChoice::Function(name.ok_or_else(|| ir::refused_shape(field, "a `name`"))?))
        }
        Some("allowed_tools") => {
            let tools = value.get("tools");
            let names = tools.iter().flat_map(Value::items);
            Ok(ToolChoice::Among {
                names: names.filter_map(|tool| tool.get("name")?.as_str()).collect(),
                required: text("mode").as_deref() == Some("required"),
            })
        }
        _ => Err(ir::refused_shape(field, "a choice that can be translated")),
    }
}

fn text<'a>(value: Value<'a>, request: &mut Request<'a>) -> Result<(), Error> {
    for member in ir::members(value, "text")? {
        match member.key {
            b"format" => {
                let kind = member.value.get("type").and_then(|kind| kind.as_str());
                request.output = match kind.as_deref() {
                    Some("json_schema") => decode_schema(member.value, "text.format")?,
                    Some("json_object") => Output::Json,
                    Some("text") | None => Output::Text,
                    Some(_) => return Err(ir::refused_shape("text.format.type", "a known type")),
                };
            }
            // The other format has it at the top.
            b"verbosity" => request.keep("verbosity", ir::raw(member.value)),
            key => request.keep(format!("text.{}", ir::utf8(key)), ir::raw(member.value)),
        }
    }
    Ok(())
}

fn reasoning<'a>(value: Value<'a>, request: &mut Request<'a>) -> Result<(), Error> {
    let mut reasoning = Reasoning::UNSAID;
    let mut visible = None;
    for member in ir::members(value, "reasoning")? {
        match member.key {
            b"effort" => reasoning = decode_effort(member.value)?,
            b"summary" | b"generate_summary" => visible = Some(true),
            key => request.keep(format!("reasoning.{}", ir::utf8(key)), ir::raw(member.value)),
        }
    }
    reasoning.visible = visible;
    request.reasoning = Some(reasoning).filter(|reasoning| *reasoning != Reasoning::UNSAID);
    Ok(())
}
