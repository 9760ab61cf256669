//! A request of this format.

use super::REDACTED;
use crate::dialect::ir::{
    self, ArrayWriter, Block, Cache, Content, Format, Loss, Media, MediaKind, ModelQuirk,
    ObjectWriter, Output, Request, Role, Source, Thought, Tool, ToolChoice, ToolResult,
    write_object,
};
use crate::dialect::shared::claude::Thinking;

/// This format wants a bound for every answer. The oldest models that are still served allow no
/// more.
const MAX_TOKENS_ASSUMED: u64 = 4096;
/// The same for models that think by themselves, all of which allow at least as much.
const MAX_TOKENS_THINKING_ASSUMED: u64 = 32_000;

/// Writes a request.
pub(in crate::dialect) fn encode(
    mut request: Request<'_>,
    model: &str,
    loss: &mut Loss,
) -> Vec<u8> {
    let own = request.take_own(Format::Anthropic);
    request.lose_the_rest(loss);
    request.narrow_tools();
    let system = request.take_instructions(loss);
    request.join_turns();
    lose_numbers(&request, loss);
    let thinking = thinking(&request, loss);
    let max_tokens = max_tokens(&request, thinking);
    let mut out = Vec::with_capacity(1024);
    write_object(&mut out, |object| {
        object.text("model", model);
        object.number("max_tokens", max_tokens);
        if !system.is_empty() {
            object.array("system", |list| blocks(&system, list, loss));
        }
        object.array("messages", |list| messages(&request, list, loss));
        tools(&request, object, loss);
        if let Some(thinking) = thinking {
            object.object("thinking", |members| thinking.write(members));
        }
        output_config(&request.output, thinking, object, loss);
        sampling(&request, thinking.is_some(), object, loss);
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
        ("frequency_penalty", request.frequency_penalty),
        ("presence_penalty", request.presence_penalty),
    ];
    for (name, value) in lost {
        if value.is_some_and(|value| value != "0" && value != "0.0") {
            loss.drop(name);
        }
    }
    if request.choices.is_some_and(|choices| choices > 1) {
        loss.refuse("n");
    }
    if request.pictures {
        loss.refuse("modalities");
    }
    if request.logprobs.is_some() {
        loss.drop("logprobs");
    }
}

/// How the model is to think. `None`: it is not, or it cannot.
fn thinking(request: &Request<'_>, loss: &mut Loss) -> Option<Thinking> {
    let adaptive = request.quirks.has(ModelQuirk::AdaptiveThinking);
    let reasoning = request.reasoning?;
    if !reasoning.wanted() {
        // Such models think or not as they like, and cannot be told not to.
        if adaptive {
            loss.drop("reasoning");
        }
        return None;
    }
    let forced =
        matches!(request.tool_choice, Some(ToolChoice::Required | ToolChoice::Function(_)));
    let thinking = match (forced, adaptive) {
        (true, _) => None,
        (false, true) => Some(Thinking::adaptive(reasoning)),
        // A turn with tools that began without thoughts cannot go on with them.
        (false, false) if turn_without_thoughts(request) => None,
        (false, false) => Thinking::within(reasoning, request.max_tokens),
    };
    if thinking.is_none() {
        loss.drop("reasoning");
    }
    thinking
}

/// The bound on the answer, of which thoughts are a part.
fn max_tokens(request: &Request<'_>, thinking: Option<Thinking>) -> u64 {
    request.max_tokens.unwrap_or(match thinking {
        Some(Thinking::Budget(budget)) => budget + MAX_TOKENS_ASSUMED,
        // Such a model may think whether it is asked to or not.
        _ if request.quirks.has(ModelQuirk::AdaptiveThinking) => MAX_TOKENS_THINKING_ASSUMED,
        _ => MAX_TOKENS_ASSUMED,
    })
}

fn turn_without_thoughts(request: &Request<'_>) -> bool {
    let Some(last) = request.messages.iter().rev().find(|m| m.role == Role::Assistant) else {
        return false;
    };
    let calls = last.blocks.iter().any(|block| matches!(block.content, Content::ToolCall(_)));
    let own = |thought: &Thought<'_>| {
        thought.seal.as_ref().is_some_and(|seal| seal.origin == Format::Anthropic)
    };
    let first = last.blocks.first().map(|block| &block.content);
    calls && !matches!(first, Some(Content::Thought(thought)) if own(thought))
}

