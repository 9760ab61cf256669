//! Whole answers.

use super::super::{annotation, logprob, usage};
use super::{finish_of, incomplete_word, items, usage_members};
use crate::dialect::Usage;
use crate::dialect::ir::{
    self, Answer, ArrayWriter, Block, Choice, Content, Finish, Format, KeptAs, Loss, ObjectWriter,
    write_object,
};
use crate::error::{Error, Kind};
use crate::wire::json::{self, Value, lazy};

/// Reads an answer.
pub(in crate::dialect) fn decode(body: Value<'_>) -> Result<Answer<'_>, Error> {
    let mut answer = Answer::default();
    let mut choice = Choice::default();
    for member in ir::members(body, "answer")? {
        let value = member.value;
        match member.key {
            b"id" => answer.id = value.as_str(),
            b"model" => answer.model = value.as_str(),
            b"created_at" => answer.created = super::super::super::usage::count(value),
            b"usage" => answer.usage = usage(value),
            b"output" => {
                for item in ir::items(value, "output")? {
                    let parts = item.get("content");
                    let first = choice.blocks.len() as u32;
                    for (at, part) in (first..).zip(parts.iter().flat_map(Value::items)) {
                        for note in part.get("annotations").iter().flat_map(Value::items) {
                            match annotation::decode(note, Some(at)) {
                                Some(citation) => choice.citations.push(citation),
                                None => answer.lose("annotations"),
                            }
                        }
                        let logprobs = part.get("logprobs").into_iter();
                        choice.logprobs.extend(logprobs.flat_map(logprob::decode));
                    }
                    match items::picture(item) {
                        Some(media) => choice.blocks.push(Block::new(Content::Media(media))),
                        None => choice.blocks.extend(items::decode(item, "output")?.1),
                    }
                }
            }
            b"error" => {
                let text = value.get("message").and_then(|text| text.as_str());
                let text = text.unwrap_or_default().into_owned();
                return Err(Error::new(Kind::UpstreamStreamError, text));
            }
            _ => {}
        }
    }
    choice.finish = finish(body, &choice);
    answer.choices.push(choice);
    Ok(answer)
}

/// Why a response ended.
pub(super) fn status(body: Value<'_>) -> Option<Finish> {
    let status = body.get("status")?.as_str()?;
    let reason = body.find(&["incomplete_details", "reason"]).and_then(|reason| reason.as_str());
    Some(finish_of(&status, reason.as_deref()))
}

fn finish(body: Value<'_>, choice: &Choice<'_>) -> Option<Finish> {
    let refused = choice.blocks.iter().any(|b| matches!(b.content, Content::Refusal(_)));
    match status(body) {
        Some(Finish::Stop) if refused => Some(Finish::Refused),
        finish => finish,
    }
}

/// Writes an answer. `created` is in seconds since 1970.
pub(in crate::dialect) fn encode(
    answer: &Answer<'_>,
    fallback_id: &str,
    created: u64,
    echo: &Echo,
    loss: &mut Loss,
) -> Vec<u8> {
    let nothing = Choice::default();
    let choice = answer.choices.first().unwrap_or(&nothing);
    if answer.choices.len() > 1 {
        loss.drop("choices[1..]");
    }
    let head = Head {
        id: echo.id.as_deref().or(answer.id.as_deref()).unwrap_or(fallback_id),
        model: answer.model.as_deref().unwrap_or_default(),
        created: answer.created.unwrap_or(created),
        echo,
    };
    let refused = choice.blocks.iter().any(|b| matches!(b.content, Content::Refusal(_)));
    let end = End { finish: choice.finish, refused, usage: answer.usage };
    let text = choice.cited_text();
    let cited = choice.cited(&text, loss);
    let mut logprobs = logprob::elements(&choice.logprobs);
    let mut out = Vec::with_capacity(1024);
    write_object(&mut out, |object| {
        response(&head, Some(&end), object, |list| {
            for (at, block) in choice.blocks.iter().enumerate() {
                let mut notes = Vec::new();
                for cited in cited.iter().filter(|each| each.block as usize == at) {
                    annotation::add(cited, &mut notes, loss);
                }
                let lists = Lists {
                    annotations: ir::utf8(&notes),
                    logprobs: match block.content {
                        Content::Text(_) => std::mem::take(&mut logprobs),
                        _ => Vec::new(),
                    },
                };
                said(&head, at, &block.content, &lists, list, loss);
            }
        });
    });
    out
}

/// What a response is called.
pub(super) struct Head<'a> {
    pub id: &'a str,
    pub model: &'a str,
    pub created: u64,
    pub echo: &'a Echo,
}

/// What a response repeats of its request.
#[derive(Clone, Debug, Default)]
pub(in crate::dialect) struct Echo {
    /// What it is called, if it is kept.
    id: Option<String>,
    previous: Option<String>,
    /// An object.
    metadata: Option<String>,
}

