//! What a request asks for.

use crate::dialect::ir::{
    self, Block, Content, Format, Message, Output, Reasoning, Request, Role, Schema, Text, Thought,
    Tool, ToolChoice, ToolResult,
};
use crate::dialect::shared::parts::{call as decode_call, part as decode_part};
use crate::dialect::shared::tools::tools as decode_tools;
use crate::error::Error;
use crate::wire::json::{Kind, Value};

/// Reads a request, which is valid JSON.
pub(in crate::dialect) fn decode(body: Value<'_>) -> Result<Request<'_>, Error> {
    let mut request =
        Request { origin: Some(Format::Cohere), stream_usage: true, ..Request::default() };
    let mut strict = None;
    for member in ir::members(body, "body")? {
        let value = member.value;
        let name = ir::utf8(member.key);
        match name {
            "model" => {}
            "messages" => request.messages = messages(value)?,
            "stream" => request.stream = ir::boolean(value, name)?,
            "tools" => request.tools = decode_tools(value)?,
            "strict_tools" => strict = Some(ir::boolean(value, name)?),
            "tool_choice" => {
                request.tool_choice = Some(match value.as_str().as_deref() {
                    Some("REQUIRED") => ToolChoice::Required,
                    Some("NONE") => ToolChoice::None,
                    _ => return Err(ir::refused_shape(name, "`REQUIRED` or `NONE`")),
                });
            }
            "response_format" => request.output = output(value)?,
            "thinking" => request.reasoning = Some(thinking(value)?),
            "max_tokens" => request.max_tokens = Some(ir::unsigned(value, name)?),
            "stop_sequences" => {
                let texts = ir::items(value, name)?.map(|text| ir::string(text, name));
                request.stop = texts.collect::<Result<_, _>>()?;
            }
            "temperature" => request.temperature = Some(ir::raw(value)),
            "p" => request.top_p = Some(ir::raw(value)),
            "k" => request.top_k = Some(ir::raw(value)),
            "logprobs" => request.logprobs = ir::boolean(value, name)?.then_some(0),
            "seed" => request.seed = Some(ir::raw(value)),
            "frequency_penalty" => request.frequency_penalty = Some(ir::raw(value)),
            "presence_penalty" => request.presence_penalty = Some(ir::raw(value)),
            // The answer is to be drawn from them.
            "documents" if value.items().next().is_some() => request.need(name, ir::raw(value)),
            _ => request.keep(name, ir::raw(value)),
        }
    }
    for tool in &mut request.tools {
        if let Tool::Function { strict: own, .. } = tool {
            *own = own.or(strict);
        }
    }
    Ok(request)
}

fn messages(value: Value<'_>) -> Result<Vec<Message<'_>>, Error> {
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
    Ok(Message { role, blocks: said(message, &field)? })
}

/// What a message says: of a request, or of an answer.
pub(super) fn said<'a>(message: Value<'a>, field: &str) -> Result<Vec<Block<'a>>, Error> {
    let mut blocks = Vec::new();
    // The plan of the model before it calls is a thought, and stands in front.
    if let Some(text) = message.get("tool_plan").and_then(|plan| plan.as_str())
        && !text.is_empty()
    {
        blocks.push(Block::new(Content::Thought(Thought { text, seal: None })));
    }
    if let Some(content) = message.get("content").filter(|content| !content.is_null()) {
        contents(content, field, &mut blocks)?;
    }
    for call in message.get("tool_calls").iter().flat_map(Value::items) {
        blocks.push(Block::new(Content::ToolCall(decode_call(call, field)?)));
    }
    Ok(blocks)
}

fn contents<'a>(value: Value<'a>, field: &str, blocks: &mut Vec<Block<'a>>) -> Result<(), Error> {
    if value.kind() == Some(Kind::String) {
        blocks.push(Block::text(ir::string(value, field)?));
        return Ok(());
    }
    for (at, part) in ir::items(value, &format!("{field}.content"))?.enumerate() {
        let kind = part.get("type").and_then(|kind| kind.as_str()).unwrap_or_default();
        let text = |key| part.get(key).and_then(|text: Value<'a>| text.as_str());
        blocks.push(match &*kind {
            "thinking" => Block::new(Content::Thought(Thought {
                text: text("thinking").unwrap_or_default(),
                seal: None,
            })),
            "document" => Block::text(document(part)),
            _ => decode_part(part, &format!("{field}.content[{at}]"))?,
        });
    }
    Ok(())
}

/// A document in the result of a tool: its text, or all of its data.
fn document(part: Value<'_>) -> Text<'_> {
    let data = part.find(&["document", "data"]);
    let data = data.or_else(|| part.get("document")).unwrap_or(part);
    data.as_str().unwrap_or_else(|| Text::Borrowed(ir::raw(data)))
}

fn result<'a>(message: Value<'a>, field: &str) -> Result<Message<'a>, Error> {
    let mut blocks = Vec::new();
    if let Some(content) = message.get("content").filter(|content| !content.is_null()) {
        contents(content, field, &mut blocks)?;
    }
    let id = message.get("tool_call_id");
    let id = id.ok_or_else(|| ir::refused_shape(&format!("{field}.tool_call_id"), "a string"))?;
    let call_id = ir::string(id, field)?;
    let result = ToolResult { call_id, name: None, blocks, is_error: false };
    Ok(Message { role: Role::User, blocks: vec![Block::new(Content::ToolResult(result))] })
}

fn output(value: Value<'_>) -> Result<Output<'_>, Error> {
    let kind = value.get("type").and_then(|kind| kind.as_str()).unwrap_or_default();
    let schema = value.get("json_schema").or_else(|| value.get("schema"));
    match (&*kind, schema.filter(|schema| !schema.is_null())) {
        ("text", _) => Ok(Output::Text),
        ("json_object", None) => Ok(Output::Json),
        ("json_object", Some(schema)) => {
            let schema = Text::Borrowed(ir::raw(schema));
            Ok(Output::Schema(Schema { schema, ..Schema::default() }))
        }
        _ => Err(ir::refused_shape("response_format.type", "`text` or `json_object`")),
    }
}

fn thinking(value: Value<'_>) -> Result<Reasoning, Error> {
    let mut reasoning = Reasoning::UNSAID;
    reasoning.enabled = match value.get("type").and_then(|kind| kind.as_str()).as_deref() {
        Some("enabled") => Some(true),
        Some("disabled") => Some(false),
        _ => return Err(ir::refused_shape("thinking.type", "`enabled` or `disabled`")),
    };
    if let Some(budget) = value.get("token_budget").filter(|budget| !budget.is_null()) {
        reasoning.budget_tokens = Some(ir::unsigned(budget, "thinking.token_budget")?);
    }
    Ok(reasoning)
}
