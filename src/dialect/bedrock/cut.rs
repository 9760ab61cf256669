//! The early end of a stream of Converse.

use super::codec::Encoder;
use crate::dialect::outline::{Ending, last_events};
use crate::wire::eventstream::{self, Message};
use crate::wire::json;

/// What is known of a stream.
#[derive(Debug, Default)]
pub(in crate::dialect) struct Outline {
    /// The block that is open. That of a text begins with its first delta.
    open: Option<u64>,
}

impl Outline {
    /// Looks at a message.
    pub fn message(&mut self, message: &Message<'_>) {
        let index = json::find(message.payload, &["contentBlockIndex"]);
        match message.event_type() {
            Some("contentBlockStart" | "contentBlockDelta") => {
                self.open = index.and_then(|index| index.as_u64());
            }
            Some("contentBlockStop") => self.open = None,
            _ => {}
        }
    }

    /// The end of the block that is open, and of the message.
    pub fn end(&mut self, ending: Ending<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        if let Some(index) = self.open.take() {
            let headers = [
                (":event-type", "contentBlockStop"),
                (":content-type", "application/json"),
                (":message-type", "event"),
            ];
            let mut payload = Vec::new();
            json::write_object(&mut payload, |event| event.number("contentBlockIndex", index));
            out.extend_from_slice(&eventstream::encode(&headers, &payload));
        }
        let mut encoder = Encoder::default();
        last_events(ending.usage, |event, loss| encoder.event(event, &mut out, loss));
        out
    }
}
