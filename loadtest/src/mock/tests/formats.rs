//! The other formats: what a stream says is what the whole answer says, and the books agree.

use serde_json::{Value, json};

use super::client::{call, get, post, upstream};
use crate::mock::eventstream;

fn joined<'a>(texts: impl Iterator<Item = Option<&'a str>>) -> String {
    texts.flatten().collect()
}

#[test]
fn gemini_streams_as_events_and_as_an_array() {
    let handle = upstream();
    let ask = json!({"contents": [{"role": "user", "parts": [{"text": "hi"}]}],
        "generationConfig": {"thinkingConfig": {"include_thoughts": true}}});
    let whole = post(&handle, "/v1beta/models/sim-1:generateContent", &[], &ask).json();
    let path = "/v1/models/sim-1:streamGenerateContent";
    let events = post(&handle, &format!("{path}?alt=sse"), &[], &ask);
    let events: Vec<Value> = events
        .text()
        .split("\r\n\r\n")
        .filter(|frame| !frame.is_empty())
        .map(|frame| serde_json::from_str(frame.strip_prefix("data: ").unwrap()).unwrap())
        .collect();
    let array = post(&handle, path, &[], &ask);
    assert!(array.header("content-type").unwrap().starts_with("application/json"));
    let array = array.json();
    for list in [&events, array.as_array().unwrap()] {
        let text = joined(
            list.iter().map(|chunk| chunk["candidates"][0]["content"]["parts"][0]["text"].as_str()),
        );
        let parts = whole["candidates"][0]["content"]["parts"].as_array().unwrap();
        assert_eq!(text, joined(parts.iter().map(|part| part["text"].as_str())));
        assert_eq!(list.last().unwrap()["usageMetadata"], whole["usageMetadata"]);
        assert_eq!(list.last().unwrap()["candidates"][0]["finishReason"], "STOP");
    }
    let usage = &whole["usageMetadata"];
    let number = |name: &str| usage[name].as_u64().unwrap();
    assert_eq!(
        number("candidatesTokenCount") + number("thoughtsTokenCount"),
        handle.records(1)[0].completion_tokens
    );
}

#[test]
fn gemini_calls_come_whole_and_errors_in_their_shape() {
    let handle = upstream();
    let ask = json!({"contents": [{"parts": [{"text": "hi"}]}], "tools": [{"functionDeclarations": [
        {"name": "weather", "parameters": {"type": "OBJECT", "properties": {"city": {"type": "STRING"}}}}]}]});
    let list = post(&handle, "/v1beta/models/m:streamGenerateContent", &[], &ask).json();
    let part = &list[0]["candidates"][0]["content"]["parts"][0];
    assert_eq!(part["functionCall"], json!({"name": "weather", "args": {"city": "Paris"}}));
    let error = post(&handle, "/v1beta/models/m:generateContent", &[], &json!({"contents": "x"}));
    assert_eq!(
        (error.status, error.json()["error"]["status"].as_str()),
        (400, Some("INVALID_ARGUMENT"))
    );
    let broken = post(
        &handle,
        "/v1beta/models/m:streamGenerateContent",
        &[("x-mock-fault", "error_in_stream=2")],
        &json!({"contents": [{"parts": [{"text": "hi"}]}]}),
    )
    .json();
    assert_eq!(broken[2]["error"]["code"], 503);
    assert!(get(&handle, "/v1beta/models", &[]).json()["models"].is_array());
}

#[test]
fn bedrock_frames_are_intact_unless_they_should_not_be() {
    let handle = upstream();
    let ask = json!({"messages": [{"role": "user", "content": [{"text": "hi"}]}]});
    let whole = post(&handle, "/model/a.b%3A0/converse", &[], &ask).json();
    let stream = |fault: &str| {
        let headers = [("x-mock-fault", fault)];
        post(
            &handle,
            "/model/a.b%3A0/converse-stream",
            &headers[..usize::from(!fault.is_empty())],
            &ask,
        )
    };
    let answer = stream("");
    assert_eq!(answer.header("content-type"), Some("application/vnd.amazon.eventstream"));
    let messages = eventstream::read(&answer.body).unwrap();
    let payloads: Vec<Value> =
        messages.iter().map(|m| serde_json::from_slice(&m.payload).unwrap()).collect();
    let text = joined(payloads.iter().map(|payload| payload["delta"]["text"].as_str()));
    assert_eq!(whole["output"]["message"]["content"][0]["text"], text);
    assert_eq!(messages.last().unwrap().headers[":event-type"], "metadata");
    assert_eq!(payloads.last().unwrap()["usage"], whole["usage"]);
    assert_eq!(handle.records(1)[0].model, "a.b:0");
    assert!(eventstream::read(&stream("malformed=checksum").body).is_err());
    for fault in ["malformed=utf8", "malformed=json", "oversized=70000"] {
        let messages = eventstream::read(&stream(fault).body).unwrap();
        let bad = messages
            .iter()
            .filter(|m| serde_json::from_slice::<Value>(&m.payload).is_err())
            .count();
        assert_eq!(bad, usize::from(fault.starts_with("malformed")), "{fault}");
    }
    let messages = eventstream::read(&stream("error_in_stream=1").body).unwrap();
    assert_eq!(messages.last().unwrap().headers[":exception-type"], "serviceUnavailableException");
    assert_eq!(stream("429").header("x-amzn-errortype"), Some("ThrottlingException"));
}

