//! What a request asks for. Members may be written in either case; the libraries write camel case.

use crate::dialect::ir::{
    self, Block, Content, Effort, Format, Media, MediaKind, Message, ObjectWriter, Opaque, Output,
    Reasoning, Request, Role, Schema, Seal, Source, Text, Thought, Tool, ToolCall, ToolChoice,
    ToolResult, json_schema, write_object,
};
use crate::error::Error;
use crate::wire::json::{Kind, Value};

/// Reads a request, which is valid JSON.
pub(in crate::dialect) fn decode(body: Value<'_>) -> Result<Request<'_>, Error> {
    let mut request =
        Request { origin: Some(Format::Gemini), stream_usage: true, ..Request::default() };
    let mut system = None;
    for member in ir::members(body, "body")? {
        let value = member.value;
        match ir::utf8(member.key) {
            "model" => {}
            "contents" => request.messages = contents(value)?,
            "systemInstruction" | "system_instruction" => {
                let mut blocks = Vec::new();
                turn(value, &mut Calls::default(), "systemInstruction", &mut blocks)?;
                system = Some(Message { role: Role::System, blocks });
            }
            "tools" => request.tools = tools(value)?,
            "toolConfig" | "tool_config" => tool_config(value, &mut request)?,
            "generationConfig" | "generation_config" => config(value, &mut request)?,
            name @ ("cachedContent" | "cached_content") => request.need(name, ir::raw(value)),
            name => request.keep(name, ir::raw(value)),
        }
    }
    request.messages.splice(0..0, system);
    Ok(request)
}

/// Calls without an id get one; results find theirs by the name of the tool.
#[derive(Default)]
struct Calls<'a> {
    /// Calls that wait for their result: id and name.
    waiting: Vec<(Text<'a>, Text<'a>)>,
    count: usize,
}

impl<'a> Calls<'a> {
    fn called(&mut self, id: Option<Text<'a>>, name: &Text<'a>) -> Text<'a> {
        self.count += 1;
        let id = id.unwrap_or_else(|| Text::Owned(format!("call_{}", self.count)));
        self.waiting.push((id.clone(), name.clone()));
        id
    }

    fn answered(&mut self, id: Option<Text<'a>>, name: &str) -> Text<'a> {
        let at = self.waiting.iter().position(|(waiting, of)| match &id {
            Some(id) => waiting == id,
            None => of == name,
        });
        let found = at.map(|at| self.waiting.remove(at).0);
        found.or(id).unwrap_or_else(|| Text::Owned(format!("call_of_{name}")))
    }
}

fn contents(value: Value<'_>) -> Result<Vec<Message<'_>>, Error> {
    let mut calls = Calls::default();
    let mut messages = Vec::new();
    // One turn may stand without the list around it.
    let one = (value.kind() == Some(Kind::Object)).then_some(value);
    for (at, content) in one.into_iter().chain(value.items()).enumerate() {
        let field = format!("contents[{at}]");
        let role = content.get("role").and_then(|role| role.as_str());
        let role = match role.as_deref() {
            Some("model") => Role::Assistant,
            None | Some("user" | "function" | "tool") => Role::User,
            Some("system") => Role::System,
            Some(_) => return Err(ir::refused_shape(&field, "the role `user` or `model`")),
        };
        let mut blocks = Vec::new();
        turn(content, &mut calls, &field, &mut blocks)?;
        messages.push(Message { role, blocks });
    }
    Ok(messages)
}

fn turn<'a>(
    content: Value<'a>,
    calls: &mut Calls<'a>,
    field: &str,
    blocks: &mut Vec<Block<'a>>,
) -> Result<(), Error> {
    if content.kind() == Some(Kind::String) {
        blocks.push(Block::text(ir::string(content, field)?));
        return Ok(());
    }
    let Some(parts) = content.get("parts").filter(|parts| !parts.is_null()) else { return Ok(()) };
    let one = (parts.kind() == Some(Kind::Object)).then_some(parts);
    for (at, item) in one.into_iter().chain(parts.items()).enumerate() {
        part(item, calls, &format!("{field}.parts[{at}]"), blocks)?;
    }
    Ok(())
}

