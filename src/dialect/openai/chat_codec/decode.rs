//! What a request asks for.

use super::messages;
use crate::dialect::ir::{
    self, Effort, Format, Output, Reasoning, Request, Schema, Text, ToolChoice,
};
use crate::dialect::shared::tools::tools;
use crate::error::Error;
use crate::wire::json::{Kind, Value};

/// Reads a request, which is valid JSON.
pub(in crate::dialect) fn decode(body: Value<'_>) -> Result<Request<'_>, Error> {
    let mut request = Request { origin: Some(Format::Chat), ..Request::default() };
    let (mut logprobs, mut top) = (false, None);
    for member in ir::members(body, "body")? {
        let value = member.value;
        let name = ir::utf8(member.key);
        match name {
            "model" => {}
            "messages" => request.messages = messages::decode(value)?,
            "stream" => request.stream = ir::boolean(value, name)?,
            "stream_options" => stream_options(value, &mut request),
            "tools" => request.tools = tools(value)?,
            "tool_choice" => request.tool_choice = tool_choice(value)?,
            "parallel_tool_calls" => {
                request.parallel_tool_calls = Some(ir::boolean(value, name)?);
            }
            "response_format" => request.output = output(value)?,
            "reasoning_effort" => request.reasoning = Some(effort(value)?),
            "max_tokens" | "max_completion_tokens" => {
                request.max_tokens = Some(ir::unsigned(value, name)?);
            }
            "stop" => request.stop = stop(value)?,
            "n" => request.choices = Some(ir::unsigned(value, name)?),
            "temperature" => request.temperature = Some(ir::raw(value)),
            "top_p" => request.top_p = Some(ir::raw(value)),
            "top_k" => request.top_k = Some(ir::raw(value)),
            "seed" => request.seed = Some(ir::raw(value)),
            "frequency_penalty" => request.frequency_penalty = Some(ir::raw(value)),
            "presence_penalty" => request.presence_penalty = Some(ir::raw(value)),
            "user" | "safety_identifier" => request.user = Some(ir::string(value, name)?),
            "logprobs" => logprobs = ir::boolean(value, name)?,
            "top_logprobs" => top = Some((ir::unsigned(value, name)?, ir::raw(value))),
            "modalities" if value.items().all(|kind| is_text(kind) || is_image(kind)) => {
                request.pictures = value.items().any(is_image);
            }
            "modalities" | "audio" | "web_search_options" | "functions" | "function_call" => {
                request.need(name, ir::raw(value));
            }
            _ => request.keep(name, ir::raw(value)),
        }
    }
    match top {
        _ if logprobs => request.logprobs = Some(top.map_or(0, |(count, _)| count)),
        Some((_, raw)) => request.keep("top_logprobs", raw),
        None => {}
    }
    Ok(request)
}

fn is_text(modality: Value<'_>) -> bool {
    modality.raw() == b"\"text\""
}

/// Not a word of `OpenAI`'s, but of servers that speak its format.
fn is_image(modality: Value<'_>) -> bool {
    modality.raw() == b"\"image\""
}

fn stream_options<'a>(options: Value<'a>, request: &mut Request<'a>) {
    for member in options.members() {
        match member.key {
            b"include_usage" => request.stream_usage = member.value.as_bool() == Some(true),
            key => {
                let name = format!("stream_options.{}", ir::utf8(key));
                request.keep(name, ir::raw(member.value));
            }
        }
    }
}

/// A member that weir does not know within something that it does.
fn unknown(field: &str, key: &[u8]) -> Error {
    let field = format!("{field}.{}", ir::utf8(key));
    ir::refused_shape(&field, "a member that can be translated")
}

fn tool_choice(value: Value<'_>) -> Result<Option<ToolChoice<'_>>, Error> {
    let field = "tool_choice";
    if let Some(word) = value.as_str() {
        return Ok(Some(match &*word {
            "auto" => ToolChoice::Auto,
            "none" => ToolChoice::None,
            "required" => ToolChoice::Required,
            _ => return Err(ir::refused_shape(field, "`auto`, `none` or `required`")),
        }));
    }
    if let Some(allowed) = value.get("allowed_tools") {
        let required = allowed.get("mode").is_some_and(|mode| mode.raw() == b"\"required\"");
        let tools = allowed.get("tools");
        let names = tools.iter().flat_map(Value::items);
        let names = names.filter_map(|tool| tool.find(&["function", "name"])?.as_str()).collect();
        return Ok(Some(ToolChoice::Among { names, required }));
    }
    let name = value.find(&["function", "name"]);
    let name = name.ok_or_else(|| ir::refused_shape(field, "the `name` of a function"))?;
    Ok(Some(ToolChoice::Function(ir::string(name, field)?)))
}

fn output(value: Value<'_>) -> Result<Output<'_>, Error> {
    let field = "response_format";
    let kind = value.get("type").and_then(|kind| kind.as_str()).unwrap_or_default();
    match &*kind {
        "text" => Ok(Output::Text),
        "json_object" => Ok(Output::Json),
        "json_schema" => {
            let inner = value.get("json_schema");
            schema(inner.ok_or_else(|| ir::refused_shape(field, "a `json_schema`"))?, field)
        }
        _ => Err(ir::refused_shape(field, "the type `text`, `json_object` or `json_schema`")),
    }
}

/// A schema with its name, as Chat Completions and Responses have it.
pub(in crate::dialect) fn schema<'a>(value: Value<'a>, field: &str) -> Result<Output<'a>, Error> {
    let mut schema = Schema::default();
    for member in ir::members(value, field)? {
        match member.key {
            b"name" => schema.name = Some(ir::string(member.value, field)?),
            b"description" => schema.description = Some(ir::string(member.value, field)?),
            b"schema" => schema.schema = Text::Borrowed(ir::raw(member.value)),
            b"strict" => schema.strict = Some(ir::boolean(member.value, field)?),
            b"type" => {}
            key => return Err(unknown(field, key)),
        }
    }
    if schema.schema.is_empty() {
        return Err(ir::refused_shape(field, "a `schema`"));
    }
    Ok(Output::Schema(schema))
}

/// `none` is no effort; an unknown word is the client's mistake.
pub(in crate::dialect) fn effort(value: Value<'_>) -> Result<Reasoning, Error> {
    let word = ir::string(value, "reasoning_effort")?;
    if word == "none" {
        return Ok(Reasoning { enabled: Some(false), ..Reasoning::UNSAID });
    }
    let effort = Effort::named(&word).ok_or_else(|| {
        ir::refused_shape("reasoning_effort", "none, minimal, low, medium, high or xhigh")
    })?;
    Ok(Reasoning { effort: Some(effort), ..Reasoning::UNSAID })
}

/// A text or a list of them.
fn stop(value: Value<'_>) -> Result<Vec<Text<'_>>, Error> {
    if value.kind() == Some(Kind::String) {
        return Ok(vec![ir::string(value, "stop")?]);
    }
    ir::items(value, "stop")?.map(|text| ir::string(text, "stop")).collect()
}
