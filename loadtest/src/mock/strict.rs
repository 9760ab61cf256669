//! What a provider refuses beyond what an answer needs: members that its chat API does not have, turns
//! in an order that it does not take, results of calls that were not made. Asked for with
//! `x-mock-strict`, by tests of clients and proxies that are to write requests as documented.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::json::Object;
use super::problem::Problem;
use super::route::{Dialect, Endpoint};

/// The members of a request that the provider knows, separated by spaces. `None` for an endpoint whose
/// requests are not looked at.
pub fn members(endpoint: Endpoint) -> Option<&'static str> {
    Some(match endpoint {
        Endpoint::ChatCompletions => {
            "audio frequency_penalty logit_bias logprobs max_completion_tokens max_tokens messages \
             metadata modalities model n parallel_tool_calls prediction presence_penalty \
             prompt_cache_key prompt_cache_retention reasoning_effort response_format \
             safety_identifier seed service_tier stop store stream stream_options temperature \
             tool_choice tools top_logprobs top_p user verbosity web_search_options"
        }
        Endpoint::Responses => {
            "background conversation include input instructions max_output_tokens max_tool_calls \
             metadata model parallel_tool_calls previous_response_id prompt prompt_cache_key \
             prompt_cache_retention reasoning safety_identifier service_tier store stream \
             stream_options temperature text tool_choice tools top_logprobs top_p truncation user"
        }
        Endpoint::Messages => {
            "cache_control container context_management inference_geo max_tokens mcp_servers \
             messages metadata model output_config service_tier stop_sequences stream system \
             temperature thinking tool_choice tools top_k top_p"
        }
        Endpoint::GenerateContent | Endpoint::StreamGenerateContent => {
            "cachedContent contents generationConfig labels model safetySettings store \
             systemInstruction toolConfig tools"
        }
        Endpoint::CohereChat => {
            "citation_options documents frequency_penalty k logprobs max_tokens messages model p \
             presence_penalty priority raw_prompting response_format safety_mode seed \
             stop_sequences stream strict_tools temperature thinking tool_choice tools"
        }
        Endpoint::Converse | Endpoint::ConverseStream => {
            "additionalModelRequestFields additionalModelResponseFieldPaths guardrailConfig \
             inferenceConfig messages outputConfig performanceConfig promptVariables \
             requestMetadata serviceTier system toolConfig"
        }
        Endpoint::Embeddings => "dimensions encoding_format input model user",
        Endpoint::EmbedContent => EMBED_CONTENT,
        Endpoint::BatchEmbedContents => "requests",
        Endpoint::CohereEmbed => {
            "embedding_types images input_type inputs max_tokens model output_dimension priority \
             texts truncate"
        }
        Endpoint::InvokeModel => {
            "dimensions embedding_types embeddingTypes images input_type inputText inputs \
             max_tokens normalize output_dimension texts truncate"
        }
        Endpoint::Rerank => "documents model query return_documents top_n",
        Endpoint::CohereRerank => "documents max_tokens_per_doc model priority query top_n",
        _ => return None,
    })
}

const EMBED_CONTENT: &str = "content model outputDimensionality taskType title";

/// Refuses what the provider would refuse.
pub(super) fn check(endpoint: Endpoint, object: Object<'_>) -> Result<(), Problem> {
    let Some(known) = members(endpoint) else { return Ok(()) };
    let dialect = endpoint.dialect();
    if let Some(name) = object.map.keys().find(|name| known.split(' ').all(|it| it != *name)) {
        return Err(Problem::invalid(name, unknown(dialect, name)));
    }
    match endpoint {
        Endpoint::ChatCompletions | Endpoint::CohereChat => chat(object.map),
        Endpoint::Responses => responses(object.map),
        Endpoint::Messages => anthropic(object.map),
        Endpoint::GenerateContent | Endpoint::StreamGenerateContent => gemini(object.map),
        Endpoint::Converse | Endpoint::ConverseStream => bedrock(object.map),
        Endpoint::BatchEmbedContents => batch(object.map),
        _ => Ok(()),
    }
}

/// Every request of a batch names the model, and has what a request of its own has.
fn batch(map: &Map<String, Value>) -> Result<(), Problem> {
    for request in list(map, "requests") {
        let Some(request) = request.as_object() else {
            return refuse("requests", "a request is no object");
        };
        if !request.get("model").and_then(Value::as_str).is_some_and(|m| m.starts_with("models/")) {
            return refuse("requests[].model", "unexpected model name format");
        }
        if let Some(name) =
            request.keys().find(|name| EMBED_CONTENT.split(' ').all(|it| it != *name))
        {
            return refuse(name, unknown(Dialect::Gemini, name));
        }
    }
    Ok(())
}