fn part<'a>(
    part: Value<'a>,
    calls: &mut Calls<'a>,
    field: &str,
    blocks: &mut Vec<Block<'a>>,
) -> Result<(), Error> {
    let any = |names: [&str; 2]| {
        names.iter().find_map(|name| part.get(name)).filter(|value| !value.is_null())
    };
    let seal = seal(part);
    if let Some(call) = any(["functionCall", "function_call"]) {
        let name = ir::string(call.get("name").unwrap_or(call), &format!("{field}.name"))?;
        let id = calls.called(call.get("id").and_then(|id| id.as_str()), &name);
        let arguments = call.get("args").map_or("{}".into(), |args| ir::raw(args).into());
        let call = ToolCall { id, name, arguments, seal };
        blocks.push(Block::new(Content::ToolCall(call)));
    } else if let Some(response) = any(["functionResponse", "function_response"]) {
        blocks.push(Block::new(Content::ToolResult(result(response, calls, field)?)));
    } else {
        let Some(content) = plain(part, field)? else {
            return Err(ir::refused_shape(field, "a known kind of part"));
        };
        said(content, seal, blocks);
    }
    Ok(())
}

/// The signature of a part, its own or one of another format that was put there.
pub(super) fn seal(part: Value<'_>) -> Option<Seal<'_>> {
    let value = part.get("thoughtSignature").or_else(|| part.get("thought_signature"))?;
    Some(Seal::found(Format::Gemini, value.as_str()?))
}

/// A signature on a text stands behind it, as a thought that says nothing.
pub(super) fn said<'a>(content: Content<'a>, seal: Option<Seal<'a>>, blocks: &mut Vec<Block<'a>>) {
    match content {
        Content::Thought(thought) => {
            blocks.push(Block::new(Content::Thought(Thought { seal, ..thought })));
        }
        content => {
            let empty = matches!(&content, Content::Text(text) if text.is_empty());
            if !empty {
                blocks.push(Block::new(content));
            }
            if seal.is_some() {
                let thought = Thought { text: Text::Borrowed(""), seal };
                blocks.push(Block::new(Content::Thought(thought)));
            }
        }
    }
}

/// The text of a part that says a text and nothing else, as most do.
pub(super) fn only_text(part: Value<'_>) -> Option<Text<'_>> {
    let mut members = part.members();
    let first = members.next().filter(|member| member.key == b"text")?;
    if members.next().is_some() { None } else { first.value.as_str() }
}

/// A part that is neither call nor result. `None` if it is nothing that is known.
pub(super) fn plain<'a>(part: Value<'a>, field: &str) -> Result<Option<Content<'a>>, Error> {
    let thought = part.get("thought").and_then(|thought| thought.as_bool()) == Some(true);
    for member in part.members() {
        let value = member.value;
        let content = match member.key {
            b"text" if thought => {
                Content::Thought(Thought { text: ir::string(value, field)?, seal: None })
            }
            b"text" => Content::Text(ir::string(value, field)?),
            b"inlineData" | b"inline_data" => media(value, "data", field)?,
            b"fileData" | b"file_data" => media(value, "fileUri", field)?,
            b"executableCode" | b"codeExecutionResult" | b"toolCall" | b"toolResponse" => {
                Content::Opaque(Opaque {
                    origin: Format::Gemini,
                    kind: ir::utf8(member.key).into(),
                    value: ir::raw(part).into(),
                })
            }
            _ => continue,
        };
        return Ok(Some(content));
    }
    // A part with nothing but a signature.
    let only_sealed = part.get("thoughtSignature").is_some() || thought;
    Ok(only_sealed.then_some(Content::Text(Text::Borrowed(""))))
}

fn media<'a>(value: Value<'a>, key: &str, field: &str) -> Result<Content<'a>, Error> {
    let text = |names: [&str; 2]| {
        names.iter().find_map(|name| value.get(name)).and_then(|value| value.as_str())
    };
    let media_type = text(["mimeType", "mime_type"]);
    let kind = match media_type.as_deref().and_then(|name| name.split('/').next()) {
        Some("image") | None => MediaKind::Image,
        Some("audio") => MediaKind::Audio,
        Some("video") => MediaKind::Video,
        Some(_) => MediaKind::Document,
    };
    let found = if key == "data" { text(["data", "data"]) } else { text(["fileUri", "file_uri"]) };
    let found = found.ok_or_else(|| ir::refused_shape(&format!("{field}.{key}"), "a string"))?;
    let uploaded = found.contains("generativelanguage.googleapis.com") || found.starts_with("gs:");
    let source = match key {
        "data" => Source::Base64(found),
        _ if uploaded => Source::File(found),
        _ => Source::Url(found),
    };
    let name = text(["displayName", "display_name"]);
    Ok(Content::Media(Media { kind, source, media_type, name, detail: None }))
}

