//! Responses that a client goes on from by their id, on upstreams of every other format.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{ask, events, exchange, send, upstream, weir};
use crate::stand::Weir;
use weir_loadtest::mock::Handle;

const OTHERS: [&str; 5] = ["chat_completions", "anthropic", "gemini", "cohere", "bedrock"];

fn create(weir: &Weir, id: &str, body: &Value) -> Value {
    let (status, _, answer) = exchange(weir, "/v1/responses", id, body);
    let shown = String::from_utf8_lossy(&answer);
    assert_eq!(status, 200, "{id}: {shown}");
    if body["stream"] == true {
        let (name, last) = events("responses", &answer).pop().expect("an event");
        assert_eq!(name, "response.completed", "{id}: {shown}");
        return last["response"].clone();
    }
    serde_json::from_slice(&answer).expect("JSON")
}

fn get(weir: &Weir, method: &str, path: &str) -> (u16, Value) {
    let (status, _, answer) = send(weir, method, path, "x-request-id: state", None);
    (status, serde_json::from_slice(&answer).expect("JSON"))
}

#[test]
fn a_conversation_goes_on_by_its_id() {
    let upstream = upstream();
    let weir = weir(&upstream, "strict");
    for server in OTHERS {
        for stream in [false, true] {
            let model = format!("{server}-claude");
            let ask = |id: &str, previous: Option<&str>, input: Value| {
                let mut body = json!({"model": model, "input": input, "stream": stream,
                    "max_output_tokens": 500, "store": true});
                if let Some(previous) = previous {
                    body["previous_response_id"] = previous.into();
                }
                create(&weir, &format!("{server}-{stream}-{id}"), &body)
            };
            let first = ask("1", None, json!("What is a weir?"));
            let id = first["id"].as_str().expect("an id");
            assert!(id.starts_with("resp_") && first["store"] == true, "{first}");
            let turn = json!([{"role": "user", "content": "And a dam?"}]);
            let second = ask("2", Some(id), turn.clone());
            assert_eq!(second["previous_response_id"], first["id"], "{second}");
            let third = ask("3", second["id"].as_str(), turn);
            // Each prompt has the turns before it.
            let tokens =
                |n| super::finished(&upstream, &format!("{server}-{stream}-{n}")).prompt_tokens;
            assert!(tokens(1) < tokens(2) && tokens(2) < tokens(3), "{server}");

            let (status, kept) = get(&weir, "GET", &format!("/v1/responses/{id}"));
            assert_eq!((status, &kept), (200, &first));
            let third_id = third["id"].as_str().expect("an id");
            let items = format!("/v1/responses/{third_id}/input_items");
            let (status, list) = get(&weir, "GET", &format!("{items}?order=asc&limit=2"));
            assert_eq!((status, &list["has_more"]), (200, &json!(true)), "{list}");
            assert_eq!(list["data"][0]["content"][0]["text"], "What is a weir?", "{list}");
            assert_eq!(list["data"][1]["role"], "assistant", "{list}");
            let (_, list) = get(&weir, "GET", &items);
            assert_eq!(list["data"].as_array().map(Vec::len), Some(5), "{list}");
            assert_eq!(list["data"][0]["content"][0]["text"], "And a dam?", "{list}");

            let (status, gone) = get(&weir, "DELETE", &format!("/v1/responses/{id}"));
            assert_eq!((status, &gone["deleted"]), (200, &json!(true)));
            assert_eq!(get(&weir, "GET", &format!("/v1/responses/{id}")).0, 404);
        }
    }
}

