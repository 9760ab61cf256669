//! A request of this format.

use super::REDACTED;
use crate::dialect::ir::{
    self, ArrayWriter, Block, Cache, Content, Format, Loss, Media, MediaKind, ModelQuirk,
    ObjectWriter, Output, Reasoning, Request, Role, Source, Tool, ToolChoice, ToolResult,
    write_object,
};
use crate::dialect::shared::claude::Thinking;

/// What an answer may have beside thoughts with a budget, where the client sets no bound.
const ANSWER_TOKENS_ASSUMED: u64 = 4096;

/// Writes a request. The model stands in the path.
pub(in crate::dialect) fn encode(
    mut request: Request<'_>,
    model: &str,
    loss: &mut Loss,
) -> Vec<u8> {
    let own = request.take_own(Format::Bedrock);
    request.lose_the_rest(loss);
    request.narrow_tools();
    if request.tool_choice == Some(ToolChoice::None) {
        // There is no such choice: what may not be called is left out, unless the conversation
        // already holds calls, which want their tools.
        loss.drop("tool_choice");
    }
    let system = request.take_instructions(loss);
    request.join_turns();
    lose_members(&request, loss);
    let anthropic = model.contains("anthropic") || model.contains("claude");
    let thinking = thinking(&request, anthropic, loss);
    let mut out = Vec::with_capacity(1024);
    write_object(&mut out, |object| {
        object.array("messages", |list| {
            for message in &request.messages {
                let assistant = message.role == Role::Assistant;
                list.object(|turn| {
                    turn.text("role", if assistant { "assistant" } else { "user" });
                    turn.array("content", |list| {
                        message.blocks.iter().for_each(|block| one_block(block, list, loss));
                    });
                });
            }
        });
        if !system.is_empty() {
            object.array("system", |list| {
                for block in &system {
                    one_block(block, list, loss);
                }
            });
        }
        inference(&request, thinking, object, loss);
        tools(&request, object, loss);
        output(&request.output, object, loss);
        additional(&request, anthropic, thinking, object, loss);
        for (name, value) in &own {
            object.raw(name, value);
        }
    });
    out
}

