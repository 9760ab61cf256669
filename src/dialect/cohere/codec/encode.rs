//! A request of this format.

use crate::dialect::ir::{
    self, ArrayWriter, Block, Content, Format, Loss, Media, MediaKind, Message, ObjectWriter,
    Output, Request, Role, Source, Tool, ToolCall, ToolChoice, ToolResult, write_object,
};
use crate::dialect::shared::{parts::image_part, tools::function_tool};

/// Between these, `p` is a share of the probability.
const P_MIN: f64 = 0.01;
const P_MAX: f64 = 0.99;

/// Writes a request.
pub(in crate::dialect) fn encode(
    mut request: Request<'_>,
    model: &str,
    loss: &mut Loss,
) -> Vec<u8> {
    let own = request.take_own(Format::Cohere);
    request.lose_the_rest(loss);
    if let Some(ToolChoice::Function(name)) = &request.tool_choice {
        let names = vec![name.clone()];
        request.tool_choice = Some(ToolChoice::Among { names, required: true });
    }
    request.narrow_tools();
    if request.choices.is_some_and(|choices| choices > 1) {
        loss.refuse("n");
    }
    if request.pictures {
        loss.refuse("modalities");
    }
    if request.user.is_some() {
        loss.drop("user");
    }
    if request.logprobs.is_some_and(|top| top > 0) {
        loss.drop("top_logprobs");
    }
    let mut out = Vec::with_capacity(1024);
    write_object(&mut out, |object| {
        object.text("model", model);
        object.array("messages", |list| {
            request.messages.iter().for_each(|message| turn(message, list, loss));
        });
        tools(&mut request, object, loss);
        settings(&request, object, loss);
        for (name, value) in &own {
            object.raw(name, value);
        }
        if request.stream {
            object.flag("stream", true);
        }
    });
    out
}

fn settings(request: &Request<'_>, object: &mut ObjectWriter<'_>, loss: &mut Loss) {
    match &request.output {
        Output::Text => {}
        Output::Json => object.object("response_format", |it| it.text("type", "json_object")),
        Output::Schema(schema) => object.object("response_format", |it| {
            it.text("type", "json_object");
            it.raw("json_schema", &schema.schema);
        }),
    }
    if let Some(reasoning) = request.reasoning {
        object.object("thinking", |thinking| {
            thinking.text("type", if reasoning.wanted() { "enabled" } else { "disabled" });
            if let Some(tokens) = reasoning.tokens().filter(|_| reasoning.wanted()) {
                thinking.number("token_budget", tokens);
            }
        });
    }
    if let Some(max) = request.max_tokens {
        object.number("max_tokens", max);
    }
    if request.logprobs.is_some() {
        object.flag("logprobs", true);
    }
    if !request.stop.is_empty() {
        object.array("stop_sequences", |list| request.stop.iter().for_each(|text| list.text(text)));
    }
    let numbers = [
        ("temperature", request.temperature, 0.0..=f64::MAX),
        ("p", request.top_p, P_MIN..=P_MAX),
        ("k", request.top_k, 0.0..=f64::MAX),
        ("seed", request.seed, 0.0..=f64::MAX),
        ("frequency_penalty", request.frequency_penalty, 0.0..=1.0),
        ("presence_penalty", request.presence_penalty, 0.0..=1.0),
    ];
    for (name, value, range) in numbers {
        let Some(text) = value else { continue };
        match text.parse::<f64>() {
            // All of them is as good as nearly all of them.
            Ok(number) if name == "p" && number > P_MAX => object.raw(name, "0.99"),
            Ok(number) if !range.contains(&number) => loss.drop(name),
            _ => object.raw(name, text),
        }
    }
}

fn tools(request: &mut Request<'_>, object: &mut ObjectWriter<'_>, loss: &mut Loss) {
    if request.tools.is_empty() {
        return;
    }
    // Strictness is of all tools or of none.
    let mut strict = false;
    for tool in &mut request.tools {
        if let Tool::Function { strict: own, .. } = tool {
            strict |= own.take() == Some(true);
        }
    }
    object.array("tools", |list| {
        request.tools.iter().enumerate().for_each(|(at, tool)| function_tool(at, tool, list, loss));
    });
    if strict {
        object.flag("strict_tools", true);
    }
    match request.tool_choice {
        Some(ToolChoice::Required) => object.text("tool_choice", "REQUIRED"),
        Some(ToolChoice::None) => object.text("tool_choice", "NONE"),
        _ => {}
    }
    if request.parallel_tool_calls == Some(false) {
        loss.drop("parallel_tool_calls");
    }
}

