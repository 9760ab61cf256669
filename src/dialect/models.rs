//! The list of models, in the shape of the client that asks for it.

use bytes::Bytes;
use serde_json::{Value, json};

use super::call::{GET, Place};
use super::{Dialect, Endpoint};

/// Where `{version}/models` and `{version}/models/{model}` belong.
pub(super) fn place_below<'a>(dialect: Dialect, tail: &'a str, version: &str) -> Option<Place<'a>> {
    let below = tail.strip_prefix(version)?;
    if below != "/models" && below.strip_prefix("/models/").is_none_or(str::is_empty) {
        return None;
    }
    Some(place(dialect, tail))
}

/// The same for a tail that is known to be one of the two.
pub(super) fn place(dialect: Dialect, tail: &str) -> Place<'_> {
    const SEGMENT: &str = "/models/";
    let place = Place::get(dialect, Endpoint::Models, tail).under(GET);
    match tail.find(SEGMENT) {
        Some(at) => place.model_at(at + SEGMENT.len()..tail.len()),
        None => place,
    }
}

/// The answer to `GET …/models`, or to `GET …/models/{path_model}`: `None` when there is no such
/// model.
pub fn models_list(dialect: Dialect, models: &[&str], path_model: Option<&str>) -> Option<Bytes> {
    let body = match path_model {
        Some(asked) => {
            let name = models.iter().find(|name| **name == asked)?;
            entry(dialect, name)
        }
        None => list(dialect, models),
    };
    Some(Bytes::from(body.to_string()))
}

fn list(dialect: Dialect, models: &[&str]) -> Value {
    let entries: Vec<Value> = models.iter().map(|name| entry(dialect, name)).collect();
    match dialect {
        Dialect::OpenAi => json!({ "object": "list", "data": entries }),
        Dialect::Anthropic => json!({
            "data": entries,
            "first_id": models.first(),
            "last_id": models.last(),
            "has_more": false,
        }),
        Dialect::Gemini | Dialect::Cohere => json!({ "models": entries }),
        Dialect::Bedrock => json!({ "modelSummaries": entries }),
    }
}

/// One model. weir does not know when a model was made, so every time here is the epoch.
fn entry(dialect: Dialect, name: &str) -> Value {
    match dialect {
        Dialect::OpenAi => {
            json!({ "id": name, "object": "model", "created": 0, "owned_by": "weir" })
        }
        Dialect::Anthropic => json!({
            "type": "model",
            "id": name,
            "display_name": name,
            "created_at": "1970-01-01T00:00:00Z",
        }),
        Dialect::Gemini => json!({
            "name": format!("models/{name}"),
            "displayName": name,
            "supportedGenerationMethods":
                ["generateContent", "streamGenerateContent", "countTokens", "embedContent"],
        }),
        Dialect::Cohere => json!({ "name": name, "endpoints": ["chat", "embed", "rerank"] }),
        Dialect::Bedrock => json!({ "modelId": name, "modelName": name }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(dialect: Dialect, path_model: Option<&str>) -> Option<Value> {
        let body = models_list(dialect, &["gpt-4o", "org/llama \"8b\""], path_model)?;
        Some(serde_json::from_slice(&body).expect("is JSON"))
    }

    #[test]
    fn each_dialect_has_its_own_list() {
        let openai = parsed(Dialect::OpenAi, None).expect("a list");
        assert_eq!(openai["object"], "list");
        assert_eq!(openai["data"][1]["id"], "org/llama \"8b\"");
        let anthropic = parsed(Dialect::Anthropic, None).expect("a list");
        assert_eq!(anthropic["first_id"], "gpt-4o");
        assert_eq!(anthropic["has_more"], false);
        let gemini = parsed(Dialect::Gemini, None).expect("a list");
        assert_eq!(gemini["models"][0]["name"], "models/gpt-4o");
        let cohere = parsed(Dialect::Cohere, None).expect("a list");
        assert_eq!(cohere["models"][0]["name"], "gpt-4o");
    }

    #[test]
    fn one_model_or_none() {
        let one = parsed(Dialect::Gemini, Some("gpt-4o")).expect("is there");
        assert_eq!(one["name"], "models/gpt-4o");
        assert!(parsed(Dialect::OpenAi, Some("gpt-5")).is_none());
    }

    #[test]
    fn an_empty_list_is_a_list() {
        let body = models_list(Dialect::Anthropic, &[], None).expect("a list");
        let list: Value = serde_json::from_slice(&body).expect("is JSON");
        assert_eq!(list["first_id"], Value::Null);
        assert_eq!(list["data"], json!([]));
    }
}
