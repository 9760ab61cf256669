//! The early end of a stream of a response: its last events repeat all that was said, so that the
//! outline keeps the response as it grows.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::responses_codec;
use crate::dialect::ir::write_object;
use crate::dialect::outline::Ending;

/// The most parts of one item.
const PARTS_MAX: usize = 1024;

/// What is known of a stream.
#[derive(Debug, Default)]
pub(in crate::dialect) struct Outline {
    response: Option<Value>,
    items: BTreeMap<u64, Item>,
    /// The number of the last event that the client has.
    sequence: Option<u64>,
    /// The latest event. The client does not get it if the stream ends here.
    latest: Vec<u8>,
}

#[derive(Debug, Default)]
struct Item {
    value: Value,
    done: bool,
    /// Parts that are not done, by the member they stand in and their number.
    open: Vec<(&'static str, usize)>,
}

impl Outline {
    /// Looks at an event; the one before it has been given to the client.
    pub fn event(&mut self, data: &[u8]) {
        let given = std::mem::replace(&mut self.latest, data.to_vec());
        self.given(&given);
    }

    /// What is not understood is not repeated at the end.
    fn given(&mut self, data: &[u8]) {
        let Ok(Value::Object(mut event)) = serde_json::from_slice(data) else { return };
        let Some(Value::String(kind)) = event.remove("type") else { return };
        self.sequence = event.get("sequence_number").and_then(Value::as_u64).or(self.sequence);
        match &*kind {
            "response.created" | "response.in_progress" | "response.queued" => {
                self.response = event.remove("response");
            }
            "response.output_item.added" | "response.output_item.done" => {
                let done = kind.ends_with("done");
                let value = event.remove("item").unwrap_or_default();
                self.items
                    .insert(number(&event, "output_index"), Item { value, done, open: Vec::new() });
            }
            _ => {
                if let Some(item) = self.items.get_mut(&number(&event, "output_index")) {
                    item.event(&kind, event);
                }
            }
        }
    }

    /// What is open is done, incomplete, and so is the response.
    pub fn end(&mut self, ending: Ending<'_>) -> Vec<u8> {
        let mut out = Out { bytes: Vec::new(), next: self.sequence.map_or(0, |number| number + 1) };
        for (index, item) in &mut self.items {
            item.end(*index, &mut out);
        }
        let mut response = self.response.take().unwrap_or_else(
            || json!({ "id": ending.request_id, "object": "response", "error": null }),
        );
        let mut usage = Vec::new();
        write_object(&mut usage, |out| responses_codec::usage_members(&ending.usage, out));
        response["status"] = "incomplete".into();
        response["incomplete_details"] = json!({ "reason": "max_output_tokens" });
        response["output"] = self.items.values().map(|item| item.value.clone()).collect();
        response["usage"] = serde_json::from_slice(&usage).unwrap_or_default();
        out.event("response.incomplete", json!({ "response": response }));
        out.bytes
    }
}

impl Item {
    fn event(&mut self, kind: &str, mut event: Map<String, Value>) {
        let delta = || event.get("delta").and_then(Value::as_str).unwrap_or_default();
        let content = number(&event, "content_index") as usize;
        let summary = number(&event, "summary_index") as usize;
        match kind {
            "response.output_text.delta" | "response.reasoning_text.delta" => {
                self.grow("content", content, "text", delta());
            }
            "response.refusal.delta" => self.grow("content", content, "refusal", delta()),
            "response.reasoning_summary_text.delta" => {
                self.grow("summary", summary, "text", delta());
            }
            "response.function_call_arguments.delta" | "response.mcp_call_arguments.delta" => {
                append(&mut self.value, "arguments", delta());
            }
            "response.custom_tool_call_input.delta" => append(&mut self.value, "input", delta()),
            "response.content_part.added" => self.add("content", content, event.remove("part")),
            "response.reasoning_summary_part.added" => {
                self.add("summary", summary, event.remove("part"));
            }
            "response.content_part.done" => self.close("content", content),
            "response.reasoning_summary_part.done" => self.close("summary", summary),
            "response.output_text.annotation.added" => {
                let note = event.remove("annotation").unwrap_or_default();
                if let Some(part) = self.part("content", content)
                    && let Some(Value::Array(notes)) = part.get_mut("annotations")
                {
                    notes.push(note);
                }
            }
            _ => {}
        }
    }