#[test]
fn cohere_streams_what_it_answers() {
    let handle = upstream();
    let ask = |stream: bool| json!({"model": "m", "stream": stream, "messages": [{"role": "user", "content": "hi"}]});
    let whole = post(&handle, "/v2/chat", &[], &ask(false)).json();
    let events = post(&handle, "/v2/chat", &[], &ask(true)).events();
    let text =
        joined(events.iter().map(|event| event["delta"]["message"]["content"]["text"].as_str()));
    assert_eq!(whole["message"]["content"][0]["text"], text);
    assert_eq!(events.last().unwrap()["delta"]["usage"], whole["usage"]);
    let embed = json!({"model": "m", "input_type": "search_query", "texts": ["a"], "embedding_types": ["float", "base64"]});
    let embeddings = post(&handle, "/v2/embed", &[], &embed).json();
    assert!(embeddings["embeddings"]["base64"][0].is_string());
    let rerank = json!({"model": "m", "query": "river", "documents": ["town", "a river"]});
    assert_eq!(post(&handle, "/v2/rerank", &[], &rerank).json()["results"][0]["index"], 1);
    let compatible = post(&handle, "/v1/rerank", &[], &rerank).json();
    assert_eq!(compatible["results"][0]["document"]["text"], "a river");
}

#[test]
fn responses_stream_what_they_answer() {
    let handle = upstream();
    let ask = |stream: bool| json!({"model": "m", "stream": stream, "input": "hi", "reasoning": {"effort": "low"}});
    let whole = post(&handle, "/v1/responses", &[], &ask(false)).json();
    let events = post(&handle, "/v1/responses", &[], &ask(true)).events();
    let text = joined(
        events
            .iter()
            .filter(|event| event["type"] == "response.output_text.delta")
            .map(|event| event["delta"].as_str()),
    );
    assert_eq!(whole["output"][1]["content"][0]["text"], text);
    let last = events.last().unwrap();
    assert_eq!(
        (last["type"].as_str(), &last["response"]["usage"]),
        (Some("response.completed"), &whole["usage"])
    );
    assert_eq!(last["response"]["output"][1]["content"], whole["output"][1]["content"]);
    let numbers: Vec<u64> =
        events.iter().map(|event| event["sequence_number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (0..events.len() as u64).collect::<Vec<_>>());
    let id = whole["id"].as_str().unwrap();
    assert_eq!(get(&handle, &format!("/v1/responses/{id}"), &[]).json()["id"], id);
    assert_eq!(get(&handle, "/v1/responses/resp_1", &[]).status, 404);
}

#[test]
fn embeddings_agree_in_both_encodings() {
    let handle = upstream();
    let ask = |format: &str| json!({"model": "m", "input": ["a", "b"], "encoding_format": format, "dimensions": 4});
    let floats = post(&handle, "/v1/embeddings", &[], &ask("float")).json();
    let base64 = post(&handle, "/v1/embeddings", &[], &ask("base64")).json();
    assert_eq!(floats["data"][0]["embedding"].as_array().unwrap().len(), 4);
    assert_eq!(base64["data"][1]["embedding"].as_str().unwrap().len(), 24);
    assert_eq!(floats["usage"], base64["usage"]);
    assert_eq!(post(&handle, "/v1/embeddings", &[], &ask("hex")).status, 400);
}

#[test]
fn files_are_kept_and_forms_are_read() {
    let handle = upstream();
    let form = "--B\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.jsonl\"\r\n\r\n{\"custom_id\":\"1\"}\r\n--B--\r\n";
    let headers = [("content-type", "multipart/form-data; boundary=B")];
    let file = call(&handle, "POST", "/v1/files", &headers, form).unwrap().json();
    let id = file["id"].as_str().unwrap();
    assert_eq!(
        get(&handle, &format!("/v1/files/{id}/content"), &[]).text(),
        "{\"custom_id\":\"1\"}"
    );
    let batch = json!({"input_file_id": id, "endpoint": "/v1/chat/completions", "completion_window": "24h"});
    let batch = post(&handle, "/v1/batches", &[], &batch).json();
    let batch = get(&handle, &format!("/v1/batches/{}", batch["id"].as_str().unwrap()), &[]).json();
    assert_eq!(
        (batch["status"].as_str(), &batch["request_counts"]["total"]),
        (Some("completed"), &json!(1))
    );
    assert_eq!(
        call(&handle, "DELETE", &format!("/v1/files/{id}"), &[], "").unwrap().json()["deleted"],
        true
    );
    assert_eq!(get(&handle, &format!("/v1/files/{id}"), &[]).status, 404);
    let form = "--B\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper\r\n--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nsound\r\n--B--\r\n";
    let answer = call(&handle, "POST", "/v1/audio/transcriptions", &headers, form).unwrap().json();
    assert_eq!(answer["usage"]["output_tokens"], 8);
    assert_eq!(handle.records(1)[0].model, "whisper");
}

#[test]
fn every_endpoint_meets_faults_in_its_own_shape() {
    let handle = upstream();
    for (path, member) in [
        ("/v1/chat/completions", "error"),
        ("/v1/responses", "error"),
        ("/v1/embeddings", "error"),
        ("/v1/messages", "type"),
        ("/v1beta/models/m:generateContent", "error"),
        ("/v2/chat", "message"),
        ("/model/m/converse", "message"),
        ("/v1/models", "error"),
    ] {
        let method = if path == "/v1/models" { "GET" } else { "POST" };
        let answer = call(&handle, method, path, &[("x-mock-fault", "503=2")], "{}").unwrap();
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("2")), "{path}");
        assert!(!answer.json()[member].is_null(), "{path}");
    }
    assert_eq!(call(&handle, "POST", "/v1/messages", &[], "{").unwrap().json()["type"], "error");
    assert_eq!(call(&handle, "GET", "/v1/nothing", &[], "").unwrap().status, 404);
    assert_eq!(handle.stats().endpoints["unknown"].requests, 1);
}
