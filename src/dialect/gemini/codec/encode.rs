//! A request of this format.

use crate::dialect::ir::{
    self, ArrayWriter, Block, Content, Format, Loss, Media, MediaKind, Message, ObjectWriter,
    Output, Request, Role, Source, Tool, ToolChoice, ToolResult, write_object,
};

/// The largest budget for thoughts that every model takes.
const BUDGET_TOKENS_MAX: u64 = 24_576;

/// Writes a request. The model stands in the path.
pub(in crate::dialect) fn encode(mut request: Request<'_>, loss: &mut Loss) -> Vec<u8> {
    let own = request.take_own(Format::Gemini);
    request.lose_the_rest(loss);
    if let Some(ToolChoice::Among { required: false, .. }) = request.tool_choice {
        request.narrow_tools();
    }
    request.name_results();
    let system = request.take_instructions(loss);
    request.join_turns();
    if request.user.is_some() {
        loss.drop("user");
    }
    let mut out = Vec::with_capacity(1024);
    write_object(&mut out, |object| {
        if !system.is_empty() {
            object.object("systemInstruction", |content| {
                content.array("parts", |list| {
                    for block in &system {
                        one_part(block, list, loss);
                    }
                });
            });
        }
        object.array("contents", |list| {
            request.messages.iter().for_each(|message| turn(message, list, loss));
        });
        tools(&request, object, loss);
        config(&request, object);
        for (name, value) in &own {
            object.raw(name, value);
        }
    });
    out
}

fn turn(message: &Message<'_>, list: &mut ArrayWriter<'_>, loss: &mut Loss) {
    list.object(|content| {
        content.text("role", if message.role == Role::Assistant { "model" } else { "user" });
        content.array("parts", |parts| {
            message.blocks.iter().for_each(|block| one_part(block, parts, loss));
        });
    });
}

fn one_part(block: &Block<'_>, list: &mut ArrayWriter<'_>, loss: &mut Loss) {
    if block.cache.is_some() {
        // What is repeated is cached without being asked.
        loss.drop("cache_control");
    }
    match &block.content {
        Content::Text(text) | Content::Refusal(text) => {
            list.object(|part| part.text("text", text));
        }
        Content::Media(media) => media_part(media, list, loss),
        Content::ToolCall(call) => list.object(|part| {
            part.object("functionCall", |function| {
                function.text("name", &call.name);
                function.raw("args", &call.object());
            });
            match &call.seal {
                Some(seal) if seal.origin == Format::Gemini => {
                    part.text("thoughtSignature", &seal.value);
                }
                Some(_) => loss.drop("messages[].thinking"),
                None => {}
            }
        }),
        Content::ToolResult(result) => tool_result(result, list, loss),
        Content::Thought(thought) => match &thought.seal {
            Some(seal) if seal.origin == Format::Gemini => list.object(|part| {
                part.text("text", &thought.text);
                if !thought.text.is_empty() {
                    part.flag("thought", true);
                }
                part.text("thoughtSignature", &seal.value);
            }),
            _ => loss.drop("messages[].thinking"),
        },
        Content::Opaque(opaque) if opaque.origin == Format::Gemini => list.raw(&opaque.value),
        Content::Opaque(opaque) => loss.drop(format!("content ({})", opaque.kind)),
    }
}

/// A result has to be an object. What it shows stands behind it.
fn tool_result(result: &ToolResult<'_>, list: &mut ArrayWriter<'_>, loss: &mut Loss) {
    let texts = result.blocks.iter().filter_map(|block| match &block.content {
        Content::Text(text) => Some(&**text),
        _ => None,
    });
    let text = ir::joined(texts);
    list.object(|part| {
        part.object("functionResponse", |response| {
            response.text("name", result.name.as_deref().unwrap_or_default());
            match (result.is_error, ir::as_object(&text)) {
                (false, Some(object)) => response.raw("response", object),
                (is_error, _) => response.object("response", |object| {
                    object.text(if is_error { "error" } else { "result" }, &text);
                }),
            }
        });
    });
    for block in &result.blocks {
        if let Content::Media(media) = &block.content {
            media_part(media, list, loss);
        }
    }
}

fn media_part(media: &Media<'_>, list: &mut ArrayWriter<'_>, loss: &mut Loss) {
    if media.detail.as_deref().is_some_and(|detail| detail != "auto") {
        loss.drop("image_url.detail");
    }
    match &media.source {
        Source::Base64(data) => list.object(|part| {
            part.object("inlineData", |inline| {
                inline.text("mimeType", media.media_type());
                inline.text("data", data);
            });
        }),
        Source::Plain(text) => list.object(|part| part.text("text", text)),
        Source::Url(url) => list.object(|part| {
            part.object("fileData", |file| {
                let media_type = media.media_type.as_deref().or_else(|| by_name(url, media.kind));
                if let Some(media_type) = media_type {
                    file.text("mimeType", media_type);
                }
                file.text("fileUri", url);
            });
        }),
        Source::File(_) => loss.refuse("file by id"),
    }
}