impl Echo {
    /// What the response to a request repeats, and as what it is kept.
    pub fn of(request: &[u8], kept: Option<KeptAs<'_>>) -> Self {
        let metadata = lazy(request).get("metadata");
        let metadata = metadata.filter(|value| value.kind() == Some(json::Kind::Object));
        Self {
            id: kept.map(|kept| kept.id.to_owned()),
            previous: kept.and_then(|kept| kept.previous).map(str::to_owned),
            metadata: metadata.map(|value| ir::raw(value).to_owned()),
        }
    }

    /// What the response is called, if it is kept.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Whether the response is kept.
    pub fn is_kept(&self) -> bool {
        self.id.is_some()
    }
}

/// How a response ended.
pub(super) struct End {
    pub finish: Option<Finish>,
    /// In words of its own, which is a normal end in this format.
    pub refused: bool,
    pub usage: Option<Usage>,
}

/// The members of a response, in progress if it has no end.
pub(super) fn response(
    head: &Head<'_>,
    end: Option<&End>,
    object: &mut ObjectWriter<'_>,
    output: impl FnOnce(&mut ArrayWriter<'_>),
) {
    let incomplete = end.and_then(|end| match end.finish {
        Some(Finish::Refused) if end.refused => None,
        finish => incomplete_word(finish?),
    });
    object.text("id", head.id);
    object.text("object", "response");
    object.number("created_at", head.created);
    object.text(
        "status",
        match (end, incomplete) {
            (None, _) => "in_progress",
            (Some(_), None) => "completed",
            (Some(_), Some(_)) => "incomplete",
        },
    );
    object.null("error");
    match incomplete {
        None => object.null("incomplete_details"),
        Some(reason) => object.object("incomplete_details", |it| it.text("reason", reason)),
    }
    object.null("instructions");
    object.raw("metadata", head.echo.metadata.as_deref().unwrap_or("{}"));
    object.text("model", head.model);
    object.array("output", output);
    object.flag("parallel_tool_calls", true);
    match &head.echo.previous {
        Some(previous) => object.text("previous_response_id", previous),
        None => object.null("previous_response_id"),
    }
    object.flag("store", head.echo.is_kept());
    object.null("temperature");
    object.text("tool_choice", "auto");
    object.array("tools", |_| {});
    object.null("top_p");
    match end.and_then(|end| end.usage) {
        Some(usage) => object.object("usage", |out| usage_members(&usage, out)),
        None => object.null("usage"),
    }
}

/// The id of an item.
pub(super) fn item_id(kind: &str, response: &str, at: usize) -> String {
    let base = response.strip_prefix("resp_").unwrap_or(response);
    format!("{kind}_{base}_{at}")
}

/// The elements of the lists beside a text.
struct Lists<'a> {
    annotations: &'a str,
    logprobs: Vec<u8>,
}

fn said(
    head: &Head<'_>,
    at: usize,
    content: &Content<'_>,
    lists: &Lists<'_>,
    list: &mut ArrayWriter<'_>,
    loss: &mut Loss,
) {
    let id = |kind| item_id(kind, head.id, at);
    match content {
        Content::Text(text) => list.object(|item| {
            let Lists { annotations, logprobs } = lists;
            let part = items::Part::Text { text, annotations, logprobs: ir::utf8(logprobs) };
            items::write_message(&id("msg"), "completed", Some(part), item);
        }),
        Content::Refusal(text) => list.object(|item| {
            items::write_message(&id("msg"), "completed", Some(items::Part::Refusal(text)), item);
        }),
        Content::ToolCall(call) => {
            if let Some(seal) = &call.seal {
                let of_call = seal.for_call().seal.map(|seal| seal.wrapped());
                list.object(|item| items::write_thought(&id("rs"), "", of_call.as_deref(), item));
            }
            let none = call.arguments.trim().is_empty();
            let arguments = if none { "{}" } else { &call.arguments };
            list.object(|item| {
                let call = (&*call.id, &*call.name, arguments);
                items::write_call(&id("fc"), "completed", call, item);
            });
        }
        Content::Thought(thought) => list.object(|item| {
            let seal = thought.seal.as_ref();
            let own = seal.filter(|seal| seal.origin == Format::Responses);
            let id = own.and_then(|seal| seal.id.as_deref()).map_or_else(|| id("rs"), Into::into);
            let sealed = seal.map(|seal| seal.text_in(Format::Responses));
            items::write_thought(&id, &thought.text, sealed.as_deref(), item);
        }),
        Content::Opaque(opaque) if opaque.origin == Format::Responses => list.raw(&opaque.value),
        Content::Opaque(opaque) => loss.drop(format!("content ({})", opaque.kind)),
        Content::Media(media) => match items::picture_data(media) {
            Some(data) => list.object(|item| items::write_picture(&id("ig"), Some(data), item)),
            None => loss.drop("content (media)"),
        },
        Content::ToolResult(_) => loss.drop("content (tool result)"),
    }
}
