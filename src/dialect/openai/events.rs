//! Streams of typed events: responses, transcriptions, speech and images, and the events of the
//! realtime socket.

use super::super::StreamError;
use super::super::observe::Frame;
use super::super::text::TextKind;
use super::usage::usage;
use crate::wire::json::{Value, lazy};

/// The members of an event that are read, whatever its type.
#[derive(Default)]
struct Event<'d> {
    kind: &'d [u8],
    output_index: u64,
    content_index: u64,
    delta: Option<Value<'d>>,
    item: Option<Value<'d>>,
    response: Option<Value<'d>>,
    usage: Option<Value<'d>>,
    error: Option<Value<'d>>,
}

/// Reads one event. Of a member that occurs twice the first counts, as it does where streams are
/// translated.
pub(in crate::dialect) fn read<'d>(name: Option<&'d [u8]>, data: &'d [u8], frame: &mut Frame<'_>) {
    if data == b"[DONE]" {
        return frame.terminal();
    }
    let mut event = Event::default();
    let (mut kind, mut output, mut content) = (None, None, None);
    frame.members(data, |frame, key, value| {
        let place = match key {
            b"type" => &mut kind,
            b"output_index" => &mut output,
            b"content_index" | b"summary_index" => &mut content,
            b"delta" => &mut event.delta,
            b"item" => &mut event.item,
            b"response" => &mut event.response,
            b"usage" => &mut event.usage,
            b"error" => &mut event.error,
            b"sequence_number" => return frame.sequence_number(value),
            _ => return,
        };
        *place = place.or(Some(value));
    });
    let number = |value: Option<Value<'_>>| value.and_then(|value| value.as_u64()).unwrap_or(0);
    event.kind = kind.and_then(|kind| kind.contents()).or(name).unwrap_or_default();
    (event.output_index, event.content_index) = (number(output), number(content));
    event.error = event.error.filter(|error| !error.is_null());
    note(&event, data, frame);
}

fn note(event: &Event<'_>, data: &[u8], frame: &mut Frame<'_>) {
    match event.kind {
        b"error" => frame.error(StreamError::from_value(event.error.unwrap_or(lazy(data)))),
        b"response.created" | b"response.queued" | b"response.in_progress" => {
            if let Some(model) = event.response.and_then(|response| response.get("model")) {
                frame.model(model);
            }
        }
        b"response.completed"
        | b"response.incomplete"
        | b"response.failed"
        | b"response.cancelled" => {
            ended(event, frame);
            frame.terminal();
        }
        // The realtime socket stays open for the next response.
        b"response.done" => ended(event, frame),
        b"transcript.text.done"
        | b"speech.audio.done"
        | b"image_generation.completed"
        | b"image_edit.completed" => {
            frame.content();
            if let Some(used) = event.usage.and_then(usage) {
                frame.usage(used, true);
            }
            frame.terminal();
        }
        b"response.output_item.added" => {
            let kind = event.item.and_then(|item| item.get("type"));
            let envelope =
                kind.is_some_and(|kind| matches!(kind.raw(), b"\"message\"" | b"\"reasoning\""));
            if !envelope {
                frame.content();
            }
        }
        b"response.content_part.added"
        | b"response.reasoning_summary_part.added"
        | b"keepalive" => {}
        kind if kind.ends_with(b".delta") => delta(kind, event, frame),
        kind if kind.starts_with(b"session.") || kind.starts_with(b"conversation.") => {}
        [] => {
            if let Some(error) = event.error {
                frame.error(StreamError::from_value(error));
            }
        }
        _ => frame.content(),
    }
}

fn delta(kind: &[u8], event: &Event<'_>, frame: &mut Frame<'_>) {
    let text = match kind {
        b"response.output_text.delta"
        | b"response.text.delta"
        | b"response.audio_transcript.delta"
        | b"response.audio.transcript.delta"
        | b"response.output_audio_transcript.delta"
        | b"transcript.text.delta" => Some(TextKind::Text),
        b"response.refusal.delta" => Some(TextKind::Refusal),
        b"response.function_call_arguments.delta"
        | b"response.custom_tool_call_input.delta"
        | b"response.mcp_call_arguments.delta"
        | b"response.code_interpreter_call_code.delta" => Some(TextKind::Tool),
        b"response.reasoning_text.delta" | b"response.reasoning_summary_text.delta" => {
            Some(TextKind::Reasoning)
        }
        _ => None,
    };
    match (text, event.delta) {
        (Some(text), Some(delta)) => {
            frame.text(event.output_index, text, event.content_index, delta);
        }
        _ => frame.content(),
    }
}

/// The last event of a response, which repeats all of it.
fn ended(event: &Event<'_>, frame: &mut Frame<'_>) {
    let mut failed = event.kind == b"response.failed";
    let (mut model, mut status, mut used, mut cause) = (None, None, None, None);
    for member in event.response.iter().flat_map(Value::members) {
        let place = match member.key {
            b"model" => &mut model,
            b"status" => &mut status,
            b"usage" => &mut used,
            b"error" => &mut cause,
            _ => continue,
        };
        *place = place.or(Some(member.value));
    }
    if let Some(model) = model {
        frame.model(model);
    }
    if let Some(status) = status {
        failed |= status.raw() == b"\"failed\"";
        if !failed {
            frame.finish_reason(status);
        }
    }
    if let Some(used) = used.and_then(usage) {
        frame.add_usage(used);
    }
    let error = cause.filter(|cause: &Value<'_>| !cause.is_null()).or(event.error);
    if failed {
        frame.error(match error {
            Some(error) => StreamError::from_value(error),
            None => StreamError::new("The response failed.", None, None),
        });
    } else {
        frame.content();
    }
}
