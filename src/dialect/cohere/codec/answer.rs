//! Whole answers.

use super::super::usage;
use super::{cite, decode, finish_of, finish_word, logprob, usage_members};
use crate::dialect::ir::{self, Answer, Choice, Content, Finish, Loss, ObjectWriter, write_object};
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
            b"finish_reason" => choice.finish = value.as_str().map(|word| finish_of(&word)),
            b"logprobs" => choice.logprobs.extend(value.items().filter_map(logprob::decode)),
            b"message" => {
                choice.blocks = decode::said(value, "message")?;
                // The plan stands in front of the content.
                let plan = value.get("tool_plan").and_then(|plan| plan.contents());
                let first = u32::from(plan.is_some_and(|plan| !plan.is_empty()));
                let block = |part: u64| u32::try_from(part).ok()?.checked_add(first);
                for citation in value.get("citations").iter().flat_map(Value::items) {
                    let found = &mut |citation| choice.citations.push(citation);
                    if !cite::decode(citation, &block, found) {
                        answer.lose("citations");
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
        let finish = choice.finish.unwrap_or(Finish::Stop);
        finish_lost(finish, loss);
        object.text("finish_reason", finish_word(finish));
        object.object("message", |message| said(choice, message, loss));
        if let Some(usage) = &answer.usage {
            object.object("usage", |out| usage_members(usage, out));
        }
        if !choice.logprobs.is_empty() {
            object.array("logprobs", |list| {
                choice.logprobs.iter().for_each(|one| list.object(|it| logprob::write(one, it)));
            });
        }
    });
    out
}

/// This format has no word for a filter's work.
pub(super) fn finish_lost(finish: Finish, loss: &mut Loss) {
    if matches!(finish, Finish::Filtered | Finish::Refused) {
        loss.drop("finish_reason");
    }
}

fn said(choice: &Choice<'_>, message: &mut ObjectWriter<'_>, loss: &mut Loss) {
    let contents = || choice.blocks.iter().map(|block| &block.content);
    message.text("role", "assistant");
    let calls = || {
        contents().filter_map(|content| match content {
            Content::ToolCall(call) => Some(call),
            _ => None,
        })
    };
    // Where in the content each block stands.
    let (mut places, mut written) = (Vec::with_capacity(choice.blocks.len()), 0);
    if contents().count() > calls().count() {
        message.array("content", |parts| {
            for content in contents() {
                places.push(written);
                let said =
                    matches!(content, Content::Text(_) | Content::Refusal(_) | Content::Thought(_));
                written += u64::from(said);
                match content {
                    Content::Text(text) | Content::Refusal(text) => parts.object(|part| {
                        part.text("type", "text");
                        part.text("text", text);
                    }),
                    Content::Thought(thought) => {
                        if thought.seal.is_some() {
                            loss.drop("thinking signature");
                        }
                        parts.object(|part| {
                            part.text("type", "thinking");
                            part.text("thinking", &thought.text);
                        });
                    }
                    Content::Opaque(opaque) => loss.drop(format!("content ({})", opaque.kind)),
                    Content::Media(_) => loss.drop("content (media)"),
                    Content::ToolResult(_) => loss.drop("content (tool result)"),
                    Content::ToolCall(_) => {}
                }
            }
        });
    }
    let text = choice.cited_text();
    let cited = choice.cited(&text, loss);
    if !cited.is_empty() {
        message.array("citations", |list| {
            for each in &cited {
                let place = places.get(each.block as usize).copied().unwrap_or(0);
                list.object(|object| cite::write(each, place, object));
            }
        });
    }
    if calls().next().is_some() {
        message.array("tool_calls", |list| {
            for call in calls() {
                if call.seal.is_some() {
                    loss.drop("thinking signature");
                }
                list.object(|object| {
                    object.text("id", &call.id);
                    object.text("type", "function");
                    object.object("function", |function| {
                        function.text("name", &call.name);
                        function.text("arguments", &call.object());
                    });
                });
            }
        });
    }
}
