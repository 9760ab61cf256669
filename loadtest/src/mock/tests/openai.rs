//! Chat completions and messages.

use serde_json::{Value, json};

use super::client::{post, upstream};

fn chat(extra: &Value) -> Value {
    let mut body = json!({"model": "sim-1", "messages": [{"role": "user", "content": "hello"}]});
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    body
}

fn tools() -> Value {
    json!([{"type": "function", "function": {"name": "weather", "parameters": {
        "type": "object", "properties": {"city": {"type": "string"}},
    }}}])
}

#[test]
fn a_stream_says_what_the_whole_answer_says() {
    let handle = upstream();
    let whole = post(&handle, "/v1/chat/completions", &[], &chat(&json!({}))).json();
    let options = json!({"stream": true, "stream_options": {"include_usage": true}});
    let streamed = post(&handle, "/v1/chat/completions", &[], &chat(&options));
    assert!(streamed.text().ends_with("data: [DONE]\n\n"));
    let events = streamed.events();
    let text: String = events
        .iter()
        .filter_map(|event| event["choices"][0]["delta"]["content"].as_str())
        .collect();
    assert_eq!(whole["choices"][0]["message"]["content"], text);
    assert_eq!(events.last().unwrap()["usage"], whole["usage"]);
    assert_eq!(whole["usage"]["completion_tokens"], 8);
    let records = handle.records(10);
    assert_eq!(records[1].completion_tokens, 8);
    assert_eq!(records[1].prompt_tokens, whole["usage"]["prompt_tokens"].as_u64().unwrap());
}

#[test]
fn usage_is_sent_only_when_asked_for() {
    let handle = upstream();
    let events =
        post(&handle, "/v1/chat/completions", &[], &chat(&json!({"stream": true}))).events();
    assert!(events.iter().all(|event| event.get("usage").is_none()));
    let answer =
        post(&handle, "/v1/chat/completions", &[("x-mock-no-usage", "1")], &chat(&json!({})));
    assert!(answer.json().get("usage").is_none());
}

#[test]
fn tools_are_called_and_their_result_is_answered() {
    let handle = upstream();
    let ask = chat(&json!({"tools": tools(), "stream": true}));
    let events = post(&handle, "/v1/chat/completions", &[], &ask).events();
    let deltas = || events.iter().map(|event| &event["choices"][0]["delta"]["tool_calls"][0]);
    let arguments: String =
        deltas().filter_map(|call| call["function"]["arguments"].as_str()).collect();
    assert_eq!(serde_json::from_str::<Value>(&arguments).unwrap(), json!({"city": "Paris"}));
    assert!(deltas().filter(|call| call["function"]["arguments"].is_string()).count() > 2);
    assert_eq!(events.last().unwrap()["choices"][0]["finish_reason"], "tool_calls");
    let answered = json!({"tools": tools(), "messages": [
        {"role": "user", "content": "weather?"},
        {"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "weather", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "c", "content": "rain"},
    ]});
    let answer = post(&handle, "/v1/chat/completions", &[], &chat(&answered)).json();
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
}

#[test]
fn choices_reasoning_images_and_documents() {
    let handle = upstream();
    let ask =
        chat(&json!({"n": 2, "reasoning_effort": "low", "messages": [{"role": "user", "content": [
            {"type": "text", "text": "what is this?"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        ]}]}));
    let answer = post(&handle, "/v1/chat/completions", &[], &ask).json();
    assert_eq!(answer["choices"].as_array().unwrap().len(), 2);
    assert!(answer["choices"][1]["message"]["reasoning_content"].is_string());
    assert_eq!(answer["usage"]["completion_tokens_details"]["reasoning_tokens"], 8);
    assert!(answer["usage"]["prompt_tokens"].as_u64().unwrap() > 85);
    let format = json!({"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {
        "type": "object", "properties": {"n": {"type": "integer"}}}}}});
    let answer = post(&handle, "/v1/chat/completions", &[], &chat(&format)).json();
    assert_eq!(answer["choices"][0]["message"]["content"], "{\"n\":7}");
}

#[test]
fn a_repeated_prefix_is_cached() {
    let handle = upstream();
    let ask = chat(&json!({"messages": [
        {"role": "system", "content": "[cache:a] be brief"}, {"role": "user", "content": "hi"}]}));
    let cached = || {
        let answer = post(&handle, "/v1/chat/completions", &[], &ask).json();
        answer["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap()
    };
    assert_eq!(cached(), 0);
    assert!(cached() > 0);
}

#[test]
fn bad_requests_get_the_providers_complaint() {
    let handle = upstream();
    for (body, param) in [
        (json!({"messages": []}), "model"),
        (json!({"model": "m"}), "messages"),
        (chat(&json!({"messages": "hello"})), "messages"),
        (chat(&json!({"messages": []})), "messages"),
        (chat(&json!({"messages": [{"role": "king", "content": ""}]})), "messages[0].role"),
        (chat(&json!({"stream": "yes"})), "stream"),
        (chat(&json!({"n": 0})), "n"),
        (chat(&json!({"stream_options": {"include_usage": true}})), "stream_options"),
        (
            chat(
                &json!({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}),
            ),
            "messages[0].content[0]",
        ),
    ] {
        let answer = post(&handle, "/v1/chat/completions", &[], &body);
        assert_eq!((answer.status, answer.json()["error"]["param"].as_str()), (400, Some(param)));
    }
}

#[test]
fn messages_stream_and_answer_alike() {
    let handle = upstream();
    let ask = |stream: bool| {
        json!({"model": "c", "max_tokens": 100, "stream": stream,
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}]}]})
    };
    let whole = post(&handle, "/v1/messages", &[], &ask(false)).json();
    assert!(whole["usage"]["cache_creation_input_tokens"].as_u64().unwrap() > 0);
    let streamed = post(&handle, "/v1/messages", &[], &ask(true));
    let events = streamed.events();
    let joined = |member: &str| -> String {
        events.iter().filter_map(|event| event["delta"][member].as_str()).collect()
    };
    assert_eq!(whole["content"][0]["thinking"], joined("thinking"));
    assert_eq!(whole["content"][1]["text"], joined("text"));
    let delta = events.iter().find(|event| event["type"] == "message_delta").unwrap();
    assert_eq!(delta["usage"]["output_tokens"], whole["usage"]["output_tokens"]);
    assert!(delta["usage"]["cache_read_input_tokens"].as_u64().unwrap() > 0);
    assert_eq!(events.last().unwrap()["type"], "message_stop");
    let missing = post(&handle, "/v1/messages", &[], &json!({"model": "c", "messages": []}));
    assert_eq!((missing.status, missing.json()["type"].as_str()), (400, Some("error")));
}
