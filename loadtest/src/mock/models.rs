//! What single models refuse of requests that their provider's API has words for. Asked for with
//! `x-mock-strict`, like what the provider refuses of all.

use serde_json::{Map, Value};

use super::problem::Problem;
use super::route::Dialect;
use super::strict::{items, list, refuse};

/// Refuses what a model of this name would refuse.
pub(super) fn check(
    dialect: Dialect,
    model: &str,
    map: &Map<String, Value>,
) -> Result<(), Problem> {
    match dialect {
        Dialect::Anthropic => claude(model, &Claude::of_messages(map)),
        Dialect::Bedrock => claude(model, &Claude::of_converse(map)),
        Dialect::Gemini if model.starts_with("gemini-3") => signed_calls(map),
        Dialect::OpenAi if model.starts_with("deepseek") => deepseek(map),
        Dialect::OpenAi | Dialect::Gemini | Dialect::Cohere => Ok(()),
    }
}

/// What Anthropic's models look at, wherever it stands.
struct Claude {
    schema: Option<Value>,
    thinking: Option<String>,
    /// Which of its sampling parameters are given, by the names that Messages has for them.
    sampling: Vec<&'static str>,
    /// A tool has to be called.
    forced: bool,
}

impl Claude {
    fn of_messages(map: &Map<String, Value>) -> Self {
        let at = |name: &str| map.get(name).cloned().unwrap_or_default();
        let schema = at("output_config")["format"]["schema"].clone();
        Self {
            schema: Some(schema).filter(|schema| !schema.is_null()),
            thinking: at("thinking")["type"].as_str().map(ToOwned::to_owned),
            sampling: ["temperature", "top_p", "top_k"]
                .into_iter()
                .filter(|name| map.contains_key(*name))
                .collect(),
            forced: matches!(at("tool_choice")["type"].as_str(), Some("any" | "tool")),
        }
    }

    fn of_converse(map: &Map<String, Value>) -> Self {
        let at = |name: &str| map.get(name).cloned().unwrap_or_default();
        let (limits, more) = (at("inferenceConfig"), at("additionalModelRequestFields"));
        let schema = &at("outputConfig")["textFormat"]["structure"]["jsonSchema"]["schema"];
        let choice = at("toolConfig")["toolChoice"].clone();
        Self {
            schema: schema.as_str().map(|text| serde_json::from_str(text).unwrap_or_default()),
            thinking: more["thinking"]["type"].as_str().map(ToOwned::to_owned),
            sampling: [
                ("temperature", &limits["temperature"]),
                ("top_p", &limits["topP"]),
                ("top_k", &more["top_k"]),
            ]
            .into_iter()
            .filter_map(|(name, value)| (!value.is_null()).then_some(name))
            .collect(),
            forced: !choice["any"].is_null() || !choice["tool"].is_null(),
        }
    }
}

fn claude(model: &str, asked: &Claude) -> Result<(), Problem> {
    let of = |name: &str| model.contains(name);
    let old = of("claude-3") || of("nova");
    let newest = of("claude-sonnet-5");
    if let Some(schema) = &asked.schema {
        if old {
            return refuse("output_config", "This model does not support output format.");
        }
        if let Some(name) = not_followed(schema) {
            return refuse("output_config", format!("output_config.format.schema: {name}"));
        }
    }
    if newest && asked.thinking.as_deref().is_some_and(|kind| kind != "adaptive") {
        return refuse("thinking", "\"thinking.type.enabled\" is not supported for this model.");
    }
    if !newest && asked.thinking.as_deref() == Some("adaptive") {
        return refuse("thinking", "adaptive thinking is not supported on this model");
    }
    if newest && !asked.sampling.is_empty() {
        return refuse("temperature", "sampling parameters are not supported for this model");
    }
    let given = |name| asked.sampling.contains(&name);
    if of("claude-sonnet-4-5") && given("temperature") && given("top_p") {
        return refuse("top_p", "`temperature` and `top_p` cannot both be specified");
    }
    if of("claude-sonnet-5-5") && asked.forced {
        return refuse("tool_choice", "forced tool use is not supported for this model");
    }
    Ok(())
}