#[test]
fn tools_go_on_by_an_id() {
    let upstream = upstream();
    let weir = weir(&upstream, "lenient");
    for server in OTHERS {
        let (_, mut body) =
            ask::request("responses", ask::Scenario::Tool, &format!("{server}-claude"));
        body["store"] = json!(true);
        let first = create(&weir, &format!("{server}-call"), &body);
        let calls = first["output"].as_array().expect("items").iter();
        let call = calls.clone().find(|item| item["type"] == "function_call").expect("a call");
        body["input"] = json!([{"type": "function_call_output", "call_id": call["call_id"], "output": "19 degrees"}]);
        body["previous_response_id"] = first["id"].clone();
        body["tool_choice"] = json!("auto");
        // The upstream refuses a result whose call is not there.
        let second = create(&weir, &format!("{server}-result"), &body);
        assert_eq!(second["status"], "completed", "{second}");
    }
}

#[test]
fn a_conversation_goes_on_with_a_provider_of_its_own_format() {
    let upstream = upstream();
    let weir = weir(&upstream, "lenient");
    for server in OTHERS {
        // The item is what the model has thought, too: nothing that the next provider would know.
        let (_, mut body) =
            ask::request("responses", ask::Scenario::Thinking, &format!("{server}-claude"));
        body["store"] = json!(true);
        let first = create(&weir, &format!("{server}-begun"), &body);
        let items = first["output"].as_array().expect("items");
        let thinks = items.iter().any(|item| item["type"] == "reasoning");
        assert!(thinks, "{server}: {first}");
        body["model"] = json!("responses-claude");
        body["previous_response_id"] = first["id"].clone();
        body["input"] = json!("Go on.");
        create(&weir, &format!("{server}-onward"), &body);
        // The same by references to its items, which is how some libraries do it.
        let references = items.iter().map(|it| json!({"type": "item_reference", "id": it["id"]}));
        let mut input: Vec<Value> = references.collect();
        input.push(json!({"role": "user", "content": "Go on."}));
        body["input"] = json!(input);
        body.as_object_mut().expect("an object").remove("previous_response_id");
        for onward in ["responses", "anthropic", "chat_completions"] {
            body["model"] = json!(format!("{onward}-claude"));
            create(&weir, &format!("{server}-{onward}-referred"), &body);
        }
    }
}

#[test]
fn thoughts_of_another_provider_stay_behind() {
    let upstream = upstream();
    let weir = weir(&upstream, "lenient");
    for client in ["anthropic", "gemini", "bedrock"] {
        for server in ask::FORMATS.into_iter().filter(|server| *server != client) {
            let thinking = ask::Scenario::Thinking;
            let (path, mut body) = ask::request(client, thinking, &format!("{server}-claude"));
            let (status, _, answer) =
                exchange(&weir, &path, &format!("{client}-{server}-1"), &body);
            let answer: Value = serde_json::from_slice(&answer).expect("JSON");
            assert_eq!(status, 200, "{answer}");
            let (turns, said, next) = match client {
                "anthropic" => (
                    "messages",
                    json!({"role": "assistant", "content": answer["content"]}),
                    json!({"role": "user", "content": "Go on."}),
                ),
                "gemini" => (
                    "contents",
                    answer["candidates"][0]["content"].clone(),
                    json!({"role": "user", "parts": [{"text": "Go on."}]}),
                ),
                _ => (
                    "messages",
                    answer["output"]["message"].clone(),
                    json!({"role": "user", "content": [{"text": "Go on."}]}),
                ),
            };
            body[turns].as_array_mut().expect("turns").extend([said, next]);
            let (path, named) = ask::request(client, thinking, &format!("{client}-claude"));
            if !named["model"].is_null() {
                body["model"] = named["model"].clone();
            }
            let (status, _, answer) =
                exchange(&weir, &path, &format!("{client}-{server}-2"), &body);
            let shown = String::from_utf8_lossy(&answer);
            assert_eq!(status, 200, "{client} of {server}: {shown}\n{body}");
        }
    }
}

