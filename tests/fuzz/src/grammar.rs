//! What the clients' own libraries take for a well-formed stream of each format.

use serde_json::Value;
use weir::dialect::Format;
use weir::wire::frame::Framing;
use weir::wire::json::{self, Limits};
use weir::wire::{eventstream, sse};

const DOCUMENT: Limits = Limits { depth_max: json::DEPTH_MAX };

/// An event: what it calls itself, and what it says. A document that a tree cannot hold is null.
type Event = (String, Value);

/// Whether a stream ends as a complete answer does (and not with an error).
///
/// # Errors
///
/// What is wrong with it: it is neither.
pub fn check(format: Format, framing: Framing, stream: &[u8]) -> Result<bool, String> {
    let events = match framing {
        Framing::AwsEventStream => messages(stream)?,
        Framing::JsonArray => elements(stream)?,
        Framing::Sse | Framing::Opaque => sse_events(stream)?,
    };
    if events.is_empty() {
        return Err("nothing".into());
    }
    match format {
        Format::Chat => chat(&events),
        Format::Responses => responses(&events),
        Format::Anthropic => anthropic(&events),
        Format::Gemini => gemini(&events),
        Format::Cohere => cohere(&events),
        Format::Bedrock => bedrock(&events),
    }
}

fn document(bytes: &[u8]) -> Result<Value, String> {
    json::validate(bytes, DOCUMENT).map_err(|error| format!("a document that is none: {error}"))?;
    Ok(serde_json::from_slice(bytes).unwrap_or_default())
}

fn sse_events(stream: &[u8]) -> Result<Vec<Event>, String> {
    let mut events = Vec::new();
    for event in sse::events(stream) {
        if !event.complete || event.is_comment {
            return Err("an event that is none".into());
        }
        let name = String::from_utf8_lossy(event.name.unwrap_or_default()).into_owned();
        let value = match &*event.data {
            b"[DONE]" => Value::from("[DONE]"),
            data => document(data)?,
        };
        events.push((name, value));
    }
    Ok(events)
}

fn elements(stream: &[u8]) -> Result<Vec<Event>, String> {
    document(stream)?;
    let items = json::lazy(stream).items();
    items.map(|item| Ok((String::new(), document(item.raw())?))).collect()
}

fn messages(stream: &[u8]) -> Result<Vec<Event>, String> {
    eventstream::messages(stream)
        .map(|message| {
            let message = message.map_err(|error| error.reason)?;
            let kind = message.header(":event-type").or(message.header(":exception-type"));
            Ok((kind.ok_or("a message without a type")?.to_owned(), document(message.payload)?))
        })
        .collect()
}

/// A rule that is kept, or its name.
fn rule(kept: bool, name: &str, event: &Event) -> Result<(), String> {
    if kept { Ok(()) } else { Err(format!("{name}: {} {}", event.0, event.1)) }
}

fn chat(events: &[Event]) -> Result<bool, String> {
    let done = events.iter().position(|(_, data)| data == "[DONE]");
    let mut failed = false;
    for (at, event) in events.iter().enumerate() {
        let data = &event.1;
        rule(!failed || Some(at) == done, "nothing behind an error", event)?;
        failed |= data.get("error").is_some();
        let known = failed || data.is_null() || data == "[DONE]";
        rule(known || data["object"] == "chat.completion.chunk", "chunks", event)?;
        rule(done.is_none_or(|done| at <= done), "nothing behind [DONE]", event)?;
    }
    if !failed && done.is_none() {
        return Err("no end".into());
    }
    Ok(!failed)
}

fn gemini(events: &[Event]) -> Result<bool, String> {
    let (last, before) = events.split_last().ok_or("nothing")?;
    for event in before {
        rule(event.1.get("error").is_none(), "an error is the last", event)?;
    }
    let failed = last.1.get("error").is_some();
    let finished = events.iter().any(|(_, chunk)| {
        let candidates = chunk["candidates"].as_array();
        candidates.is_some_and(|list| list.iter().any(|it| it.get("finishReason").is_some()))
    });
    if !failed && !finished && !events.iter().any(|(_, chunk)| chunk.is_null()) {
        return Err("no end".into());
    }
    Ok(!failed)
}

fn anthropic(events: &[Event]) -> Result<bool, String> {
    let (mut blocks, mut open, mut stopped) = (0_u64, false, false);
    for (at, event) in events.iter().enumerate() {
        let (name, data) = (&event.0[..], &event.1);
        let last = at + 1 == events.len();
        rule(data.is_null() || data["type"] == name, "a name is a type", event)?;
        let index = data["index"].as_u64();
        match name {
            "error" if last => return Ok(false),
            "message_start" => rule(at == 0, "the start is the first", event)?,
            _ if at == 0 => return Err("no start".into()),
            "content_block_start" => {
                rule(!open && !stopped && index == Some(blocks), "blocks in turn", event)?;
                open = true;
            }
            "content_block_delta" => {
                rule(open && index == Some(blocks), "deltas of the open block", event)?;
            }
            "content_block_stop" => {
                rule(open && index == Some(blocks), "the open block stops", event)?;
                open = false;
                blocks += 1;
            }
            "message_delta" => {
                rule(!open && !stopped, "one reason, behind the blocks", event)?;
                stopped = true;
            }
            "message_stop" => {
                rule(stopped && last, "the stop is the last", event)?;
                return Ok(true);
            }
            _ => return rule(false, "known events", event).map(|()| false),
        }
    }
    Err("no end".into())
}

