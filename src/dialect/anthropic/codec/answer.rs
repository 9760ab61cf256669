//! Whole answers.

use super::super::usage;
use super::{REDACTED, cite, finish_of, stop_word, usage_members};
use crate::dialect::ir::{
    self, Answer, ArrayWriter, Block, Choice, Cited, Content, Format, Loss, Seal, Thought,
    write_object,
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
            b"id" => answer.id = value.as_str(),
            b"model" => answer.model = value.as_str(),
            b"usage" => answer.usage = usage(value),
            b"content" => {
                let blocks = ir::items(value, "content")?;
                choice.blocks = blocks
                    .map(|block| super::decode::block(block, "content"))
                    .collect::<Result<_, _>>()?;
                for (at, block) in (0..).zip(value.items()) {
                    for citation in block.get("citations").iter().flat_map(Value::items) {
                        let mut lost = |name| answer.lose(name);
                        choice.citations.push(cite::decode(citation, at, &mut lost));
                    }
                }
            }
            b"stop_reason" => choice.finish = value.as_str().map(|word| finish_of(&word)),
            b"stop_sequence" => choice.stop_sequence = value.as_str(),
            _ => {}
        }
    }
    answer.choices.push(choice);
    Ok(answer)
}

/// Writes an answer.
pub(in crate::dialect) fn encode(
    answer: &Answer<'_>,
    fallback_id: &str,
    loss: &mut Loss,
) -> Vec<u8> {
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
        object.text("id", answer.id.as_deref().unwrap_or(fallback_id));
        object.text("type", "message");
        object.text("role", "assistant");
        object.text("model", answer.model.as_deref().unwrap_or_default());
        let text = choice.cited_text();
        let cited = choice.cited(&text, loss);
        object.array("content", |list| {
            for (at, block) in (0..).zip(&choice.blocks) {
                let mut here = cited.iter().filter(|each| each.block == at).copied().peekable();
                match &block.content {
                    Content::Text(text) if here.peek().is_some() => {
                        cited_blocks(text, &here.collect::<Vec<_>>(), list);
                    }
                    _ => said(block, list, loss),
                }
            }
        });
        match choice.finish {
            Some(finish) => object.text("stop_reason", stop_word(finish)),
            None => object.null("stop_reason"),
        }
        match &choice.stop_sequence {
            Some(text) => object.text("stop_sequence", text),
            None => object.null("stop_sequence"),
        }
        let usage = answer.usage.unwrap_or_default();
        object.object("usage", |out| usage_members(&usage, out));
    });
    out
}

/// A block for a client: thoughts of other providers are readable, and their seals come back.
fn said(block: &Block<'_>, list: &mut ArrayWriter<'_>, loss: &mut Loss) {
    match &block.content {
        Content::Thought(thought) => thought_block(thought, list),
        Content::ToolCall(call) => {
            if let Some(seal) = &call.seal {
                thought_block(&seal.for_call(), list);
            }
            super::encode::one_block(block, list, loss);
        }
        Content::Media(_) => loss.drop("content (media)"),
        _ => super::encode::one_block(block, list, loss),
    }
}

/// A text of which parts are cited: a block for each.
fn cited_blocks(text: &str, cited: &[Cited<'_>], list: &mut ArrayWriter<'_>) {
    for (text, cited) in ir::pieces(text, cited).into_iter().filter(|(text, _)| !text.is_empty()) {
        list.object(|object| {
            object.text("type", "text");
            object.text("text", text);
            if !cited.is_empty() {
                object.array("citations", |list| {
                    for each in &cited {
                        list.object(|object| cite::write(each, object));
                    }
                });
            }
        });
    }
}

fn thought_block(thought: &Thought<'_>, list: &mut ArrayWriter<'_>) {
    let text = |seal: &Seal<'_>| seal.text_in(Format::Anthropic).into_owned();
    list.object(|object| match &thought.seal {
        Some(seal) if seal.origin == Format::Anthropic && seal.id.as_deref() == Some(REDACTED) => {
            object.text("type", "redacted_thinking");
            object.text("data", &seal.value);
        }
        seal => {
            object.text("type", "thinking");
            object.text("thinking", &thought.text);
            object.text("signature", &seal.as_ref().map(text).unwrap_or_default());
        }
    });
}
