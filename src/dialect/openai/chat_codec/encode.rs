//! A request of this format.

use crate::dialect::ir::{
    self, ArrayWriter, Block, Content, Effort, Format, Loss, Media, MediaKind, Message,
    ObjectWriter, Output, Reasoning, Request, Role, Schema, Seal, Source, ToolChoice, ToolResult,
    write_object,
};
use crate::dialect::shared::{parts::image_part, tools::function_tool};

/// Members that the other format of `OpenAI` has under the same name.
const SHARED: [&str; 8] = [
    "metadata",
    "store",
    "service_tier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "logit_bias",
    "prediction",
    "verbosity",
];

/// Writes a request. Usage is always asked for: weir needs it, whoever else does.
pub(in crate::dialect) fn encode(
    mut request: Request<'_>,
    model: &str,
    loss: &mut Loss,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    let shared = request.take_shared(&[Format::Chat, Format::Responses], &SHARED);
    let own = request.take_own(Format::Chat);
    request.lose_the_rest(loss);
    write_object(&mut out, |object| {
        object.text("model", model);
        object.array("messages", |list| messages(&request.messages, list, loss));
        tools(&request, object, loss);
        output(&request.output, object);
        if request.pictures {
            object.array("modalities", |list| {
                list.text("text");
                list.text("image");
            });
        }
        reasoning(request.reasoning, object);
        sampling(&request, object, loss);
        for (name, value) in &shared {
            object.raw(name, value);
        }
        for (name, value) in &own {
            object.raw(name, value);
        }
        if request.stream {
            object.flag("stream", true);
            object.object("stream_options", |options| options.flag("include_usage", true));
        }
    });
    out
}

fn sampling(request: &Request<'_>, object: &mut ObjectWriter<'_>, loss: &mut Loss) {
    if let Some(max) = request.max_tokens {
        object.number("max_completion_tokens", max);
    }
    if !request.stop.is_empty() {
        object.array("stop", |list| request.stop.iter().for_each(|text| list.text(text)));
    }
    if let Some(choices) = request.choices.filter(|choices| *choices != 1) {
        object.number("n", choices);
    }
    let numbers = [
        ("temperature", request.temperature),
        ("top_p", request.top_p),
        ("seed", request.seed),
        ("frequency_penalty", request.frequency_penalty),
        ("presence_penalty", request.presence_penalty),
    ];
    for (name, value) in numbers {
        if let Some(value) = value {
            object.raw(name, value);
        }
    }
    if request.top_k.is_some() {
        loss.drop("top_k");
    }
    if let Some(top) = request.logprobs {
        object.flag("logprobs", true);
        if top > 0 {
            object.number("top_logprobs", top);
        }
    }
    if let Some(user) = &request.user {
        object.text("user", user);
    }
}

fn reasoning(reasoning: Option<Reasoning>, object: &mut ObjectWriter<'_>) {
    let Some(reasoning) = reasoning else { return };
    if reasoning.enabled == Some(false) || reasoning.budget_tokens == Some(0) {
        object.text("reasoning_effort", "none");
    } else if let Some(effort) = reasoning.word() {
        object.text("reasoning_effort", effort_word(effort));
    }
}

/// An effort in the words of `OpenAI`.
pub(in crate::dialect) fn effort_word(effort: Effort) -> &'static str {
    match effort {
        Effort::Minimal => "minimal",
        Effort::Low => "low",
        Effort::Medium => "medium",
        Effort::High => "high",
        Effort::Max => "xhigh",
    }
}

fn output(output: &Output<'_>, object: &mut ObjectWriter<'_>) {
    match output {
        Output::Text => {}
        Output::Json => object.object("response_format", |it| it.text("type", "json_object")),
        Output::Schema(schema) => object.object("response_format", |it| {
            it.text("type", "json_schema");
            it.object("json_schema", |inner| schema_members(schema, inner));
        }),
    }
}