/// The media type by the ending of an address, or the usual one of its kind.
fn by_name(url: &str, kind: MediaKind) -> Option<&'static str> {
    let path = url.split(['?', '#']).next().unwrap_or(url);
    let ending = path.rsplit_once('.').map_or("", |(_, ending)| ending);
    let ending = if ending.eq_ignore_ascii_case("jpg") { "jpeg" } else { ending };
    ir::media_type(ending).or((kind == MediaKind::Document).then_some("application/pdf"))
}

fn tools(request: &Request<'_>, object: &mut ObjectWriter<'_>, loss: &mut Loss) {
    if request.tools.is_empty() {
        return;
    }
    let functions = || request.tools.iter().filter(|tool| matches!(tool, Tool::Function { .. }));
    object.array("tools", |list| {
        if functions().next().is_some() {
            list.object(|tool| {
                tool.array("functionDeclarations", |list| {
                    functions().for_each(|function| declaration(function, list, loss));
                });
            });
        }
        for (at, tool) in request.tools.iter().enumerate() {
            match tool {
                Tool::Opaque(tool) if tool.origin == Format::Gemini => list.raw(&tool.value),
                Tool::Opaque(tool) => loss.refuse(format!("tools[{at}] ({})", tool.kind)),
                Tool::Function { .. } => {}
            }
        }
    });
    if request.parallel_tool_calls == Some(false) {
        loss.drop("parallel_tool_calls");
    }
    let (mode, names) = match &request.tool_choice {
        None => return,
        Some(ToolChoice::Auto) => ("AUTO", &[][..]),
        Some(ToolChoice::None) => ("NONE", &[][..]),
        Some(ToolChoice::Required) => ("ANY", &[][..]),
        Some(ToolChoice::Function(name)) => ("ANY", std::slice::from_ref(name)),
        Some(ToolChoice::Among { names, .. }) => ("ANY", &names[..]),
    };
    object.object("toolConfig", |config| {
        config.object("functionCallingConfig", |calling| {
            calling.text("mode", mode);
            if !names.is_empty() {
                calling.array("allowedFunctionNames", |list| {
                    for name in names {
                        list.text(name);
                    }
                });
            }
        });
    });
}

fn declaration(tool: &Tool<'_>, list: &mut ArrayWriter<'_>, loss: &mut Loss) {
    let Tool::Function { name, description, parameters, strict, cache } = tool else { return };
    if *strict == Some(true) {
        loss.drop("tools[].strict");
    }
    if cache.is_some() {
        loss.drop("tools[].cache_control");
    }
    list.object(|function| {
        function.text("name", name);
        if let Some(description) = description {
            function.text("description", description);
        }
        if let Some(parameters) = parameters {
            function.raw("parametersJsonSchema", parameters);
        }
    });
}

fn config(request: &Request<'_>, object: &mut ObjectWriter<'_>) {
    let mut config = Vec::new();
    write_object(&mut config, |config| settings(request, config));
    if config.len() > 2 {
        object.raw("generationConfig", ir::utf8(&config));
    }
}

fn settings(request: &Request<'_>, config: &mut ObjectWriter<'_>) {
    if let Some(max) = request.max_tokens {
        config.number("maxOutputTokens", max);
    }
    let numbers = [
        ("temperature", request.temperature),
        ("topP", request.top_p),
        ("topK", request.top_k),
        ("seed", request.seed),
        ("presencePenalty", request.presence_penalty),
        ("frequencyPenalty", request.frequency_penalty),
    ];
    for (name, value) in numbers {
        if let Some(value) = value {
            config.raw(name, value);
        }
    }
    if let Some(choices) = request.choices.filter(|choices| *choices != 1) {
        config.number("candidateCount", choices);
    }
    if request.pictures {
        config.array("responseModalities", |list| {
            list.text("TEXT");
            list.text("IMAGE");
        });
    }
    if let Some(top) = request.logprobs {
        config.flag("responseLogprobs", true);
        if top > 0 {
            config.number("logprobs", top);
        }
    }
    if !request.stop.is_empty() {
        config.array("stopSequences", |list| request.stop.iter().for_each(|text| list.text(text)));
    }
    match &request.output {
        Output::Text => {}
        Output::Json => config.text("responseMimeType", "application/json"),
        Output::Schema(schema) => {
            config.text("responseMimeType", "application/json");
            config.raw("responseJsonSchema", &schema.schema);
        }
    }
    if let Some(reasoning) = request.reasoning {
        config.object("thinkingConfig", |thinking| {
            if !reasoning.wanted() {
                return thinking.number("thinkingBudget", 0);
            }
            match reasoning.tokens() {
                Some(tokens) => {
                    thinking.number("thinkingBudget", tokens.min(BUDGET_TOKENS_MAX));
                }
                None => thinking.raw("thinkingBudget", "-1"),
            }
            if reasoning.visible != Some(false) {
                thinking.flag("includeThoughts", true);
            }
        });
    }
}
