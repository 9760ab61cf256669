//! Two things that are asked before, or without, a request that was understood: which format an
//! unknown path looks like, and what the smallest completion of a format is.

use bytes::Bytes;
use http::HeaderMap;
use serde_json::json;

use super::Dialect;

/// The dialect of a request that is refused before its endpoint is known, so that the error has the
/// shape its SDK reads.
pub fn guess(path: &str, headers: &HeaderMap) -> Dialect {
    if path.starts_with("/model/") {
        Dialect::Bedrock
    } else if path.starts_with("/v2/") {
        Dialect::Cohere
    } else if path.starts_with("/v1beta/") || headers.contains_key("x-goog-api-key") {
        Dialect::Gemini
    } else if path.starts_with("/v1/messages") || headers.contains_key("anthropic-version") {
        Dialect::Anthropic
    } else {
        Dialect::OpenAi
    }
}

/// A completion of one token: path below `base_path`, and body.
pub fn one_token(dialect: Dialect, base_path: &str, model: &str) -> (String, Bytes) {
    let messages = json!([{ "role": "user", "content": "ping" }]);
    let (path, body) = match dialect {
        Dialect::OpenAi => (
            "/chat/completions".to_owned(),
            json!({ "model": model, "messages": messages, "max_tokens": 1 }),
        ),
        Dialect::Anthropic => (
            "/v1/messages".to_owned(),
            json!({ "model": model, "messages": messages, "max_tokens": 1 }),
        ),
        Dialect::Gemini => (
            format!("/v1beta/models/{model}:generateContent"),
            json!({
                "contents": [{ "role": "user", "parts": [{ "text": "ping" }] }],
                "generationConfig": { "maxOutputTokens": 1 },
            }),
        ),
        Dialect::Cohere => (
            "/v2/chat".to_owned(),
            json!({ "model": model, "messages": messages, "max_tokens": 1 }),
        ),
        Dialect::Bedrock => (
            format!("/model/{model}/converse"),
            json!({
                "messages": [{ "role": "user", "content": [{ "text": "ping" }] }],
                "inferenceConfig": { "maxTokens": 1 },
            }),
        ),
    };
    (format!("{base_path}{path}"), Bytes::from(body.to_string()))
}