fn result<'a>(
    response: Value<'a>,
    calls: &mut Calls<'a>,
    field: &str,
) -> Result<ToolResult<'a>, Error> {
    let name = response.get("name").and_then(|name| name.as_str()).unwrap_or_default();
    let call_id = calls.answered(response.get("id").and_then(|id| id.as_str()), &name);
    let value = response.get("response").filter(|value| !value.is_null());
    let value =
        value.ok_or_else(|| ir::refused_shape(&format!("{field}.response"), "an object"))?;
    // A text has to stand in an object; that is undone, as is the mark of a failure.
    let mut members = value.members();
    let only = members.next().filter(|_| members.next().is_none());
    let word = |key: &[u8]| only.filter(|it| it.key == key).and_then(|it| it.value.as_str());
    let (text, is_error) = match (word(b"result").or_else(|| word(b"output")), word(b"error")) {
        (Some(text), _) => (text, false),
        (None, Some(text)) => (text, true),
        (None, None) => (Text::Borrowed(ir::raw(value)), false),
    };
    let mut blocks = vec![Block::text(text)];
    for part in response.get("parts").iter().flat_map(Value::items) {
        if let Some(content) = plain(part, field)? {
            blocks.push(Block::new(content));
        }
    }
    Ok(ToolResult { call_id, name: Some(name), blocks, is_error })
}

