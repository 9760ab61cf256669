//! A request of this format. Nothing of it is kept by the provider: what it thinks comes back sealed.

use super::super::chat_codec::{effort_word, schema_members};
use super::items;
use crate::dialect::ir::{
    self, ArrayWriter, Block, Content, Format, Loss, Media, MediaKind, Message, ObjectWriter,
    Output, Request, Role, Source, Tool, ToolChoice, ToolResult, write_object,
};

/// Members that the other format of `OpenAI` has under the same name.
const SHARED: [&str; 4] =
    ["metadata", "service_tier", "prompt_cache_key", "prompt_cache_retention"];

/// Writes a request.
pub(in crate::dialect) fn encode(
    mut request: Request<'_>,
    model: &str,
    loss: &mut Loss,
) -> Vec<u8> {
    let shared = request.take_shared(&[Format::Chat, Format::Responses], &SHARED);
    let store = request.take("store");
    let verbosity = request.take("verbosity");
    let own = request.take_own(Format::Responses);
    request.lose_the_rest(loss);
    lose_numbers(&request, loss);
    let mut out = Vec::with_capacity(1024);
    write_object(&mut out, |object| {
        object.text("model", model);
        object.array("input", |list| {
            let messages = request.messages.iter().enumerate();
            messages.for_each(|(at, message)| turn(at, message, list, loss));
        });
        tools(&request, object, loss);
        text(&request.output, verbosity, object);
        reasoning(&request, object);
        include(&request, object);
        if let Some(max) = request.max_tokens {
            object.number("max_output_tokens", max);
        }
        for (name, value) in [("temperature", request.temperature), ("top_p", request.top_p)] {
            if let Some(value) = value {
                object.raw(name, value);
            }
        }
        if let Some(user) = &request.user {
            object.text("safety_identifier", user);
        }
        object.raw("store", store.unwrap_or("false"));
        for (name, value) in &shared {
            object.raw(name, value);
        }
        for (name, value) in &own {
            object.raw(name, value);
        }
        if request.stream {
            object.flag("stream", true);
        }
    });
    out
}

fn lose_numbers(request: &Request<'_>, loss: &mut Loss) {
    let lost = [
        ("seed", request.seed),
        ("top_k", request.top_k),
        ("frequency_penalty", request.frequency_penalty),
        ("presence_penalty", request.presence_penalty),
    ];
    for (name, value) in lost {
        if value.is_some_and(|value| name == "seed" || value.parse::<f64>() != Ok(0.0)) {
            loss.drop(name);
        }
    }
    if !request.stop.is_empty() {
        // The answer would go on where the client wants it to end.
        loss.refuse("stop");
    }
    if request.choices.is_some_and(|choices| choices > 1) {
        loss.refuse("n");
    }
}

fn reasoning(request: &Request<'_>, object: &mut ObjectWriter<'_>) {
    let Some(reasoning) = request.reasoning else { return };
    let word = if reasoning.wanted() { reasoning.word().map(effort_word) } else { Some("none") };
    object.object("reasoning", |out| {
        if let Some(word) = word {
            out.text("effort", word);
        }
        if reasoning.wanted() && reasoning.visible != Some(false) {
            out.text("summary", "auto");
        }
    });
}

/// What is asked for besides.
fn include(request: &Request<'_>, object: &mut ObjectWriter<'_>) {
    let sealed = request.reasoning.is_some_and(|reasoning| reasoning.wanted());
    if sealed || request.logprobs.is_some() {
        object.array("include", |list| {
            if sealed {
                list.text("reasoning.encrypted_content");
            }
            if request.logprobs.is_some() {
                list.text("message.output_text.logprobs");
            }
        });
    }
    if let Some(top) = request.logprobs.filter(|top| *top > 0) {
        object.number("top_logprobs", top);
    }
}