#[test]
fn what_is_not_to_be_kept_is_not() {
    let upstream = upstream();
    let weir = weir(&upstream, "lenient");
    let mut body = json!({"model": "anthropic-claude", "input": "Hi", "store": false, "max_output_tokens": 500});
    let answer = create(&weir, "unkept", &body);
    assert_eq!(answer["store"], false);
    let id = answer["id"].as_str().expect("an id");
    assert_eq!(get(&weir, "GET", &format!("/v1/responses/{id}")).0, 404);
    body["previous_response_id"] = id.into();
    let (status, headers, answer) = exchange(&weir, "/v1/responses", "unknown", &body);
    let answer: Value = serde_json::from_slice(&answer).expect("JSON");
    assert_eq!(status, 400, "{answer}");
    assert_eq!(answer["error"]["param"], "previous_response_id");
    assert_eq!(answer["error"]["message"], format!("Previous response with id '{id}' not found."));
    assert_eq!(headers["x-weir-error"], "not_expressible");
    assert!(upstream.record("unknown").is_none());
    // A stream that breaks is kept nowhere.
    let body = json!({"model": "anthropic-x+fault:truncate=5", "input": "Hi", "stream": true});
    let (_, _, answer) = exchange(&weir, "/v1/responses", "broken", &body);
    let (_, first) = events("responses", &answer).swap_remove(0);
    let id = first["response"]["id"].as_str().expect("an id");
    assert_eq!(get(&weir, "GET", &format!("/v1/responses/{id}")).0, 404);
}

/// One upstream, two callers, and a file.
fn keyed(upstream: &Handle, folder: &std::path::Path) -> Weir {
    for name in ["ann", "bob"] {
        std::fs::write(folder.join(name), format!("{name}-secret")).expect("a key");
    }
    let mut config = String::new();
    let _ = write!(
        config,
        "runtime: {{ threads: 1 }}\nresponses: {{ path: '{folder}/responses.db' }}\nproviders:\n  p: {{ dialect: anthropic, base_url: 'http://{}' }}\n\
         pools:\n  p: {{ targets: [{{ provider: p }}] }}\nroutes:\n  - {{ pool: p }}\n\
         tenants:\n  acme:\n    keys:\n      - {{ name: ann, secret: {{ file: '{folder}/ann' }} }}\n      - {{ name: bob, secret: {{ file: '{folder}/bob' }} }}\n",
        upstream.address(),
        folder = folder.display(),
    );
    Weir::start(&config)
}

#[test]
fn a_response_is_its_callers_own_and_outlives_a_restart() {
    let upstream = upstream();
    let folder = tempfile::tempdir().expect("a folder");
    let body = json!({"model": "claude", "input": "Hi", "max_output_tokens": 500});
    let by = |weir: &Weir, key: &str, method: &str, path: &str, body: Option<&Value>| {
        let (status, _, answer) =
            send(weir, method, path, &format!("authorization: Bearer {key}"), body);
        (status, serde_json::from_slice::<Value>(&answer).expect("JSON"))
    };
    let id = {
        let weir = keyed(&upstream, folder.path());
        let (status, answer) = by(&weir, "ann-secret", "POST", "/v1/responses", Some(&body));
        assert_eq!(status, 200, "{answer}");
        let id = answer["id"].as_str().expect("an id").to_owned();
        // It is written by the time that it can be read; the process is killed.
        assert_eq!(by(&weir, "ann-secret", "GET", &format!("/v1/responses/{id}"), None).0, 200);
        id
    };
    let weir = keyed(&upstream, folder.path());
    let kept = format!("/v1/responses/{id}");
    let mut next = body.clone();
    next["previous_response_id"] = id.into();
    assert_eq!(by(&weir, "ann-secret", "GET", &kept, None).0, 200);
    assert_eq!(by(&weir, "ann-secret", "POST", "/v1/responses", Some(&next)).0, 200);
    assert_eq!(by(&weir, "bob-secret", "GET", &kept, None).0, 404);
    assert_eq!(by(&weir, "bob-secret", "DELETE", &kept, None).0, 404);
    assert_eq!(by(&weir, "bob-secret", "POST", "/v1/responses", Some(&next)).0, 400);
    assert_eq!(by(&weir, "ann-secret", "DELETE", &kept, None).0, 200);
}