/// What of a schema cannot be followed to the letter.
fn not_followed(schema: &Value) -> Option<String> {
    match schema {
        Value::Array(items) => items.iter().find_map(not_followed),
        Value::Object(members) => {
            let open = members.get("additionalProperties") != Some(&Value::Bool(false));
            if schema["type"] == "object" && open {
                return Some("'additionalProperties' must be explicitly set to false".into());
            }
            let bounds = ["minimum", "maximum", "multipleOf", "minLength", "maxLength", "maxItems"];
            if let Some(name) = bounds.iter().find(|name| members.contains_key(**name)) {
                return Some(format!("property '{name}' is not supported"));
            }
            let named = |name: &str| schema[name].as_object().into_iter().flat_map(Map::values);
            ["items", "anyOf", "allOf"]
                .iter()
                .find_map(|name| not_followed(&schema[*name]))
                .or_else(|| {
                    ["properties", "$defs"].iter().flat_map(|n| named(n)).find_map(not_followed)
                })
        }
        _ => None,
    }
}

/// The first call of every turn has to have its signature.
fn signed_calls(map: &Map<String, Value>) -> Result<(), Problem> {
    for content in list(map, "contents") {
        let call = items(&content["parts"]).iter().find(|part| part.get("functionCall").is_some());
        if call.is_some_and(|part| part["thoughtSignature"].as_str().is_none_or(str::is_empty)) {
            let text = "Function call is missing a thought_signature in functionCall parts.";
            return refuse("contents", text);
        }
    }
    Ok(())
}

fn deepseek(map: &Map<String, Value>) -> Result<(), Problem> {
    if map.get("response_format").is_some_and(|format| format["type"] == "json_schema") {
        return refuse("response_format", "This response_format type is unavailable now");
    }
    if map.get("tool_choice").is_some_and(|choice| choice != "auto" && choice != "none") {
        return refuse("tool_choice", "Thinking mode does not support this tool_choice");
    }
    for message in list(map, "messages") {
        let calls = !items(&message["tool_calls"]).is_empty();
        if calls && !message["reasoning_content"].is_string() {
            let text =
                "The `reasoning_content` in the thinking mode must be passed back to the API.";
            return refuse("messages", text);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn says(dialect: Dialect, model: &str, body: &Value) -> Option<String> {
        let map = body.as_object().expect("an object");
        check(dialect, model, map).err().map(|problem| problem.message)
    }

    #[test]
    fn models_of_anthropic_refuse_what_they_do_not_have() {
        let refuses = |model: &str, body: &Value| says(Dialect::Anthropic, model, body).is_some();
        let schema = |schema: Value| json!({"output_config": {"format": {"schema": schema}}});
        let closed = schema(json!({"type": "object", "additionalProperties": false}));
        assert!(refuses("claude-3-5-haiku", &closed));
        assert!(!refuses("claude-sonnet-4-5", &closed));
        let open = json!({"type": "object", "additionalProperties": false,
            "properties": {"a": {"type": "object"}}});
        assert!(refuses("claude-sonnet-4-5", &schema(open)));
        let bound = json!({"type": "array", "items": {"minLength": 1}});
        assert!(refuses("claude-sonnet-4-5", &schema(bound)));
        let budget = json!({"thinking": {"type": "enabled"}});
        let adaptive = json!({"thinking": {"type": "adaptive"}});
        for (model, body, refused) in [
            ("claude-sonnet-5", &budget, true),
            ("claude-sonnet-5", &adaptive, false),
            ("claude-sonnet-4-5", &adaptive, true),
            ("claude-sonnet-5", &json!({"top_k": 1}), true),
            ("claude-sonnet-4-5", &json!({"temperature": 1, "top_p": 1}), true),
            ("claude-sonnet-4-5", &json!({"temperature": 1}), false),
            ("claude-sonnet-5-5", &json!({"tool_choice": {"type": "any"}}), true),
            ("claude-sonnet-5", &json!({"tool_choice": {"type": "any"}}), false),
        ] {
            assert_eq!(refuses(model, body), refused, "{model} {body}");
        }
        let forced = json!({"toolConfig": {"toolChoice": {"tool": {"name": "x"}}}});
        assert!(says(Dialect::Bedrock, "anthropic.claude-sonnet-5-5", &forced).is_some());
    }

    #[test]
    fn others_want_back_what_they_gave() {
        let call = json!({"contents": [{"parts": [{"functionCall": {}}]}]});
        assert!(says(Dialect::Gemini, "gemini-3-pro", &call).is_some());
        assert!(says(Dialect::Gemini, "gemini-2.5-pro", &call).is_none());
        let mut turn = json!({"messages": [{"tool_calls": [{}]}]});
        assert!(says(Dialect::OpenAi, "deepseek-chat", &turn).is_some());
        assert!(says(Dialect::OpenAi, "gpt-5", &turn).is_none());
        turn["messages"][0]["reasoning_content"] = json!("");
        assert!(says(Dialect::OpenAi, "deepseek-chat", &turn).is_none());
    }
}