fn sampling(request: &Request<'_>, thinking: bool, object: &mut ObjectWriter<'_>, loss: &mut Loss) {
    if !request.stop.is_empty() {
        object.array("stop_sequences", |list| request.stop.iter().for_each(|text| list.text(text)));
    }
    let numbers =
        [("temperature", request.temperature), ("top_p", request.top_p), ("top_k", request.top_k)];
    for (name, value) in numbers {
        match value {
            None => {}
            // Thoughts are sampled as the provider likes.
            Some(_) if thinking => loss.drop(name),
            Some(value) if name == "temperature" && value.parse::<f64>().is_ok_and(|t| t > 1.0) => {
                loss.drop("temperature above 1");
                object.raw(name, "1");
            }
            Some(value) => object.raw(name, value),
        }
    }
    if let Some(user) = &request.user {
        object.object("metadata", |metadata| metadata.text("user_id", user));
    }
}

fn output_config(
    output: &Output<'_>,
    thinking: Option<Thinking>,
    object: &mut ObjectWriter<'_>,
    loss: &mut Loss,
) {
    let schema = match output {
        Output::Text => None,
        // The prompt asks for it as well: `OpenAI` insists on that.
        Output::Json => {
            loss.drop("response_format (json_object)");
            None
        }
        Output::Schema(schema) => Some(ir::closed_schema(&schema.schema, loss)),
    };
    let effort = thinking.and_then(Thinking::effort);
    if schema.is_none() && effort.is_none() {
        return;
    }
    object.object("output_config", |config| {
        if let Some(effort) = effort {
            config.text("effort", effort);
        }
        if let Some(schema) = schema {
            config.object("format", |format| {
                format.text("type", "json_schema");
                format.raw("schema", &schema);
            });
        }
    });
}

fn tools(request: &Request<'_>, object: &mut ObjectWriter<'_>, loss: &mut Loss) {
    if request.tools.is_empty() {
        return;
    }
    object.array("tools", |list| {
        for (at, tool) in request.tools.iter().enumerate() {
            match tool {
                Tool::Function { name, description, parameters, strict, cache } => {
                    list.object(|tool| {
                        tool.text("name", name);
                        if let Some(description) = description {
                            tool.text("description", description);
                        }
                        let empty = r#"{"type":"object","properties":{}}"#;
                        tool.raw("input_schema", parameters.as_deref().unwrap_or(empty));
                        if *strict == Some(true) {
                            tool.flag("strict", true);
                        }
                        cache_mark(*cache, tool);
                    });
                }
                Tool::Opaque(tool) if tool.origin == Format::Anthropic => list.raw(&tool.value),
                Tool::Opaque(tool) => loss.refuse(format!("tools[{at}] ({})", tool.kind)),
            }
        }
    });
    let alone = request.parallel_tool_calls == Some(false);
    let (kind, name) = match &request.tool_choice {
        None if !alone => return,
        None | Some(ToolChoice::Auto | ToolChoice::Among { .. }) => ("auto", None),
        Some(ToolChoice::None) => ("none", None),
        Some(ToolChoice::Required) => ("any", None),
        Some(ToolChoice::Function(name)) => ("tool", Some(name)),
    };
    object.object("tool_choice", |choice| {
        choice.text("type", kind);
        if let Some(name) = name {
            choice.text("name", name);
        }
        if alone && kind != "none" {
            choice.flag("disable_parallel_tool_use", true);
        }
    });
}

fn messages(request: &Request<'_>, list: &mut ArrayWriter<'_>, loss: &mut Loss) {
    for message in &request.messages {
        list.object(|object| {
            let assistant = message.role == Role::Assistant;
            object.text("role", if assistant { "assistant" } else { "user" });
            object.array("content", |list| {
                // Results of tools come first in a message.
                let result = |block: &&Block<'_>| matches!(block.content, Content::ToolResult(_));
                for block in message.blocks.iter().filter(result) {
                    one_block(block, list, loss);
                }
                for block in message.blocks.iter().filter(|block| !result(block)) {
                    one_block(block, list, loss);
                }
            });
        });
    }
}