fn text(output: &Output<'_>, verbosity: Option<&str>, object: &mut ObjectWriter<'_>) {
    if *output == Output::Text && verbosity.is_none() {
        return;
    }
    object.object("text", |text| {
        match output {
            Output::Text => {}
            Output::Json => text.object("format", |format| format.text("type", "json_object")),
            Output::Schema(schema) => text.object("format", |format| {
                format.text("type", "json_schema");
                schema_members(schema, format);
            }),
        }
        if let Some(verbosity) = verbosity {
            text.raw("verbosity", verbosity);
        }
    });
}

fn tools(request: &Request<'_>, object: &mut ObjectWriter<'_>, loss: &mut Loss) {
    if request.tools.is_empty() && !request.pictures {
        return;
    }
    object.array("tools", |list| {
        for (at, tool) in request.tools.iter().enumerate() {
            one_tool(at, tool, list, loss);
        }
        if request.pictures {
            list.object(|tool| tool.text("type", "image_generation"));
        }
    });
    match &request.tool_choice {
        None => {}
        Some(ToolChoice::Auto) => object.text("tool_choice", "auto"),
        Some(ToolChoice::None) => object.text("tool_choice", "none"),
        Some(ToolChoice::Required) => object.text("tool_choice", "required"),
        Some(ToolChoice::Function(name)) => {
            object.object("tool_choice", |choice| function_name(name, choice));
        }
        Some(ToolChoice::Among { names, required }) => object.object("tool_choice", |choice| {
            choice.text("type", "allowed_tools");
            choice.text("mode", if *required { "required" } else { "auto" });
            choice.array("tools", |list| {
                for name in names {
                    list.object(|tool| function_name(name, tool));
                }
            });
        }),
    }
    if let Some(parallel) = request.parallel_tool_calls {
        object.flag("parallel_tool_calls", parallel);
    }
}

fn function_name(name: &str, out: &mut ObjectWriter<'_>) {
    out.text("type", "function");
    out.text("name", name);
}

fn one_tool(at: usize, tool: &Tool<'_>, list: &mut ArrayWriter<'_>, loss: &mut Loss) {
    match tool {
        Tool::Function { name, description, parameters, strict, cache } => {
            if cache.is_some() {
                loss.drop("tools[].cache_control");
            }
            list.object(|tool| {
                function_name(name, tool);
                if let Some(description) = description {
                    tool.text("description", description);
                }
                match parameters {
                    Some(parameters) => tool.raw("parameters", parameters),
                    None => tool.null("parameters"),
                }
                // Here a tool is strict unless it is said not to be.
                tool.flag("strict", strict.unwrap_or(false));
            });
        }
        Tool::Opaque(tool) if tool.origin == Format::Responses => list.raw(&tool.value),
        Tool::Opaque(tool) => loss.refuse(format!("tools[{at}] ({})", tool.kind)),
    }
}

fn turn(at: usize, message: &Message<'_>, list: &mut ArrayWriter<'_>, loss: &mut Loss) {
    let (role, input) = match message.role {
        Role::System => ("system", true),
        Role::Developer => ("developer", true),
        Role::User => ("user", true),
        Role::Assistant => ("assistant", false),
    };
    let mut said = Vec::new();
    for block in &message.blocks {
        if block.cache.is_some() {
            loss.drop("messages[].cache_control");
        }
        if matches!(block.content, Content::Text(_) | Content::Refusal(_) | Content::Media(_)) {
            said.push(block);
            continue;
        }
        flush(role, input, &mut said, list, loss);
        item(at, &block.content, list, loss);
    }
    flush(role, input, &mut said, list, loss);
}

/// Writes what was said so far as one message.
fn flush(
    role: &str,
    input: bool,
    said: &mut Vec<&Block<'_>>,
    list: &mut ArrayWriter<'_>,
    loss: &mut Loss,
) {
    if said.is_empty() {
        return;
    }
    list.object(|message| {
        message.text("type", "message");
        message.text("role", role);
        message.array("content", |parts| {
            for block in said.drain(..) {
                part(&block.content, input, parts, loss);
            }
        });
    });
}

