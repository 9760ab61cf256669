//! The early end of a stream of the second chat API.

use super::codec::Encoder;
use crate::dialect::outline::{Ending, last_events};
use crate::wire::json;

/// What is known of a stream.
#[derive(Debug, Default)]
pub(in crate::dialect) struct Outline {
    /// What is open, one within the other, each by the event that closes it and its number.
    open: Vec<(&'static str, u64)>,
}

impl Outline {
    /// Looks at an event.
    pub fn event(&mut self, data: &[u8]) {
        let event = json::lazy(data);
        let index = event.get("index").and_then(|index| index.as_u64()).unwrap_or(0);
        let closes = match event.get("type").and_then(|kind| kind.contents()).unwrap_or_default() {
            b"content-start" => return self.open.push(("content-end", index)),
            b"tool-call-start" => return self.open.push(("tool-call-end", index)),
            b"citation-start" => return self.open.push(("citation-end", index)),
            b"content-end" => "content-end",
            b"tool-call-end" => "tool-call-end",
            b"citation-end" => "citation-end",
            _ => return,
        };
        self.open.retain(|open| *open != (closes, index));
    }

    /// The end of what is open, and of the message.
    pub fn end(&mut self, ending: Ending<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        for (kind, index) in self.open.drain(..).rev() {
            out.extend_from_slice(b"event: ");
            out.extend_from_slice(kind.as_bytes());
            out.extend_from_slice(b"\ndata: ");
            json::write_object(&mut out, |event| {
                event.text("type", kind);
                event.number("index", index);
            });
            out.extend_from_slice(b"\n\n");
        }
        let mut encoder = Encoder::new(ending.request_id);
        last_events(ending.usage, |event, loss| encoder.event(event, &mut out, loss));
        out
    }
}
