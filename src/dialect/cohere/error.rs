//! Errors as Cohere sends them.

use serde_json::{Value, json};

use crate::error::Error;

/// `{"id","message"}`
pub(in crate::dialect) fn body(error: &Error, request_id: &str) -> Value {
    json!({ "id": request_id, "message": error.public })
}

/// The event that ends a stream: the message ends, and ends in an error.
pub(in crate::dialect) fn event(error: &Error) -> String {
    let event = json!({
        "type": "message-end",
        "delta": { "error": error.public, "finish_reason": "ERROR" },
    });
    format!("event: message-end\ndata: {event}\n\n")
}