fn lose_members(request: &Request<'_>, loss: &mut Loss) {
    let lost = [
        ("seed", request.seed),
        ("frequency_penalty", request.frequency_penalty),
        ("presence_penalty", request.presence_penalty),
    ];
    for (name, value) in lost {
        if value.is_some_and(|value| name == "seed" || value.parse::<f64>() != Ok(0.0)) {
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
    if request.user.is_some() {
        loss.drop("user");
    }
    if request.parallel_tool_calls == Some(false) && !request.tools.is_empty() {
        loss.drop("parallel_tool_calls");
    }
}

fn inference(
    request: &Request<'_>,
    thinking: Option<Thinking>,
    object: &mut ObjectWriter<'_>,
    loss: &mut Loss,
) {
    // Thoughts are part of what is bounded.
    let max_tokens = request.max_tokens.or(match thinking {
        Some(Thinking::Budget(budget)) => Some(budget + ANSWER_TOKENS_ASSUMED),
        _ => None,
    });
    let mut config = Vec::new();
    write_object(&mut config, |config| {
        if let Some(max) = max_tokens {
            config.number("maxTokens", max);
        }
        for (name, value) in [("temperature", request.temperature), ("topP", request.top_p)] {
            match value {
                None => {}
                // Thoughts are sampled as the provider likes.
                Some(_) if thinking.is_some() => loss.drop(name),
                Some(value)
                    if name == "temperature" && value.parse::<f64>().is_ok_and(|t| t > 1.0) =>
                {
                    loss.drop("temperature above 1");
                    config.raw(name, "1");
                }
                Some(value) => config.raw(name, value),
            }
        }
        if !request.stop.is_empty() {
            config.array("stopSequences", |list| {
                request.stop.iter().for_each(|text| list.text(text));
            });
        }
    });
    if config.len() > 2 {
        object.raw("inferenceConfig", ir::utf8(&config));
    }
}

/// What only some models have: those of Anthropic think and sample as their own format says.
fn additional(
    request: &Request<'_>,
    anthropic: bool,
    thinking: Option<Thinking>,
    object: &mut ObjectWriter<'_>,
    loss: &mut Loss,
) {
    let top_k = request.top_k.filter(|_| anthropic);
    if request.top_k.is_some() && !anthropic {
        loss.drop("top_k");
    }
    if thinking.is_none() && top_k.is_none() {
        return;
    }
    object.object("additionalModelRequestFields", |fields| {
        if let Some(thinking) = thinking {
            fields.object("thinking", |members| thinking.write(members));
            if let Some(effort) = thinking.effort() {
                fields.object("output_config", |config| config.text("effort", effort));
            }
        }
        if let Some(top_k) = top_k {
            fields.raw("top_k", top_k);
        }
    });
}

/// How a model is to think, which only those of Anthropic can be told. `None`: it cannot.
fn thinking(request: &Request<'_>, anthropic: bool, loss: &mut Loss) -> Option<Thinking> {
    let reasoning = request.reasoning.filter(Reasoning::wanted)?;
    let forced =
        matches!(request.tool_choice, Some(ToolChoice::Required | ToolChoice::Function(_)));
    let thinking = match (forced, request.quirks.has(ModelQuirk::AdaptiveThinking)) {
        _ if !anthropic => None,
        (true, _) => None,
        (false, true) => Some(Thinking::adaptive(reasoning)),
        (false, false) => Thinking::within(reasoning, request.max_tokens),
    };
    if thinking.is_none() {
        loss.drop("reasoning");
    }
    thinking
}

fn output(output: &Output<'_>, object: &mut ObjectWriter<'_>, loss: &mut Loss) {
    match output {
        Output::Text => {}
        Output::Json => loss.drop("response_format (json_object)"),
        Output::Schema(schema) => object.object("outputConfig", |config| {
            config.object("textFormat", |format| {
                format.text("type", "json_schema");
                format.object("structure", |structure| {
                    structure.object("jsonSchema", |inner| {
                        inner.text("schema", &ir::closed_schema(&schema.schema, loss));
                        if let Some(name) = &schema.name {
                            inner.text("name", name);
                        }
                        if let Some(description) = &schema.description {
                            inner.text("description", description);
                        }
                    });
                });
            });
        }),
    }
}

fn tools(request: &Request<'_>, object: &mut ObjectWriter<'_>, loss: &mut Loss) {
    let called = request
        .messages
        .iter()
        .flat_map(|message| &message.blocks)
        .any(|block| matches!(block.content, Content::ToolCall(_) | Content::ToolResult(_)));
    let unused = request.tool_choice == Some(ToolChoice::None) && !called;
    if request.tools.is_empty() || unused {
        return;
    }
    object.object("toolConfig", |config| {
        config.array("tools", |list| {
            request.tools.iter().enumerate().for_each(|(at, tool)| one_tool(at, tool, list, loss));
        });
        match &request.tool_choice {
            Some(ToolChoice::Auto) => {
                config.object("toolChoice", |choice| choice.object("auto", |_| {}));
            }
            Some(ToolChoice::Required) => {
                config.object("toolChoice", |choice| choice.object("any", |_| {}));
            }
            Some(ToolChoice::Function(name)) => config.object("toolChoice", |choice| {
                choice.object("tool", |tool| tool.text("name", name));
            }),
            None | Some(ToolChoice::None | ToolChoice::Among { .. }) => {}
        }
    });
}

fn one_tool(at: usize, tool: &Tool<'_>, list: &mut ArrayWriter<'_>, loss: &mut Loss) {
    match tool {
        Tool::Function { name, description, parameters, strict, cache } => {
            list.object(|tool| {
                tool.object("toolSpec", |spec| {
                    spec.text("name", name);
                    if let Some(description) = description.as_deref().filter(|it| !it.is_empty()) {
                        spec.text("description", description);
                    }
                    spec.object("inputSchema", |schema| {
                        let empty = r#"{"type":"object","properties":{}}"#;
                        schema.raw("json", parameters.as_deref().unwrap_or(empty));
                    });
                    if *strict == Some(true) {
                        spec.flag("strict", true);
                    }
                });
            });
            cache_point(*cache, list);
        }
        Tool::Opaque(tool) if tool.origin == Format::Bedrock => list.raw(&tool.value),
        Tool::Opaque(tool) => loss.refuse(format!("tools[{at}] ({})", tool.kind)),
    }
}

fn cache_point(cache: Option<Cache>, list: &mut ArrayWriter<'_>) {
    let Some(cache) = cache else { return };
    list.object(|block| {
        block.object("cachePoint", |point| {
            point.text("type", "default");
            match cache {
                Cache::Default => {}
                Cache::Minutes5 => point.text("ttl", "5m"),
                Cache::Hour => point.text("ttl", "1h"),
            }
        });
    });
}

fn one_block(block: &Block<'_>, list: &mut ArrayWriter<'_>, loss: &mut Loss) {
    match &block.content {
        // An empty text is refused.
        Content::Text(text) | Content::Refusal(text) if text.trim().is_empty() => {}
        Content::Text(text) | Content::Refusal(text) => {
            list.object(|object| object.text("text", text));
        }
        Content::Media(media) => media_block(media, list, loss),
        Content::ToolCall(call) => {
            list.object(|object| {
                object.object("toolUse", |tool| {
                    tool.text("toolUseId", &ir::id_for_tool(&call.id));
                    tool.text("name", &call.name);
                    tool.raw("input", &call.object());
                });
            });
            if call.seal.is_some() {
                loss.drop("messages[].thinking");
            }
        }
        Content::ToolResult(result) => tool_result(result, list, loss),
        Content::Thought(thought) => match &thought.seal {
            Some(seal) if seal.origin == Format::Bedrock => {
                list.object(|object| {
                    write_thought(&thought.text, seal.id.as_deref(), &seal.value, object);
                });
            }
            _ => loss.drop("messages[].thinking"),
        },
        Content::Opaque(opaque) if opaque.origin == Format::Bedrock => list.raw(&opaque.value),
        Content::Opaque(opaque) => loss.drop(format!("content ({})", opaque.kind)),
    }
    cache_point(block.cache, list);
}

/// A thought, in a request or in an answer.
pub(super) fn write_thought(
    text: &str,
    kind: Option<&str>,
    seal: &str,
    object: &mut ObjectWriter<'_>,
) {
    object.object("reasoningContent", |reasoning| {
        if kind == Some(REDACTED) {
            return reasoning.text("redactedContent", seal);
        }
        reasoning.object("reasoningText", |it| {
            it.text("text", text);
            if !seal.is_empty() {
                it.text("signature", seal);
            }
        });
    });
}

fn tool_result(result: &ToolResult<'_>, list: &mut ArrayWriter<'_>, loss: &mut Loss) {
    list.object(|object| {
        object.object("toolResult", |tool| {
            tool.text("toolUseId", &ir::id_for_tool(&result.call_id));
            tool.array("content", |list| {
                for block in &result.blocks {
                    match &block.content {
                        Content::Text(text) => list.object(|object| object.text("text", text)),
                        Content::Media(media) => media_block(media, list, loss),
                        _ => loss.refuse("tool_result.content"),
                    }
                }
            });
            if result.is_error {
                tool.text("status", "error");
            }
        });
    });
}

pub(super) fn media_block(media: &Media<'_>, list: &mut ArrayWriter<'_>, loss: &mut Loss) {
    let kind = match media.kind {
        MediaKind::Image => "image",
        MediaKind::Document => "document",
        MediaKind::Video => "video",
        MediaKind::Audio => return loss.refuse("audio"),
    };
    if media.detail.as_deref().is_some_and(|detail| detail != "auto") {
        loss.drop("image_url.detail");
    }
    let (member, bytes) = match &media.source {
        Source::Base64(data) => ("bytes", data),
        Source::Plain(text) => ("text", text),
        Source::Url(_) => return loss.refuse(format!("{kind} by address")),
        Source::File(_) => return loss.refuse(format!("{kind} by file id")),
    };
    let plain = if member == "text" { "txt" } else { "" };
    let Some(format) = ir::extension(media.media_type()) else {
        return loss.refuse(format!("{kind} of type {}", media.media_type()));
    };
    list.object(|object| {
        object.object(kind, |it| {
            it.text("format", if plain.is_empty() { format } else { plain });
            if kind == "document" {
                it.text("name", &document_name(media.name.as_deref()));
            }
            it.object("source", |source| source.text(member, bytes));
        });
    });
}

/// A name of the characters that are allowed in one.
fn document_name(name: Option<&str>) -> String {
    let name = name.unwrap_or("document");
    let plain =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, ' ' | '-' | '(' | ')' | '[' | ']');
    name.chars().take(200).map(|c| if plain(c) { c } else { '-' }).collect()
}
