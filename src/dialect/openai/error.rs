//! Errors as `OpenAI` sends them.

use serde_json::{Value, json};

use super::super::Endpoint;
use crate::error::{Error, Kind};

/// `{"error":{"message","type","param","code"}}`
pub(in crate::dialect) fn body(endpoint: Endpoint, error: &Error) -> Value {
    json!({ "error": object(endpoint, error) })
}

/// The events that end a stream.
///
/// Chat streams end with the error, which the SDKs raise, and the usual mark. Typed streams end with
/// an `error` event; its members stand where the documentation has them and once more under
/// `error`, where the SDKs look.
pub(in crate::dialect) fn events(
    endpoint: Endpoint,
    error: &Error,
    sequence_number: Option<u64>,
) -> String {
    if matches!(endpoint, Endpoint::ChatCompletions | Endpoint::Completions) {
        return format!("data: {}\n\ndata: [DONE]\n\n", body(endpoint, error));
    }
    let object = object(endpoint, error);
    let event = json!({
        "type": "error",
        "code": object["code"],
        "message": object["message"],
        "param": object["param"],
        "sequence_number": sequence_number.map_or(0, |last| last.saturating_add(1)),
        "error": object,
    });
    format!("event: error\ndata: {event}\n\n")
}

fn object(endpoint: Endpoint, error: &Error) -> Value {
    let (kind, code) = words(endpoint, error);
    json!({ "message": error.public, "type": kind, "param": error.param, "code": code })
}

/// The type and the code of an error.
fn words(endpoint: Endpoint, error: &Error) -> (&'static str, Option<&'static str>) {
    const REQUEST: &str = "invalid_request_error";
    match error.kind {
        Kind::BadRequest | Kind::UpstreamRejected | Kind::NotExpressible => (REQUEST, None),
        Kind::Unauthorized => (REQUEST, Some("invalid_api_key")),
        Kind::Forbidden => ("permission_error", Some("insufficient_permissions")),
        Kind::NotFound if error.param.as_deref() == Some("model") => {
            (REQUEST, Some("model_not_found"))
        }
        Kind::NotFound if endpoint == Endpoint::Models => (REQUEST, Some("model_not_found")),
        Kind::NotFound => (REQUEST, Some("unknown_url")),
        Kind::MethodNotAllowed => (REQUEST, Some("method_not_supported")),
        Kind::BodyTooLarge => (REQUEST, Some("request_too_large")),
        Kind::HeadTooLarge => (REQUEST, Some("headers_too_large")),
        Kind::RateLimited | Kind::UpstreamRateLimited => ("requests", Some("rate_limit_exceeded")),
        Kind::BudgetSpent => ("insufficient_quota", Some("insufficient_quota")),
        other => ("server_error", Some(other.as_str())),
    }
}
