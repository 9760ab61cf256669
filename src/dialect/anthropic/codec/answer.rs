//! Whole answers.

use super::super::usage;
use super::{REDACTED, finish_of, stop_word, usage_members};
use crate::dialect::ir::{
    self, Answer, ArrayWriter, Block, Choice, Content, Format, Loss, Seal, Thought, write_object,
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
                if value.items().any(|block| {
                    block.get("citations").is_some_and(|list| list.items().next().is_some())
                }) {
                    answer.extra.push(ir::Extra {
                        name: "citations".into(),
                        value: "[]",
                        essential: false,
                    });
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
    let mut out = Vec::with_capacity(1024);
    write_object(&mut out, |object| {
        object.text("id", answer.id.as_deref().unwrap_or(fallback_id));
        object.text("type", "message");
        object.text("role", "assistant");
        object.text("model", answer.model.as_deref().unwrap_or_default());
        object.array("content", |list| {
            choice.blocks.iter().for_each(|block| said(block, list, loss));
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