fn part(content: &Content<'_>, input: bool, parts: &mut ArrayWriter<'_>, loss: &mut Loss) {
    match content {
        Content::Text(text) => parts.object(|part| {
            part.text("type", if input { "input_text" } else { "output_text" });
            part.text("text", text);
        }),
        Content::Refusal(text) => parts.object(|part| {
            part.text("type", "refusal");
            part.text("refusal", text);
        }),
        Content::Media(media) => media_part(media, parts, loss),
        _ => {}
    }
}

fn media_part(media: &Media<'_>, parts: &mut ArrayWriter<'_>, loss: &mut Loss) {
    let data = |data: &str| format!("data:{};base64,{data}", media.media_type());
    match (media.kind, &media.source) {
        (MediaKind::Image, Source::Url(_) | Source::Base64(_)) => parts.object(|part| {
            part.text("type", "input_image");
            match &media.source {
                Source::Base64(bytes) => part.text("image_url", &data(bytes)),
                Source::Url(url) | Source::File(url) | Source::Plain(url) => {
                    part.text("image_url", url);
                }
            }
            part.text("detail", media.detail.as_deref().unwrap_or("auto"));
        }),
        (MediaKind::Document, Source::Plain(text)) => parts.object(|part| {
            part.text("type", "input_text");
            part.text("text", text);
        }),
        (MediaKind::Document, Source::Base64(bytes)) => parts.object(|part| {
            part.text("type", "input_file");
            part.text("filename", media.name.as_deref().unwrap_or("document.pdf"));
            part.text("file_data", &data(bytes));
        }),
        (MediaKind::Document, Source::Url(url)) => parts.object(|part| {
            part.text("type", "input_file");
            part.text("file_url", url);
        }),
        (MediaKind::Audio, Source::Base64(bytes)) => parts.object(|part| {
            part.text("type", "input_audio");
            part.object("input_audio", |audio| {
                audio.text("data", bytes);
                audio.text("format", ir::extension(media.media_type()).unwrap_or("wav"));
            });
        }),
        (MediaKind::Image | MediaKind::Document, _) => loss.refuse("file by id"),
        (MediaKind::Audio, _) => loss.refuse("audio by address"),
        (MediaKind::Video, _) => loss.refuse("video"),
    }
}

fn item(at: usize, content: &Content<'_>, list: &mut ArrayWriter<'_>, loss: &mut Loss) {
    match content {
        Content::ToolCall(call) => list.object(|item| {
            item.text("type", "function_call");
            item.text("call_id", &ir::id_for_tool(&call.id));
            item.text("name", &call.name);
            let none = call.arguments.trim().is_empty();
            item.text("arguments", if none { "{}" } else { &call.arguments });
            if call.seal.is_some() {
                loss.drop(format!("messages[{at}].thinking"));
            }
        }),
        Content::ToolResult(result) => tool_result(result, list, loss),
        Content::Thought(thought) => match &thought.seal {
            Some(seal) if seal.origin == Format::Responses => list.object(|item| {
                let id = seal.id.as_deref().unwrap_or_default();
                items::write_thought(id, &thought.text, Some(&seal.value), item);
            }),
            _ => loss.drop(format!("messages[{at}].thinking")),
        },
        Content::Opaque(opaque) if opaque.origin == Format::Responses => list.raw(&opaque.value),
        Content::Opaque(opaque) => loss.drop(format!("messages[{at}].content ({})", opaque.kind)),
        _ => {}
    }
}

fn tool_result(result: &ToolResult<'_>, list: &mut ArrayWriter<'_>, loss: &mut Loss) {
    if result.is_error {
        loss.drop("tool_result.is_error");
    }
    list.object(|item| {
        item.text("type", "function_call_output");
        item.text("call_id", &ir::id_for_tool(&result.call_id));
        match &result.blocks[..] {
            [] => item.text("output", ""),
            [Block { content: Content::Text(text), .. }] => item.text("output", text),
            all => item.array("output", |parts| {
                for block in all {
                    part(&block.content, true, parts, loss);
                }
            }),
        }
    });
}