/// The members of a schema with its name, which is required.
pub(in crate::dialect) fn schema_members(schema: &Schema<'_>, object: &mut ObjectWriter<'_>) {
    object.text("name", schema.name.as_deref().unwrap_or("answer"));
    if let Some(description) = &schema.description {
        object.text("description", description);
    }
    object.raw("schema", &schema.schema);
    if let Some(strict) = schema.strict {
        object.flag("strict", strict);
    }
}

fn tools(request: &Request<'_>, object: &mut ObjectWriter<'_>, loss: &mut Loss) {
    if request.tools.is_empty() {
        return;
    }
    object.array("tools", |list| {
        request.tools.iter().enumerate().for_each(|(at, tool)| function_tool(at, tool, list, loss));
    });
    match &request.tool_choice {
        None => {}
        Some(ToolChoice::Auto) => object.text("tool_choice", "auto"),
        Some(ToolChoice::None) => object.text("tool_choice", "none"),
        Some(ToolChoice::Required) => object.text("tool_choice", "required"),
        Some(ToolChoice::Function(name)) => object.object("tool_choice", |it| {
            it.text("type", "function");
            it.object("function", |function| function.text("name", name));
        }),
        Some(ToolChoice::Among { names, required }) => object.object("tool_choice", |it| {
            it.text("type", "allowed_tools");
            it.object("allowed_tools", |allowed| {
                allowed.text("mode", if *required { "required" } else { "auto" });
                allowed.array("tools", |list| {
                    for name in names {
                        list.object(|tool| {
                            tool.text("type", "function");
                            tool.object("function", |function| function.text("name", name));
                        });
                    }
                });
            });
        }),
    }
    if let Some(parallel) = request.parallel_tool_calls {
        object.flag("parallel_tool_calls", parallel);
    }
}

