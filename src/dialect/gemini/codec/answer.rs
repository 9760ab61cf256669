//! Whole answers.

use super::super::usage;
use super::{cite, decode, finish_of, finish_word, logprob, usage_members};
use crate::dialect::ir::{
    self, Answer, ArrayWriter, Block, Choice, Content, Finish, Flow, Format, Loss, Media,
    ObjectWriter, Source, Text, ToolCall, write_object,
};
use crate::error::Error;
use crate::wire::json::Value;

/// Reads an answer.
pub(in crate::dialect) fn decode(body: Value<'_>) -> Result<Answer<'_>, Error> {
    let id = body.get("responseId").and_then(|id| id.as_str());
    let mut answer = Answer { id, ..Answer::default() };
    for member in ir::members(body, "answer")? {
        let value = member.value;
        match member.key {
            b"modelVersion" => answer.model = value.as_str(),
            b"usageMetadata" => answer.usage = usage(value),
            b"candidates" => {
                let id = answer.id.clone().unwrap_or_default();
                for item in ir::items(value, "candidates")? {
                    let choice = candidate(item, &id, &mut answer)?;
                    answer.choices.push(choice);
                }
            }
            b"promptFeedback" if value.get("blockReason").is_some_and(|it| !it.is_null()) => {
                let finish = Some(Finish::Filtered);
                answer.choices.push(Choice { finish, ..Choice::default() });
            }
            _ => {}
        }
    }
    Ok(answer)
}

fn candidate<'a>(
    candidate: Value<'a>,
    id: &str,
    answer: &mut Answer<'a>,
) -> Result<Choice<'a>, Error> {
    let mut choice = Choice::default();
    // A call's name for itself has the candidate's number, which may stand behind its parts.
    let (mut index, mut parts, mut cites) = (None, None, false);
    for member in candidate.members() {
        match member.key {
            b"index" => index = index.or(Some(member.value)),
            b"content" => parts = parts.or_else(|| member.value.get("parts")),
            b"finishReason" => choice.finish = member.value.as_str().map(|word| finish_of(&word)),
            b"logprobsResult" => choice.logprobs = logprob::decode(member.value),
            b"groundingMetadata" | b"citationMetadata" => cites = true,
            _ => {}
        }
    }
    let number = Flow::number(index);
    // The block of each part.
    let mut blocks = Vec::new();
    for part in parts.iter().flat_map(Value::items) {
        blocks.push(choice.blocks.len() as u32);
        if let Some(text) = decode::only_text(part) {
            decode::said(Content::Text(text), None, &mut choice.blocks);
        } else if let Some(call) = call(part, id, number, choice.blocks.len()) {
            choice.blocks.push(Block::new(Content::ToolCall(call)));
        } else if let Some(content) = decode::plain(part, "parts")? {
            decode::said(content, decode::seal(part), &mut choice.blocks);
        }
    }
    if !cites {
        return Ok(choice);
    }
    let block = |part: u64| blocks.get(usize::try_from(part).ok()?).copied();
    cite::decode(candidate, &block, &mut |found| match found {
        cite::Found::Citation(citation) => choice.citations.push(citation),
        cite::Found::Lost(name) => answer.lose(name),
    });
    Ok(choice)
}

/// A call, with an id that no other call of the conversation has.
pub(super) fn call<'a>(
    part: Value<'a>,
    answer: &str,
    choice: u32,
    at: usize,
) -> Option<ToolCall<'a>> {
    let call = part.get("functionCall").filter(|call| !call.is_null())?;
    let text = |key| call.get(key).and_then(|value| value.as_str());
    let id = text("id").filter(|id| !id.is_empty());
    Some(ToolCall {
        id: id.unwrap_or_else(|| Text::Owned(format!("call_{answer}_{choice}_{at}"))),
        name: text("name").unwrap_or_default(),
        arguments: call.get("args").map_or("{}".into(), |args| ir::raw(args).into()),
        seal: decode::seal(part),
    })
}

/// Writes an answer.
pub(in crate::dialect) fn encode(
    answer: &Answer<'_>,
    fallback_id: &str,
    loss: &mut Loss,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    write_object(&mut out, |object| {
        object.array("candidates", |list| {
            for (at, choice) in answer.choices.iter().enumerate() {
                list.object(|candidate| {
                    candidate.object("content", |content| {
                        content.array("parts", |parts| {
                            choice.blocks.iter().for_each(|block| part(block, parts, loss));
                        });
                        content.text("role", "model");
                    });
                    if let Some(finish) = choice.finish {
                        candidate.text("finishReason", finish_word(finish));
                    }
                    let text = choice.cited_text();
                    let cited = choice.cited(&text, loss);
                    let all = cited.iter().map(|cited| cite::Grounded::of(cited, loss));
                    cite::write(&all.collect::<Vec<_>>(), candidate);
                    logprob::write(&choice.logprobs, candidate);
                    candidate.number("index", at as u64);
                });
            }
        });
        if let Some(usage) = &answer.usage {
            object.object("usageMetadata", |out| usage_members(usage, out));
        }
        object.text("modelVersion", answer.model.as_deref().unwrap_or_default());
        object.text("responseId", answer.id.as_deref().unwrap_or(fallback_id));
    });
    out
}

/// A part for a client: thoughts of other providers are readable, and their seals come back.
fn part(block: &Block<'_>, list: &mut ArrayWriter<'_>, loss: &mut Loss) {
    match &block.content {
        Content::Text(text) | Content::Refusal(text) => {
            list.object(|part| part.text("text", text));
        }
        Content::Thought(thought) => list.object(|part| {
            part.text("text", &thought.text);
            if !thought.text.is_empty() {
                part.flag("thought", true);
            }
            if let Some(seal) = &thought.seal {
                part.text("thoughtSignature", &seal.text_in(Format::Gemini));
            }
        }),
        Content::ToolCall(call) => list.object(|part| {
            part.object("functionCall", |function| {
                function.text("id", &call.id);
                function.text("name", &call.name);
                function.raw("args", &call.object());
            });
            if let Some(seal) = &call.seal {
                part.text("thoughtSignature", &seal.text_in(Format::Gemini));
            }
        }),
        Content::Media(media) => match inline(media) {
            Some(data) => list.object(|part| inline_data(media.media_type(), data, part)),
            None => loss.drop("content (media)"),
        },
        Content::ToolResult(_) => loss.drop("content (tool result)"),
        Content::Opaque(opaque) if opaque.origin == Format::Gemini => list.raw(&opaque.value),
        Content::Opaque(opaque) => loss.drop(format!("content ({})", opaque.kind)),
    }
}

/// The data of what is shown or heard, if it is here.
pub(super) fn inline<'m>(media: &'m Media<'_>) -> Option<&'m str> {
    match &media.source {
        Source::Base64(data) => Some(data),
        Source::Url(_) | Source::File(_) | Source::Plain(_) => None,
    }
}

/// The part that shows it.
pub(super) fn inline_data(media_type: &str, data: &str, part: &mut ObjectWriter<'_>) {
    part.object("inlineData", |inline| {
        inline.text("mimeType", media_type);
        inline.text("data", data);
    });
}