fn tools(value: Value<'_>) -> Result<Vec<Tool<'_>>, Error> {
    let mut tools = Vec::new();
    let one = (value.kind() == Some(Kind::Object)).then_some(value);
    for tool in one.into_iter().chain(value.items()) {
        for member in ir::members(tool, "tools")? {
            match member.key {
                b"functionDeclarations" | b"function_declarations" => {
                    for function in ir::items(member.value, "tools.functionDeclarations")? {
                        tools.push(declaration(function)?);
                    }
                }
                key => tools.push(Tool::Opaque(Opaque {
                    origin: Format::Gemini,
                    kind: ir::utf8(key).into(),
                    value: alone(ir::utf8(key), ir::raw(member.value)),
                })),
            }
        }
    }
    Ok(tools)
}

fn alone(key: &str, raw: &str) -> Text<'static> {
    let mut out = Vec::with_capacity(key.len() + raw.len() + 5);
    write_object(&mut out, |object: &mut ObjectWriter<'_>| object.raw(key, raw));
    Text::Owned(String::from_utf8(out).unwrap_or_default())
}

fn declaration(function: Value<'_>) -> Result<Tool<'_>, Error> {
    let field = "tools.functionDeclarations";
    let name = function.get("name").ok_or_else(|| ir::refused_shape(field, "a `name`"))?;
    let schema = ["parametersJsonSchema", "parameters_json_schema", "parameters"];
    let schema = schema.iter().find_map(|key| function.get(key)).filter(|value| !value.is_null());
    Ok(Tool::Function {
        name: ir::string(name, field)?,
        description: function.get("description").and_then(|text| text.as_str()),
        parameters: schema.map(json_schema),
        strict: None,
        cache: None,
    })
}

fn tool_config<'a>(value: Value<'a>, request: &mut Request<'a>) -> Result<(), Error> {
    for member in ir::members(value, "toolConfig")? {
        if !matches!(member.key, b"functionCallingConfig" | b"function_calling_config") {
            request.keep(format!("toolConfig.{}", ir::utf8(member.key)), ir::raw(member.value));
            continue;
        }
        let names = ["allowedFunctionNames", "allowed_function_names"];
        let names = names.iter().find_map(|name| member.value.get(name));
        let names: Vec<Text<'a>> =
            names.iter().flat_map(Value::items).filter_map(|name| name.as_str()).collect();
        let mode = member.value.get("mode").and_then(|mode| mode.as_str()).unwrap_or_default();
        request.tool_choice = Some(match (&*mode, names.len()) {
            ("NONE", _) => ToolChoice::None,
            ("ANY", 0) => ToolChoice::Required,
            ("ANY", 1) => ToolChoice::Function(names.into_iter().next().unwrap_or_default()),
            ("ANY", _) => ToolChoice::Among { names, required: true },
            (_, 0) => ToolChoice::Auto,
            _ => ToolChoice::Among { names, required: false },
        });
    }
    Ok(())
}

fn config<'a>(value: Value<'a>, request: &mut Request<'a>) -> Result<(), Error> {
    let (mut json, mut schema) = (false, None);
    let (mut logprobs, mut top) = (false, None);
    for member in ir::members(value, "generationConfig")? {
        let value = member.value;
        let name = ir::utf8(member.key);
        match name {
            "temperature" => request.temperature = Some(ir::raw(value)),
            "topP" | "top_p" => request.top_p = Some(ir::raw(value)),
            "topK" | "top_k" => request.top_k = Some(ir::raw(value)),
            "seed" => request.seed = Some(ir::raw(value)),
            "presencePenalty" | "presence_penalty" => {
                request.presence_penalty = Some(ir::raw(value));
            }
            "frequencyPenalty" | "frequency_penalty" => {
                request.frequency_penalty = Some(ir::raw(value));
            }
            "candidateCount" | "candidate_count" => {
                request.choices = Some(ir::unsigned(value, name)?);
            }
            "maxOutputTokens" | "max_output_tokens" => {
                request.max_tokens = Some(ir::unsigned(value, name)?);
            }
            "stopSequences" | "stop_sequences" => {
                let texts = ir::items(value, name)?.map(|text| ir::string(text, name));
                request.stop = texts.collect::<Result<_, _>>()?;
            }
            "responseLogprobs" | "response_logprobs" => logprobs = ir::boolean(value, name)?,
            "logprobs" => top = Some((ir::unsigned(value, name)?, ir::raw(value))),
            "responseMimeType" | "response_mime_type" => {
                json = value.raw() == b"\"application/json\"";
                let plain = value.raw() == b"\"text/plain\"";
                if !json && !plain {
                    request.need(format!("generationConfig.{name}"), ir::raw(value));
                }
            }
            "responseSchema"
            | "response_schema"
            | "responseJsonSchema"
            | "response_json_schema" => schema = Some(json_schema(value)),
            "thinkingConfig" | "thinking_config" => {
                request.reasoning = Some(thinking(value, request)?);
            }
            "responseModalities" | "response_modalities"
                if value.items().all(|kind| is_text(kind) || is_image(kind)) =>
            {
                request.pictures = value.items().any(is_image);
            }
            "responseModalities" | "response_modalities" | "speechConfig" | "imageConfig" => {
                request.need(format!("generationConfig.{name}"), ir::raw(value));
            }
            _ => request.keep(format!("generationConfig.{name}"), ir::raw(value)),
        }
    }
    match top {
        _ if logprobs => request.logprobs = Some(top.map_or(0, |(count, _)| count)),
        Some((_, raw)) => request.keep("generationConfig.logprobs", raw),
        None => {}
    }
    request.output = match (schema, json) {
        (Some(schema), _) => Output::Schema(Schema { schema, ..Schema::default() }),
        (None, true) => Output::Json,
        (None, false) => Output::Text,
    };
    Ok(())
}

fn is_text(modality: Value<'_>) -> bool {
    modality.raw() == b"\"TEXT\""
}

fn is_image(modality: Value<'_>) -> bool {
    modality.raw() == b"\"IMAGE\""
}

fn thinking<'a>(value: Value<'a>, request: &mut Request<'a>) -> Result<Reasoning, Error> {
    let mut reasoning = Reasoning::UNSAID;
    for member in ir::members(value, "thinkingConfig")? {
        let name = ir::utf8(member.key);
        let field = format!("generationConfig.thinkingConfig.{name}");
        match name {
            "includeThoughts" | "include_thoughts" => {
                reasoning.visible = Some(ir::boolean(member.value, &field)?);
            }
            // As much as the model likes.
            "thinkingBudget" | "thinking_budget" if member.value.raw() == b"-1" => {
                reasoning.enabled = Some(true);
            }
            "thinkingBudget" | "thinking_budget" => {
                let budget = ir::unsigned(member.value, &field)?;
                reasoning.budget_tokens = Some(budget);
                reasoning.enabled = Some(budget > 0);
            }
            "thinkingLevel" | "thinking_level" => {
                let word = ir::string(member.value, &field)?;
                reasoning.effort = Effort::named(&word);
            }
            _ => request.keep(field, ir::raw(member.value)),
        }
    }
    Ok(reasoning)
}
