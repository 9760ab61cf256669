//! Errors as Anthropic sends them.

use serde_json::{Value, json};

use crate::error::{Error, Kind};

/// `{"type":"error","error":{"type","message"},"request_id"}`
pub(in crate::dialect) fn body(error: &Error, request_id: &str) -> Value {
    json!({
        "type": "error",
        "error": { "type": kind(error.kind), "message": error.public },
        "request_id": request_id,
    })
}

/// The event that ends a stream.
pub(in crate::dialect) fn event(error: &Error, request_id: &str) -> String {
    format!("event: error\ndata: {}\n\n", body(error, request_id))
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::BadRequest
        | Kind::UpstreamRejected
        | Kind::NotExpressible
        | Kind::MethodNotAllowed
        | Kind::HeadTooLarge => "invalid_request_error",
        Kind::Unauthorized => "authentication_error",
        Kind::Forbidden => "permission_error",
        Kind::NotFound => "not_found_error",
        Kind::BodyTooLarge => "request_too_large",
        Kind::RateLimited | Kind::UpstreamRateLimited => "rate_limit_error",
        Kind::BudgetSpent => "billing_error",
        Kind::Overloaded | Kind::NoTarget | Kind::Draining => "overloaded_error",
        Kind::RequestTimeout
        | Kind::UpstreamConnectTimeout
        | Kind::FirstTokenTimeout
        | Kind::InterTokenTimeout
        | Kind::TotalTimeout => "timeout_error",
        _ => "api_error",
    }
}