fn unknown(dialect: Dialect, name: &str) -> String {
    match dialect {
        Dialect::OpenAi => format!("Unknown parameter: '{name}'."),
        Dialect::Anthropic => format!("{name}: Extra inputs are not permitted"),
        Dialect::Gemini => {
            format!("Invalid JSON payload received. Unknown name \"{name}\": Cannot find field.")
        }
        Dialect::Cohere => format!("invalid request: unknown field {name}"),
        Dialect::Bedrock => format!("Unknown parameter in input: \"{name}\""),
    }
}

pub(super) fn list<'a>(map: &'a Map<String, Value>, name: &str) -> &'a [Value] {
    map.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

pub(super) fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Whether a signature is another provider's, which a gateway has wrapped in a text of its own.
fn is_wrapped(signature: &str) -> bool {
    signature.starts_with("d2VpcjE6")
}

pub(super) fn refuse<T>(param: &str, message: impl Into<String>) -> Result<T, Problem> {
    Err(Problem::invalid(param, message))
}

/// Calls that wait for their results, which have to come next.
#[derive(Default)]
struct Calls<'a>(BTreeSet<&'a str>);

impl<'a> Calls<'a> {
    fn called(&mut self, id: &'a Value) -> Result<(), Problem> {
        match id.as_str().filter(|id| !id.is_empty() && id.len() <= 64) {
            Some(id) => {
                self.0.insert(id);
                Ok(())
            }
            None => refuse("messages", "a tool call has no id, or one that is too long"),
        }
    }

    fn answered(&mut self, id: &Value) -> Result<(), Problem> {
        if self.0.remove(id.as_str().unwrap_or_default()) {
            return Ok(());
        }
        refuse("messages", format!("a tool result answers no call: {id}"))
    }

    fn none_waits(&self) -> Result<(), Problem> {
        match self.0.first() {
            None => Ok(()),
            Some(id) => refuse("messages", format!("no tool output found for the call {id}")),
        }
    }
}

fn chat(map: &Map<String, Value>) -> Result<(), Problem> {
    let mut calls = Calls::default();
    for message in list(map, "messages") {
        if message["role"] == "tool" {
            calls.answered(&message["tool_call_id"])?;
            continue;
        }
        calls.none_waits()?;
        for call in items(&message["tool_calls"]) {
            calls.called(&call["id"])?;
            let arguments = call["function"]["arguments"].as_str();
            if arguments.is_none_or(|text| serde_json::from_str::<Value>(text).is_err()) {
                return refuse("messages", "the arguments of a tool call are no JSON");
            }
        }
        if message["content"].is_null() && items(&message["tool_calls"]).is_empty() {
            return refuse("messages", "a message without content");
        }
    }
    calls.none_waits()
}

fn responses(map: &Map<String, Value>) -> Result<(), Problem> {
    let mut calls = Calls::default();
    for item in list(map, "input") {
        match item["type"].as_str() {
            Some("function_call") => calls.called(&item["call_id"])?,
            Some("function_call_output") => calls.answered(&item["call_id"])?,
            Some("item_reference") => {
                return refuse("input", format!("Item with id {} not found.", item["id"]));
            }
            Some("reasoning") if item["encrypted_content"].as_str().is_none_or(is_wrapped) => {
                return refuse("input", "The encrypted content could not be verified.");
            }
            Some("message") | None => {
                let assistant = item["role"] == "assistant";
                for part in items(&item["content"]) {
                    let kind = part["type"].as_str().unwrap_or_default();
                    let fits = if assistant {
                        matches!(kind, "output_text" | "refusal")
                    } else {
                        kind.starts_with("input_")
                    };
                    if !fits {
                        return refuse("input", format!("Invalid value: '{kind}'."));
                    }
                }
            }
            Some(_) => {}
        }
    }
    for tool in list(map, "tools") {
        if tool["type"] == "function" && !tool["name"].is_string() {
            return refuse("tools", "Missing required parameter: 'tools[0].name'.");
        }
    }
    calls.none_waits()
}

