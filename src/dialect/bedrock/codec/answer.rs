//! Whole answers. They have neither an id nor the name of a model.

use super::super::usage;
use super::{REDACTED, cite, decode, finish_of, stop_word, usage_members};
use crate::dialect::ir::{
    self, Answer, ArrayWriter, Block, Choice, Cited, Content, Format, Loss, MediaKind, Seal,
    Source, write_object,
};
use crate::error::Error;
use crate::wire::json::Value;

/// Reads an answer.
pub(in crate::dialect) fn decode(body: Value<'_>) -> Result<Answer<'_>, Error> {
    let mut answer = Answer::default();
    let mut choice = Choice::default();
    for member in ir::members(body, "answer")? {
        let value = member.value;
        match member.key {
            b"usage" => answer.usage = usage(value),
            b"stopReason" => choice.finish = value.as_str().map(|word| finish_of(&word)),
            b"output" => {
                if let Some(content) = value.find(&["message", "content"]) {
                    choice.blocks = decode::contents(content, "output.message.content")?;
                    for (at, block) in (0..).zip(content.items()) {
                        let list = block.find(&["citationsContent", "citations"]);
                        for citation in list.iter().flat_map(Value::items) {
                            let mut lost = |name| answer.lose(name);
                            choice.citations.push(cite::decode(citation, at, &mut lost));
                        }
                    }
                }
            }
            _ => {}
        }
    }
    answer.choices.push(choice);
    Ok(answer)
}

/// Writes an answer.
pub(in crate::dialect) fn encode(answer: &Answer<'_>, loss: &mut Loss) -> Vec<u8> {
    let nothing = Choice::default();
    let choice = answer.choices.first().unwrap_or(&nothing);
    if answer.choices.len() > 1 {
        loss.drop("choices[1..]");
    }
    if !choice.logprobs.is_empty() {
        loss.drop("logprobs");
    }
    let mut out = Vec::with_capacity(1024);
    write_object(&mut out, |object| {
        object.object("output", |output| {
            output.object("message", |message| {
                message.text("role", "assistant");
                let text = choice.cited_text();
                let cited = choice.cited(&text, loss);
                message.array("content", |list| {
                    for (at, block) in (0..).zip(&choice.blocks) {
                        let mut here =
                            cited.iter().filter(|each| each.block == at).copied().peekable();
                        match &block.content {
                            Content::Text(text) if here.peek().is_some() => {
                                cited_blocks(text, &here.collect::<Vec<_>>(), list);
                            }
                            _ => said(block, list, loss),
                        }
                    }
                });
            });
        });
        if let Some(finish) = choice.finish {
            object.text("stopReason", stop_word(finish));
        }
        let usage = answer.usage.unwrap_or_default();
        object.object("usage", |out| usage_members(&usage, out));
        object.object("metrics", |metrics| metrics.number("latencyMs", 0));
    });
    out
}

fn said(block: &Block<'_>, list: &mut ArrayWriter<'_>, loss: &mut Loss) {
    match &block.content {
        Content::Text(text) | Content::Refusal(text) => {
            list.object(|object| object.text("text", text));
        }
        Content::Thought(thought) => sealed(&thought.text, thought.seal.as_ref(), list),
        Content::ToolCall(call) => {
            if let Some(seal) = &call.seal {
                sealed("", seal.for_call().seal.as_ref(), list);
            }
            list.object(|object| {
                object.object("toolUse", |tool| {
                    tool.text("toolUseId", &ir::id_for_tool(&call.id));
                    tool.text("name", &call.name);
                    tool.raw("input", &call.object());
                });
            });
        }
        Content::Opaque(opaque) if opaque.origin == Format::Bedrock => list.raw(&opaque.value),
        Content::Opaque(opaque) => loss.drop(format!("content ({})", opaque.kind)),
        // In an answer, this format has pictures in bytes only.
        Content::Media(media)
            if media.kind == MediaKind::Image
                && matches!(media.source, Source::Base64(_))
                && ir::extension(media.media_type()).is_some() =>
        {
            super::encode::media_block(media, list, loss);
        }
        Content::Media(_) => loss.drop("content (media)"),
        Content::ToolResult(_) => loss.drop("content (tool result)"),
    }
}

/// A text of which parts are cited: a block for each.
fn cited_blocks(text: &str, cited: &[Cited<'_>], list: &mut ArrayWriter<'_>) {
    for (text, cited) in ir::pieces(text, cited) {
        if cited.is_empty() {
            list.object(|object| object.text("text", text));
            continue;
        }
        list.object(|object| {
            object.object("citationsContent", |block| {
                block.array("content", |parts| parts.object(|part| part.text("text", text)));
                block.array("citations", |list| {
                    for each in &cited {
                        list.object(|object| cite::write(each, object));
                    }
                });
            });
        });
    }
}

/// A thought for a client: those of other providers are readable, and their seals come back.
fn sealed(text: &str, seal: Option<&Seal<'_>>, list: &mut ArrayWriter<'_>) {
    let own = seal.filter(|seal| seal.origin == Format::Bedrock);
    let redacted = own.and_then(|seal| seal.id.as_deref()) == Some(REDACTED);
    let value = seal.map(|seal| seal.text_in(Format::Bedrock)).unwrap_or_default();
    list.object(|object| {
        super::encode::write_thought(text, redacted.then_some(REDACTED), &value, object);
    });
}