fn messages(messages: &[Message<'_>], list: &mut ArrayWriter<'_>, loss: &mut Loss) {
    for (at, message) in messages.iter().enumerate() {
        match message.role {
            // The newer word is refused by most servers of this format, and the older one by none.
            Role::System | Role::Developer => instructions(&message.blocks, list, loss),
            Role::User => user(at, &message.blocks, list, loss),
            Role::Assistant => assistant(at, &message.blocks, list, loss),
        }
    }
}

fn instructions(blocks: &[Block<'_>], list: &mut ArrayWriter<'_>, loss: &mut Loss) {
    list.object(|message| {
        message.text("role", "system");
        content(blocks, message, loss);
    });
}

/// Results of tools are messages of their own, in front of what the user says with them; what a
/// result shows rather than says comes with the user's message.
fn user(at: usize, blocks: &[Block<'_>], list: &mut ArrayWriter<'_>, loss: &mut Loss) {
    let mut said: Vec<&Block<'_>> = Vec::with_capacity(blocks.len());
    for block in blocks {
        match &block.content {
            Content::ToolResult(result) => {
                tool_message(result, list, loss);
                said.extend(
                    result.blocks.iter().filter(|b| matches!(b.content, Content::Media(_))),
                );
                if block.cache.is_some() {
                    loss.drop("messages[].cache_control");
                }
            }
            Content::Text(_) | Content::Media(_) => said.push(block),
            other => lose(at, other, loss),
        }
    }
    if said.is_empty() {
        return;
    }
    list.object(|message| {
        message.text("role", "user");
        content(said.iter().copied(), message, loss);
    });
}

fn tool_message(result: &ToolResult<'_>, list: &mut ArrayWriter<'_>, loss: &mut Loss) {
    if result.is_error {
        loss.drop("tool_result.is_error");
    }
    let texts = result.blocks.iter().filter_map(|block| match &block.content {
        Content::Text(text) => Some(&**text),
        _ => None,
    });
    list.object(|message| {
        message.text("role", "tool");
        message.text("tool_call_id", &result.call_id);
        message.text("content", &ir::joined(texts));
    });
}

fn assistant(at: usize, blocks: &[Block<'_>], list: &mut ArrayWriter<'_>, loss: &mut Loss) {
    let mut said = Vec::new();
    let (mut calls, mut refusal, mut sealed) = (Vec::new(), None, Vec::new());
    let mut plain = Vec::new();
    for block in blocks {
        match &block.content {
            Content::Text(_) => said.push(block),
            Content::ToolCall(call) => calls.push(call),
            Content::Refusal(text) => refusal = Some(text),
            Content::Thought(thought) => match &thought.seal {
                Some(seal) if seal.id.as_deref() == Some(Seal::PLAIN) => plain.push(&*thought.text),
                Some(seal) if seal.origin == Format::Chat => sealed.push((thought, seal)),
                _ => loss.drop(format!("messages[{at}].thinking")),
            },
            other => lose(at, other, loss),
        }
    }
    list.object(|message| {
        message.text("role", "assistant");
        if said.is_empty() {
            message.null("content");
        } else {
            content(said.iter().copied(), message, loss);
        }
        if let Some(refusal) = refusal {
            message.text("refusal", refusal);
        }
        if !plain.is_empty() {
            message.text("reasoning_content", &ir::joined(plain.iter().copied()));
        }
        if !sealed.is_empty() {
            message.array("reasoning_details", |details| {
                for (thought, seal) in &sealed {
                    details.object(|detail| {
                        detail.text("type", "reasoning.text");
                        detail.text("text", &thought.text);
                        detail.text("signature", &seal.value);
                    });
                }
            });
        }
        if !calls.is_empty() {
            message.array("tool_calls", |list| {
                for call in calls {
                    list.object(|object| super::answer::call(call, object));
                }
            });
        }
    });
}

/// Texts and media: a string where one text is all there is.
fn content<'b>(
    blocks: impl IntoIterator<Item = &'b Block<'b>, IntoIter: Clone>,
    message: &mut ObjectWriter<'_>,
    loss: &mut Loss,
) {
    let blocks = blocks.into_iter();
    let marked = blocks.clone().any(|block| block.cache.is_some());
    if marked {
        loss.drop("messages[].cache_control");
    }
    let mut one = blocks.clone();
    if let (Some(Block { content: Content::Text(text), .. }), None) = (one.next(), one.next()) {
        return message.text("content", text);
    }
    message.array("content", |parts| {
        for block in blocks {
            match &block.content {
                Content::Text(text) => parts.object(|part| {
                    part.text("type", "text");
                    part.text("text", text);
                }),
                Content::Media(media) => media_part(media, parts, loss),
                other => lose(0, other, loss),
            }
        }
    });
}

fn media_part(media: &Media<'_>, parts: &mut ArrayWriter<'_>, loss: &mut Loss) {
    match (media.kind, &media.source) {
        (MediaKind::Image, Source::Url(_) | Source::Base64(_)) => image_part(media, parts),
        (MediaKind::Audio, Source::Base64(data)) => {
            let format = ir::extension(media.media_type()).unwrap_or("wav");
            parts.object(|part| {
                part.text("type", "input_audio");
                part.object("input_audio", |audio| {
                    audio.text("data", data);
                    audio.text("format", format);
                });
            });
        }
        (MediaKind::Document, Source::Plain(text)) => parts.object(|part| {
            part.text("type", "text");
            part.text("text", text);
        }),
        (MediaKind::Document, Source::Base64(data)) => parts.object(|part| {
            part.text("type", "file");
            part.object("file", |file| {
                file.text("filename", media.name.as_deref().unwrap_or("document.pdf"));
                file.text("file_data", &format!("data:{};base64,{data}", media.media_type()));
            });
        }),
        (MediaKind::Image, _) => loss.refuse("image by file id"),
        (MediaKind::Audio, _) => loss.refuse("audio by address"),
        (MediaKind::Document, _) => loss.refuse("document by address"),
        (MediaKind::Video, _) => loss.refuse("video"),
    }
}

/// What has no place in a message of this format.
fn lose(at: usize, content: &Content<'_>, loss: &mut Loss) {
    match content {
        Content::Opaque(opaque) => loss.drop(format!("messages[{at}].content ({})", opaque.kind)),
        Content::Thought(_) => loss.drop(format!("messages[{at}].thinking")),
        _ => loss.refuse(format!("messages[{at}].content")),
    }
}