fn responses(events: &[Event]) -> Result<bool, String> {
    let (mut items, mut open) = (0_u64, false);
    for (at, event) in events.iter().enumerate() {
        let (name, data) = (&event.0[..], &event.1);
        let last = at + 1 == events.len();
        rule(data.is_null() || data["type"] == name, "a name is a type", event)?;
        let numbered = data.is_null() || data["sequence_number"] == at as u64;
        rule(numbered, "numbers without a gap", event)?;
        let index = data["output_index"].as_u64();
        match name {
            "response.created" => rule(at == 0, "it is created first", event)?,
            "response.in_progress" => rule(at == 1, "it is in progress then", event)?,
            "error" | "response.failed" if last => return Ok(false),
            "response.completed" | "response.incomplete" => {
                rule(last && !open && at > 0, "the end is the last", event)?;
                let output = data["response"]["output"].as_array();
                let all = output.is_none_or(|output| output.len() as u64 == items);
                rule(all, "the whole has every item", event)?;
                return Ok(true);
            }
            "response.output_item.added" => {
                rule(!open && index == Some(items), "items in turn", event)?;
                open = true;
            }
            "response.output_item.done" => {
                rule(open && index == Some(items), "the open item is done", event)?;
                open = false;
                items += 1;
            }
            _ => {
                let of_item = open && index == Some(items) && name.starts_with("response.");
                rule(of_item, "the rest is of the open item", event)?;
            }
        }
    }
    Err("no end".into())
}

fn cohere(events: &[Event]) -> Result<bool, String> {
    let (mut contents, mut calls, mut citations) = (0_u64, 0_u64, 0_u64);
    let mut open: Option<(&str, u64)> = None;
    let mut cited = None;
    for (at, event) in events.iter().enumerate() {
        let (name, data) = (&event.0[..], &event.1);
        rule(
            data.is_null() || data == "[DONE]" || data["type"] == name,
            "a name is a type",
            event,
        )?;
        let this = data["index"].as_u64().unwrap_or_default();
        match name {
            "message-start" => rule(at == 0, "the start is the first", event)?,
            "message-end" => {
                let failed = data["delta"]["finish_reason"] == "ERROR";
                rule(failed || open.is_none(), "nothing is open at the end", event)?;
                let rest = &events[at + 1..];
                rule(rest.iter().all(|(_, data)| data == "[DONE]"), "nothing follows", event)?;
                return Ok(!failed);
            }
            _ if at == 0 => return Err("no start".into()),
            "content-start" => {
                rule(open.is_none() && this == contents, "contents in turn", event)?;
                open = Some(("content", this));
                contents += 1;
            }
            "tool-call-start" => {
                rule(open.is_none() && this == calls, "calls in turn", event)?;
                open = Some(("tool-call", this));
                calls += 1;
            }
            "content-delta" => rule(open == Some(("content", this)), "of the open one", event)?,
            "tool-call-delta" => rule(open == Some(("tool-call", this)), "of the open one", event)?,
            "content-end" => rule(open.take() == Some(("content", this)), "it ends", event)?,
            "tool-call-end" => rule(open.take() == Some(("tool-call", this)), "it ends", event)?,
            "citation-start" => {
                rule(cited.is_none() && this == citations, "citations in turn", event)?;
                cited = Some(this);
                citations += 1;
            }
            "citation-end" => rule(cited.take() == Some(this), "it ends", event)?,
            _ => return rule(false, "known events", event).map(|()| false),
        }
    }
    Err("no end".into())
}

fn bedrock(events: &[Event]) -> Result<bool, String> {
    let (mut blocks, mut stopped) = (0_u64, false);
    for (at, event) in events.iter().enumerate() {
        let (name, data) = (&event.0[..], &event.1);
        let index = data["contentBlockIndex"].as_u64();
        let last = at + 1 == events.len();
        match name {
            _ if name.ends_with("Exception") && last => return Ok(false),
            "messageStart" => rule(at == 0, "the start is the first", event)?,
            _ if at == 0 => return Err("no start".into()),
            "contentBlockStart" | "contentBlockDelta" => {
                rule(!stopped && index == Some(blocks), "blocks in turn", event)?;
            }
            "contentBlockStop" => {
                rule(!stopped && index == Some(blocks), "the open block stops", event)?;
                blocks += 1;
            }
            "messageStop" => {
                rule(!stopped, "one reason", event)?;
                stopped = true;
            }
            "metadata" => {
                rule(stopped && last, "the usage is the last", event)?;
                return Ok(true);
            }
            _ => return rule(false, "known events", event).map(|()| false),
        }
    }
    Err("no end".into())
}
