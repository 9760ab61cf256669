//! Whole answers.

use super::super::{annotation, logprob, usage};
use super::{finish_of, finish_word, messages, usage_members};
use crate::dialect::ir::{
    self, Answer, Block, Choice, Content, Finish, Flow, Format, Loss, Media, MediaKind,
    ObjectWriter, Source, ToolCall, joined, write_object,
};
use crate::dialect::shared::parts::{image_part, located};
use crate::error::Error;
use crate::wire::json::Value;

/// Reads an answer.
pub(in crate::dialect) fn decode(body: Value<'_>) -> Result<Answer<'_>, Error> {
    let mut answer = Answer::default();
    for member in ir::members(body, "answer")? {
        let value = member.value;
        match member.key {
            b"id" => answer.id = value.as_str(),
            b"model" => answer.model = value.as_str(),
            b"created" => answer.created = value.as_u64(),
            b"usage" => answer.usage = usage(value),
            b"choices" => {
                for item in ir::items(value, "choices")? {
                    let choice = choice(item, &mut answer)?;
                    answer.choices.push(choice);
                }
            }
            _ => {}
        }
    }
    if let Some(choice) = answer.choices.first_mut() {
        choice.citations.extend(annotation::pages(body));
    }
    Ok(answer)
}

fn choice<'a>(value: Value<'a>, answer: &mut Answer<'a>) -> Result<Choice<'a>, Error> {
    let mut choice = Choice::default();
    if let Some(message) = value.get("message") {
        messages::said(message, "message", &mut choice.blocks)?;
        pictures(message).for_each(|it| choice.blocks.push(Block::new(Content::Media(it))));
        if let Some(audio) = message.get("audio").filter(|audio| !audio.is_null()) {
            spoken(audio, &mut choice.blocks);
        }
        for note in message.get("annotations").iter().flat_map(Value::items) {
            match annotation::decode(note, None) {
                Some(citation) => choice.citations.push(citation),
                None => answer.lose("annotations"),
            }
        }
    }
    let logprobs = |key| value.find(&["logprobs", key]);
    choice.logprobs.extend(logprobs("content").into_iter().flat_map(logprob::decode));
    if logprobs("refusal").is_some_and(|list| list.items().next().is_some()) {
        answer.lose("logprobs.refusal");
    }
    let word = value.get("finish_reason").and_then(|word| word.as_str());
    choice.finish = word.map(|word| finish_of(&word));
    let refused = choice.blocks.iter().any(|b| matches!(b.content, Content::Refusal(_)));
    if refused && choice.finish == Some(Finish::Stop) {
        choice.finish = Some(Finish::Refused);
    }
    Ok(choice)
}

/// The pictures beside what a message, or a piece of one, says.
pub(super) fn pictures(message: Value<'_>) -> impl Iterator<Item = Media<'_>> {
    message.get("images").into_iter().flat_map(|list| list.items()).filter_map(|picture| {
        let url = picture.find(&["image_url", "url"])?.as_str()?;
        Some(located(MediaKind::Image, url, None, None))
    })
}

/// What is spoken, and the same in words.
fn spoken<'a>(audio: Value<'a>, blocks: &mut Vec<Block<'a>>) {
    let text = |key| audio.get(key).and_then(|text: Value<'a>| text.as_str());
    if let Some(words) = text("transcript").filter(|words| !words.is_empty()) {
        blocks.push(Block::text(words));
    }
    if let Some(data) = text("data") {
        blocks.push(Block::new(Content::Media(Media {
            kind: MediaKind::Audio,
            source: Source::Base64(data),
            media_type: None,
            name: None,
            detail: None,
        })));
    }
}

/// Writes an answer. `created` is in seconds since 1970.
pub(in crate::dialect) fn encode(
    answer: &Answer<'_>,
    fallback_id: &str,
    created: u64,
    loss: &mut Loss,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    write_object(&mut out, |object| {
        object.text("id", answer.id.as_deref().unwrap_or(fallback_id));
        object.text("object", "chat.completion");
        object.number("created", answer.created.unwrap_or(created));
        object.text("model", answer.model.as_deref().unwrap_or_default());
        object.array("choices", |list| {
            for (at, choice) in answer.choices.iter().enumerate() {
                list.object(|object| one(at, choice, object, loss));
            }
        });
        if let Some(usage) = &answer.usage {
            object.object("usage", |out| usage_members(usage, out));
        }
    });
    out
}

fn one(at: usize, choice: &Choice<'_>, object: &mut ObjectWriter<'_>, loss: &mut Loss) {
    object.number("index", at as u64);
    object.object("message", |message| said(choice, message, loss));
    logprob::in_chat(&choice.logprobs, object);
    // A refusal in words is a normal end in this format.
    let refusal = choice.blocks.iter().any(|block| matches!(block.content, Content::Refusal(_)));
    match choice.finish {
        Some(Finish::Refused) if refusal => object.text("finish_reason", "stop"),
        Some(finish) => object.text("finish_reason", finish_word(finish)),
        None => object.null("finish_reason"),
    }
}

fn said(choice: &Choice<'_>, message: &mut ObjectWriter<'_>, loss: &mut Loss) {
    let contents = || choice.blocks.iter().map(|block| &block.content);
    message.text("role", "assistant");
    let texts = contents().filter_map(|content| match content {
        Content::Text(text) => Some(&**text),
        _ => None,
    });
    let text = joined(texts.clone());
    if texts.count() == 0 {
        message.null("content");
    } else {
        message.text("content", &text);
    }
    let refusals = contents().filter_map(|content| match content {
        Content::Refusal(text) => Some(&**text),
        _ => None,
    });
    let refusal = joined(refusals);
    if refusal.is_empty() {
        message.null("refusal");
    } else {
        message.text("refusal", &refusal);
    }
    thoughts(choice, message);
    annotations(choice, message, loss);
    let mut calls = contents().filter_map(|content| match content {
        Content::ToolCall(call) => Some(call),
        _ => None,
    });
    if let Some(first) = calls.next() {
        message.array("tool_calls", |list| {
            list.object(|object| call(first, object));
            calls.for_each(|next| list.object(|object| call(next, object)));
        });
    }
    for content in contents() {
        match content {
            Content::Opaque(opaque) => loss.drop(format!("content ({})", opaque.kind)),
            Content::Media(media) if !media.is_picture() => loss.drop("content (media)"),
            _ => {}
        }
    }
    let pictures = contents().filter_map(|content| match content {
        Content::Media(media) if media.is_picture() => Some(media),
        _ => None,
    });
    if pictures.clone().next().is_some() {
        message.array("images", |list| pictures.for_each(|media| image_part(media, list)));
    }
}

fn annotations(choice: &Choice<'_>, message: &mut ObjectWriter<'_>, loss: &mut Loss) {
    let text = choice.cited_text();
    let mut cited = choice.cited(&text, loss);
    cited.retain(|cited| {
        let page = cited.citation.origin.url().is_some();
        if !page {
            loss.drop("citations");
        }
        page
    });
    if cited.is_empty() {
        return;
    }
    message.array("annotations", |list| {
        for cited in &cited {
            annotation::lose(cited, loss);
            let url = cited.citation.origin.id();
            list.object(|note| annotation::write_in_chat(cited, url, note));
        }
    });
}

/// The text as most servers that are compatible have it, and in detail what has to come back.
fn thoughts(choice: &Choice<'_>, message: &mut ObjectWriter<'_>) {
    let thoughts = || {
        choice.blocks.iter().filter_map(|block| match &block.content {
            Content::Thought(thought) => Some(thought),
            _ => None,
        })
    };
    let text = joined(thoughts().map(|thought| &*thought.text));
    if !text.is_empty() {
        message.text("reasoning_content", &text);
    }
    if thoughts().any(|thought| thought.seal.is_some()) {
        message.array("reasoning_details", |list| {
            for thought in thoughts() {
                list.object(|detail| {
                    detail.text("type", "reasoning.text");
                    detail.text("text", &thought.text);
                    if let Some(seal) = &thought.seal {
                        detail.text("signature", &seal.text_in(Format::Chat));
                    }
                });
            }
        });
    }
}

/// A call of a tool, in a message of either direction.
pub(super) fn call(call: &ToolCall<'_>, object: &mut ObjectWriter<'_>) {
    object.text("id", &call.id);
    object.text("type", "function");
    object.object("function", |function| {
        function.text("name", &call.name);
        let none = call.arguments.trim().is_empty();
        function.text("arguments", if none { "{}" } else { &call.arguments });
    });
    if let Some(seal) = &call.seal {
        extra_content(&seal.text_in(Format::Gemini), object);
    }
}

/// Where Google's own endpoint that is compatible with `OpenAI` has the signature of a call.
pub(super) fn extra_content(signature: &str, object: &mut ObjectWriter<'_>) {
    object.object("extra_content", |extra| {
        extra.object("google", |google| google.text("thought_signature", signature));
    });
}

/// The number of a choice.
pub(super) fn index(choice: Value<'_>) -> u32 {
    Flow::number(choice.get("index"))
}