fn anthropic(map: &Map<String, Value>) -> Result<(), Problem> {
    let mut calls = Calls::default();
    let plain = |id: &Value| {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        id.as_str().is_some_and(|id| id.chars().all(plain))
    };
    for message in list(map, "messages") {
        let user = message["role"] == "user";
        let mut others = false;
        for block in items(&message["content"]) {
            match block["type"].as_str() {
                Some("tool_result") if user && !others => calls.answered(&block["tool_use_id"])?,
                Some("tool_result") => {
                    return refuse("messages", "tool_result blocks come first in a user turn");
                }
                Some("tool_use") if !user && plain(&block["id"]) && block["input"].is_object() => {
                    calls.called(&block["id"])?;
                }
                Some("tool_use") => return refuse("messages", "an invalid tool_use block"),
                Some("text") if block["text"] == "" => {
                    return refuse("messages", "text content blocks must be non-empty");
                }
                Some("thinking") if block["signature"].as_str().is_none_or(str::is_empty) => {
                    return refuse("messages", "thinking.signature: Field required");
                }
                Some("thinking") if block["signature"].as_str().is_some_and(is_wrapped) => {
                    return refuse("messages", "Invalid `signature` in `thinking` block");
                }
                _ => others = true,
            }
        }
        if user {
            calls.none_waits()?;
        }
    }
    let budget = map.get("thinking").and_then(|thinking| thinking["budget_tokens"].as_u64());
    if let Some(budget) = budget {
        let max = map.get("max_tokens").and_then(Value::as_u64).unwrap_or(0);
        if budget < 1024 || budget >= max {
            return refuse("thinking", "max_tokens must be greater than thinking.budget_tokens");
        }
        if map.get("temperature").is_some_and(|value| value.as_f64() != Some(1.0)) {
            return refuse("temperature", "temperature may only be set to 1 with thinking");
        }
    }
    if map.get("temperature").and_then(Value::as_f64).is_some_and(|value| value > 1.0) {
        return refuse("temperature", "temperature: range: 0..1");
    }
    calls.none_waits()
}

fn gemini(map: &Map<String, Value>) -> Result<(), Problem> {
    let mut waiting = 0_usize;
    for content in list(map, "contents") {
        let (mut calls, mut results) = (0, 0);
        for part in items(&content["parts"]) {
            if part["thoughtSignature"].as_str().is_some_and(is_wrapped) {
                return refuse("contents", "Thought signature is not valid.");
            }
            if let Some(call) = part.get("functionCall") {
                calls += 1;
                if !call["args"].is_object() {
                    return refuse("contents", "function_call.args: must be an object");
                }
            }
            if let Some(response) = part.get("functionResponse") {
                results += 1;
                let named = response["name"].as_str().is_some_and(|name| !name.is_empty());
                if !named || !response["response"].is_object() {
                    return refuse("contents", "function_response: name and response are required");
                }
            }
        }
        if results != waiting {
            let text = "Please ensure that the number of function response parts is equal to the \
                        number of function call parts of the function call turn.";
            return refuse("contents", text);
        }
        waiting = calls;
    }
    Ok(())
}

fn bedrock(map: &Map<String, Value>) -> Result<(), Problem> {
    let mut calls = Calls::default();
    let mut last = "";
    for message in list(map, "messages") {
        let role = message["role"].as_str().unwrap_or_default();
        if role == last || last.is_empty() && role != "user" {
            return refuse("messages", "A conversation must alternate between user and assistant.");
        }
        last = role;
        for block in items(&message["content"]) {
            let thought = &block["reasoningContent"]["reasoningText"]["signature"];
            if thought.as_str().is_some_and(is_wrapped) {
                return refuse("messages", "Invalid signature in a reasoning block.");
            }
            if let Some(call) = block.get("toolUse") {
                calls.called(&call["toolUseId"])?;
            } else if let Some(result) = block.get("toolResult") {
                calls.answered(&result["toolUseId"])?;
            } else if block["text"].as_str().is_some_and(|text| text.trim().is_empty()) {
                return refuse("messages", "The text field in the ContentBlock object is blank.");
            }
        }
        if role == "user" {
            calls.none_waits()?;
        }
    }
    calls.none_waits()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn says(endpoint: Endpoint, body: &Value) -> Option<String> {
        let map = body.as_object().expect("an object");
        let object = Object { dialect: endpoint.dialect(), map };
        check(endpoint, object).err().map(|problem| problem.message)
    }

    #[test]
    fn members_that_a_provider_does_not_have() {
        let body = json!({"max_tokens": 1, "messages": [], "seed": 1});
        assert!(says(Endpoint::Messages, &body).is_some_and(|text| text.starts_with("seed")));
        assert_eq!(says(Endpoint::ChatCompletions, &body), None);
        assert!(says(Endpoint::Converse, &json!({"model": "x", "messages": []})).is_some());
        assert_eq!(says(Endpoint::Moderations, &json!({"anything": 1})), None);
    }

    #[test]
    fn results_have_to_follow_their_calls() {
        let call = json!({"role": "assistant", "content": null, "tool_calls": [
            {"id": "a", "function": {"name": "f", "arguments": "{}"}}]});
        let result = json!({"role": "tool", "tool_call_id": "a", "content": "x"});
        let user = json!({"role": "user", "content": "x"});
        let says =
            |messages: Value| says(Endpoint::ChatCompletions, &json!({"messages": messages}));
        assert_eq!(says(json!([user, call, result])), None);
        assert!(says(json!([user, call, user])).is_some());
        assert!(says(json!([user, result])).is_some());
    }
}