fn turn(message: &Message<'_>, list: &mut ArrayWriter<'_>, loss: &mut Loss) {
    if message.blocks.iter().any(|block| block.cache.is_some()) {
        loss.drop("messages[].cache_control");
    }
    match message.role {
        Role::System | Role::Developer => said("system", &message.blocks, list, loss),
        Role::Assistant => assistant(&message.blocks, list, loss),
        Role::User => {
            let mut rest = Vec::new();
            for block in &message.blocks {
                match &block.content {
                    Content::ToolResult(result) => {
                        tool_message(result, list, loss);
                        let shown = |block: &&Block<'_>| matches!(block.content, Content::Media(_));
                        rest.extend(result.blocks.iter().filter(shown));
                    }
                    _ => rest.push(block),
                }
            }
            if !rest.is_empty() {
                said("user", rest, list, loss);
            }
        }
    }
}

/// Texts and images: a string where one text is all there is.
fn said<'b>(
    role: &str,
    blocks: impl IntoIterator<Item = &'b Block<'b>, IntoIter: Clone>,
    list: &mut ArrayWriter<'_>,
    loss: &mut Loss,
) {
    let blocks = blocks.into_iter();
    list.object(|message| {
        message.text("role", role);
        let mut one = blocks.clone();
        if let (Some(Block { content: Content::Text(text), .. }), None) = (one.next(), one.next()) {
            return message.text("content", text);
        }
        message.array("content", |parts| {
            blocks.for_each(|block| part(&block.content, parts, loss));
        });
    });
}

fn part(content: &Content<'_>, parts: &mut ArrayWriter<'_>, loss: &mut Loss) {
    match content {
        Content::Text(text) | Content::Refusal(text) => parts.object(|part| {
            part.text("type", "text");
            part.text("text", text);
        }),
        Content::Thought(thought) if thought.seal.is_none() => parts.object(|part| {
            part.text("type", "thinking");
            part.text("thinking", &thought.text);
        }),
        Content::Thought(_) => loss.drop("messages[].thinking"),
        Content::Media(media) => media_part(media, parts, loss),
        Content::Opaque(opaque) => loss.drop(format!("content ({})", opaque.kind)),
        Content::ToolCall(_) | Content::ToolResult(_) => loss.refuse("messages[].content"),
    }
}

fn media_part(media: &Media<'_>, parts: &mut ArrayWriter<'_>, loss: &mut Loss) {
    match (media.kind, &media.source) {
        (MediaKind::Image, Source::Url(_) | Source::Base64(_)) => image_part(media, parts),
        (MediaKind::Document, Source::Plain(text)) => parts.object(|part| {
            part.text("type", "text");
            part.text("text", text);
        }),
        (MediaKind::Image, _) => loss.refuse("image by file id"),
        (MediaKind::Document, _) => loss.refuse("document"),
        (MediaKind::Audio, _) => loss.refuse("audio"),
        (MediaKind::Video, _) => loss.refuse("video"),
    }
}

fn assistant(blocks: &[Block<'_>], list: &mut ArrayWriter<'_>, loss: &mut Loss) {
    let calls: Vec<&ToolCall<'_>> = blocks
        .iter()
        .filter_map(|block| match &block.content {
            Content::ToolCall(call) => Some(call),
            _ => None,
        })
        .collect();
    let said = || blocks.iter().filter(|block| !matches!(block.content, Content::ToolCall(_)));
    list.object(|message| {
        message.text("role", "assistant");
        if said().next().is_some() {
            message.array("content", |parts| {
                said().for_each(|block| part(&block.content, parts, loss));
            });
        }
        if !calls.is_empty() {
            message.array("tool_calls", |list| {
                for call in calls {
                    list.object(|object| {
                        object.text("id", &call.id);
                        object.text("type", "function");
                        object.object("function", |function| {
                            function.text("name", &call.name);
                            function.text("arguments", &call.object());
                        });
                    });
                    if call.seal.is_some() {
                        loss.drop("messages[].thinking");
                    }
                }
            });
        }
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
