//! The early end of a stream of messages.

use super::codec::Encoder;
use crate::dialect::outline::{Ending, last_events};
use crate::wire::json;

/// What is known of a stream.
#[derive(Debug, Default)]
pub(in crate::dialect) struct Outline {
    /// The block that is open.
    open: Option<u64>,
}

impl Outline {
    /// Looks at an event.
    pub fn event(&mut self, data: &[u8]) {
        let event = json::lazy(data);
        let kind = event.get("type").and_then(|kind| kind.contents()).unwrap_or_default();
        match kind {
            b"content_block_start" => {
                self.open = event.get("index").and_then(|index| index.as_u64());
            }
            b"content_block_stop" => self.open = None,
            _ => {}
        }
    }

    /// The end of the block that is open, and of the message.
    pub fn end(&mut self, ending: Ending<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        if let Some(index) = self.open.take() {
            out.extend_from_slice(b"event: content_block_stop\ndata: ");
            json::write_object(&mut out, |event| {
                event.text("type", "content_block_stop");
                event.number("index", index);
            });
            out.extend_from_slice(b"\n\n");
        }
        let mut encoder = Encoder::new(ending.request_id);
        last_events(ending.usage, |event, loss| encoder.event(event, &mut out, loss));
        out
    }
}
