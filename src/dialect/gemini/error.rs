//! Errors as Google's APIs send them (`google.rpc.Status` in JSON).

use serde_json::{Value, json};

use crate::error::{Error, Kind};

/// `{"error":{"code","message","status"}}`, with the details from which the clients learn when to
/// come back.
pub(in crate::dialect) fn body(error: &Error) -> Value {
    let mut status = json!({
        "code": error.kind.status(),
        "message": error.public,
        "status": status(error.kind),
    });
    if let Some(after) = error.retry_after {
        status["details"] = json!([{
            "@type": "type.googleapis.com/google.rpc.RetryInfo",
            "retryDelay": format!("{}s", after.as_secs_f64().ceil()),
        }]);
    }
    json!({ "error": status })
}

/// The event that ends a stream. `google-genai` raises what begins with an `error` member.
pub(in crate::dialect) fn event(error: &Error) -> String {
    format!("data: {}\r\n\r\n", body(error))
}

/// The name of the `google.rpc.Code` that goes with a status.
fn status(kind: Kind) -> &'static str {
    match kind.status() {
        400 | 413 | 431 => "INVALID_ARGUMENT",
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        405 => "UNIMPLEMENTED",
        408 | 504 => "DEADLINE_EXCEEDED",
        429 => "RESOURCE_EXHAUSTED",
        499 => "CANCELLED",
        500 => "INTERNAL",
        _ => "UNAVAILABLE",
    }
}
