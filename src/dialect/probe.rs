//! Two things that are asked before, or without, a request that was understood: which format an
//! unknown path looks like, and what the smallest completion of a format is.

use bytes::Bytes;
use serde_json::json;

use super::{Adaptation, Dialect, Endpoint, Paths};
use crate::wire::fields::{Fields, Name};

/// The dialect of a request that is refused before its endpoint is known, so that the error has the
/// shape its SDK reads.
pub fn guess(path: &str, headers: &Fields) -> Dialect {
    if path.starts_with("/model/") {
        Dialect::Bedrock
    } else if path.starts_with("/v2/") {
        Dialect::Cohere
    } else if path.starts_with("/v1beta/") || headers.contains(Name::XGoogApiKey) {
        Dialect::Gemini
    } else if path.starts_with("/v1/messages") || headers.contains(Name::AnthropicVersion) {
        Dialect::Anthropic
    } else {
        Dialect::OpenAi
    }
}

/// A completion of one token: path and query, and body, for a server that has its endpoints at
/// `paths` and wants what `adaptation` says.
pub fn one_token(
    dialect: Dialect,
    paths: &Paths,
    adaptation: Option<&Adaptation>,
    model: &str,
) -> (String, Bytes) {
    let messages = json!([{ "role": "user", "content": "ping" }]);
    let (endpoint, path, body) = match dialect {
        Dialect::OpenAi => (
            Endpoint::ChatCompletions,
            "/chat/completions".to_owned(),
            json!({ "model": model, "messages": messages, "max_tokens": 1 }),
        ),
        Dialect::Anthropic => (
            Endpoint::Messages,
            "/v1/messages".to_owned(),
            json!({ "model": model, "messages": messages, "max_tokens": 1 }),
        ),
        Dialect::Gemini => (
            Endpoint::GenerateContent,
            format!("/v1beta/models/{model}:generateContent"),
            json!({
                "contents": [{ "role": "user", "parts": [{ "text": "ping" }] }],
                "generationConfig": { "maxOutputTokens": 1 },
            }),
        ),
        Dialect::Cohere => (
            Endpoint::CohereChat,
            "/v2/chat".to_owned(),
            json!({ "model": model, "messages": messages, "max_tokens": 1 }),
        ),
        Dialect::Bedrock => (
            Endpoint::Converse,
            format!("/model/{model}/converse"),
            json!({
                "messages": [{ "role": "user", "content": [{ "text": "ping" }] }],
                "inferenceConfig": { "maxTokens": 1 },
            }),
        ),
    };
    let body = Bytes::from(body.to_string());
    let adapted = adaptation.and_then(|adaptation| adaptation.of(endpoint, model, &body));
    let body = adapted.map_or(body.clone(), |adapted| adapted.applied(&body));
    let path = paths
        .template(endpoint, false)
        .map_or_else(|| format!("{}{path}", paths.base), |template| template.fill(model, &path));
    (path, body)
}