fn blocks(all: &[Block<'_>], list: &mut ArrayWriter<'_>, loss: &mut Loss) {
    for block in all {
        one_block(block, list, loss);
    }
}

/// One block, of a request or of an answer.
pub(super) fn one_block(block: &Block<'_>, list: &mut ArrayWriter<'_>, loss: &mut Loss) {
    match &block.content {
        // An empty text is refused.
        Content::Text(text) | Content::Refusal(text) if text.is_empty() => {}
        Content::Text(text) | Content::Refusal(text) => list.object(|object| {
            object.text("type", "text");
            object.text("text", text);
            cache_mark(block.cache, object);
        }),
        Content::Media(media) => media_block(media, block.cache, list, loss),
        Content::ToolCall(call) => list.object(|object| {
            object.text("type", "tool_use");
            object.text("id", &ir::id_for_tool(&call.id));
            object.text("name", &call.name);
            object.raw("input", &call.object());
            cache_mark(block.cache, object);
        }),
        Content::ToolResult(result) => tool_result(result, block.cache, list, loss),
        Content::Thought(thought) => thought_block(thought, list, loss),
        Content::Opaque(opaque) if opaque.origin == Format::Anthropic => list.raw(&opaque.value),
        Content::Opaque(opaque) => loss.drop(format!("content ({})", opaque.kind)),
    }
}

/// Only the provider's own thoughts may come back to it.
fn thought_block(thought: &Thought<'_>, list: &mut ArrayWriter<'_>, loss: &mut Loss) {
    let Some(seal) = thought.seal.as_ref().filter(|seal| seal.origin == Format::Anthropic) else {
        return loss.drop("messages[].thinking");
    };
    list.object(|object| {
        if seal.id.as_deref() == Some(REDACTED) {
            object.text("type", "redacted_thinking");
            object.text("data", &seal.value);
        } else {
            object.text("type", "thinking");
            object.text("thinking", &thought.text);
            object.text("signature", &seal.value);
        }
    });
}

fn tool_result(
    result: &ToolResult<'_>,
    cache: Option<Cache>,
    list: &mut ArrayWriter<'_>,
    loss: &mut Loss,
) {
    list.object(|object| {
        object.text("type", "tool_result");
        object.text("tool_use_id", &ir::id_for_tool(&result.call_id));
        match &result.blocks[..] {
            [] => {}
            [Block { content: Content::Text(text), cache: None }] => object.text("content", text),
            all => object.array("content", |list| blocks(all, list, loss)),
        }
        if result.is_error {
            object.flag("is_error", true);
        }
        cache_mark(cache, object);
    });
}

fn media_block(
    media: &Media<'_>,
    cache: Option<Cache>,
    list: &mut ArrayWriter<'_>,
    loss: &mut Loss,
) {
    let kind = match media.kind {
        MediaKind::Image => "image",
        MediaKind::Document => "document",
        MediaKind::Audio => return loss.refuse("audio"),
        MediaKind::Video => return loss.refuse("video"),
    };
    if matches!(media.source, Source::File(_)) {
        // A file is with the provider that it was uploaded to.
        return loss.refuse("file by id");
    }
    if media.detail.as_deref().is_some_and(|detail| detail != "auto") {
        loss.drop("image_url.detail");
    }
    list.object(|object| {
        object.text("type", kind);
        object.object("source", |source| match &media.source {
            Source::Base64(data) => {
                source.text("type", "base64");
                source.text("media_type", media.media_type());
                source.text("data", data);
            }
            Source::Plain(text) => {
                source.text("type", "text");
                source.text("media_type", "text/plain");
                source.text("data", text);
            }
            Source::Url(url) | Source::File(url) => {
                source.text("type", "url");
                source.text("url", url);
            }
        });
        if let Some(name) = media.name.as_deref().filter(|_| kind == "document") {
            object.text("title", name);
        }
        cache_mark(cache, object);
    });
}

fn cache_mark(cache: Option<Cache>, object: &mut ObjectWriter<'_>) {
    let Some(cache) = cache else { return };
    object.object("cache_control", |mark| {
        mark.text("type", "ephemeral");
        match cache {
            Cache::Default => {}
            Cache::Minutes5 => mark.text("ttl", "5m"),
            Cache::Hour => mark.text("ttl", "1h"),
        }
    });
}