    fn part(&mut self, list: &str, at: usize) -> Option<&mut Value> {
        self.value.get_mut(list)?.get_mut(at)
    }

    fn add(&mut self, list: &'static str, at: usize, part: Option<Value>) {
        if !self.value.get(list).is_some_and(Value::is_array) {
            self.value[list] = json!([]);
        }
        let Some(Value::Array(parts)) = self.value.get_mut(list) else { return };
        if parts.len() == at && at < PARTS_MAX {
            parts.push(part.unwrap_or_default());
            self.open.push((list, at));
        }
    }

    fn grow(&mut self, list: &'static str, at: usize, member: &str, text: &str) {
        if let Some(part) = self.part(list, at) {
            append(part, member, text);
        }
    }

    fn close(&mut self, list: &str, at: usize) {
        self.open.retain(|open| *open != (list, at));
    }

    fn end(&mut self, index: u64, out: &mut Out) {
        if std::mem::replace(&mut self.done, true) {
            return;
        }
        let id = self.value.get("id").cloned().unwrap_or_default();
        for (list, at) in std::mem::take(&mut self.open) {
            let Some(part) = self.part(list, at).cloned() else { continue };
            part_done(out, &id, index, (list, at), &part);
        }
        let kind = self.value.get("type").and_then(Value::as_str).unwrap_or_default();
        if kind == "function_call" {
            let arguments = self.value.get("arguments").cloned().unwrap_or_default();
            let event = json!({ "item_id": id, "output_index": index, "arguments": arguments });
            out.event("response.function_call_arguments.done", event);
        }
        if self.value.get("status").is_some() {
            self.value["status"] = "incomplete".into();
        }
        let event = json!({ "output_index": index, "item": self.value });
        out.event("response.output_item.done", event);
    }
}

/// The end of a part: of its text, and of itself.
fn part_done(out: &mut Out, id: &Value, index: u64, (list, at): (&str, usize), part: &Value) {
    let place = |mut event: Value| {
        event["item_id"] = id.clone();
        event["output_index"] = index.into();
        event[if list == "summary" { "summary_index" } else { "content_index" }] = at.into();
        event
    };
    let text = |member: &str| part.get(member).cloned().unwrap_or_else(|| "".into());
    if list == "summary" {
        let event = place(json!({ "text": text("text") }));
        out.event("response.reasoning_summary_text.done", event);
        return out.event("response.reasoning_summary_part.done", place(json!({ "part": part })));
    }
    match part.get("type").and_then(Value::as_str) {
        Some("refusal") => {
            out.event("response.refusal.done", place(json!({ "refusal": text("refusal") })));
        }
        Some("reasoning_text") => {
            out.event("response.reasoning_text.done", place(json!({ "text": text("text") })));
        }
        _ => {
            let event = place(json!({ "text": text("text"), "logprobs": [] }));
            out.event("response.output_text.done", event);
        }
    }
    out.event("response.content_part.done", place(json!({ "part": part })));
}

/// Events, numbered.
struct Out {
    bytes: Vec<u8>,
    next: u64,
}

impl Out {
    fn event(&mut self, kind: &str, mut event: Value) {
        event["type"] = kind.into();
        event["sequence_number"] = self.next.into();
        self.next += 1;
        self.bytes.extend_from_slice(format!("event: {kind}\ndata: {event}\n\n").as_bytes());
    }
}

fn number(event: &Map<String, Value>, member: &str) -> u64 {
    event.get(member).and_then(Value::as_u64).unwrap_or(0)
}

fn append(value: &mut Value, member: &str, text: &str) {
    if let Some(Value::String(all)) = value.get_mut(member) {
        all.push_str(text);
    } else if let Some(object) = value.as_object_mut() {
        object.insert(member.to_owned(), text.into());
    }
}
