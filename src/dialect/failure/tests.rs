use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::{NoText, StreamObserver};
use super::*;
use crate::wire::eventstream;
use crate::wire::frame::Framer;

fn error(kind: Kind) -> Error {
    Error::new(kind, "It \"broke\".\nSorry.")
        .param("model")
        .retry_after(Some(Duration::from_millis(2_100)))
        .cause("connect 10.0.0.7:8000 refused, key sk-secret")
}

fn body(dialect: Dialect, endpoint: Endpoint, kind: Kind) -> Value {
    serde_json::from_slice(&error_body(dialect, endpoint, &error(kind), "req_1")).expect("is JSON")
}

#[test]
fn bodies() {
    let message = "It \"broke\".\nSorry.";
    assert_eq!(
        body(Dialect::OpenAi, Endpoint::ChatCompletions, Kind::RateLimited),
        json!({"error": {"message": message, "type": "requests", "param": "model",
            "code": "rate_limit_exceeded"}})
    );
    assert_eq!(
        body(Dialect::OpenAi, Endpoint::ChatCompletions, Kind::NotFound)["error"]["code"],
        "model_not_found"
    );
    assert_eq!(
        body(Dialect::Anthropic, Endpoint::Messages, Kind::BodyTooLarge),
        json!({"type": "error", "error": {"type": "request_too_large", "message": message},
            "request_id": "req_1"})
    );
    assert_eq!(
        body(Dialect::Gemini, Endpoint::GenerateContent, Kind::RateLimited),
        json!({"error": {"code": 429, "message": message, "status": "RESOURCE_EXHAUSTED",
            "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo",
                "retryDelay": "3s"}]}})
    );
    assert_eq!(
        body(Dialect::Cohere, Endpoint::CohereChat, Kind::Unauthorized),
        json!({"id": "req_1", "message": message})
    );
    assert_eq!(
        body(Dialect::Bedrock, Endpoint::Converse, Kind::BadRequest),
        json!({"message": message})
    );
    assert_eq!(
        error_header(Dialect::Bedrock, &error(Kind::RateLimited)),
        Some(("x-amzn-errortype", "ThrottlingException"))
    );
    assert_eq!(error_header(Dialect::OpenAi, &error(Kind::RateLimited)), None);
}

#[test]
fn a_spent_budget_is_what_each_provider_says_of_one() {
    let kind = Kind::BudgetSpent;
    let openai = body(Dialect::OpenAi, Endpoint::ChatCompletions, kind);
    assert_eq!(openai["error"]["code"], "insufficient_quota");
    let anthropic = body(Dialect::Anthropic, Endpoint::Messages, kind);
    assert_eq!(anthropic["error"]["type"], "billing_error");
    let gemini = body(Dialect::Gemini, Endpoint::GenerateContent, kind);
    assert_eq!(gemini["error"]["status"], "RESOURCE_EXHAUSTED");
    let name = "ServiceQuotaExceededException";
    assert_eq!(error_header(Dialect::Bedrock, &error(kind)), Some(("x-amzn-errortype", name)));
    let statuses = Dialect::ALL.map(|dialect| error_status(dialect, &error(kind)));
    let expected = Dialect::ALL.map(|dialect| match dialect {
        Dialect::OpenAi | Dialect::Gemini => 429,
        Dialect::Anthropic | Dialect::Cohere => 402,
        Dialect::Bedrock => 400,
    });
    assert_eq!(statuses, expected);
}

#[test]
fn no_cause_ever_leaves() {
    for dialect in Dialect::ALL {
        for kind in Kind::ALL {
            let text = error_body(dialect, Endpoint::Responses, &error(kind), "req_1");
            let text = String::from_utf8(text.to_vec()).expect("is text");
            assert!(!text.contains("10.0.0.7") && !text.contains("sk-secret"));
        }
    }
}

/// What a stream is cut after, so that its end has something to follow.
fn beginning(framing: Framing) -> Vec<u8> {
    match framing {
        Framing::Sse => b"data: {}\n\n".to_vec(),
        Framing::JsonArray => b"[{}".to_vec(),
        Framing::AwsEventStream => {
            eventstream::encode(&[(":message-type", "event"), (":event-type", "x")], b"{}")
        }
        Framing::Opaque => Vec::new(),
    }
}

/// Every end is whole frames, and our own reader finds the error in it.
#[test]
fn ends_are_well_formed() {
    let cases = [
        (Dialect::OpenAi, Endpoint::ChatCompletions, Framing::Sse),
        (Dialect::OpenAi, Endpoint::Completions, Framing::Sse),
        (Dialect::OpenAi, Endpoint::Responses, Framing::Sse),
        (Dialect::OpenAi, Endpoint::Audio, Framing::Sse),
        (Dialect::Anthropic, Endpoint::Messages, Framing::Sse),
        (Dialect::Gemini, Endpoint::StreamGenerateContent, Framing::Sse),
        (Dialect::Gemini, Endpoint::StreamGenerateContent, Framing::JsonArray),
        (Dialect::Cohere, Endpoint::CohereChat, Framing::Sse),
        (Dialect::Bedrock, Endpoint::ConverseStream, Framing::AwsEventStream),
    ];
    for (dialect, endpoint, framing) in cases {
        for kind in Kind::ALL {
            let end = stream_end(dialect, endpoint, framing, &error(kind), "req_1");
            let whole = [beginning(framing), end.to_vec()].concat();
            let mut framer = Framer::new(framing, 1 << 16);
            let frames = framer.push(Bytes::from(whole)).expect("is well-formed").expect("frames");
            let mut rest = framer.finish().unwrap_or_default().to_vec();
            rest.retain(|byte| !byte.is_ascii_whitespace());
            assert!(rest.is_empty() || rest == b"]", "{dialect} {rest:?}");
            let mut observer = StreamObserver::new(endpoint, dialect, framing, false);
            let observed = observer.observe(&frames, &mut NoText);
            let found = observed.error.expect("an error");
            assert!(found.message.contains("It \"broke\"."), "{dialect} {}", found.message);
            assert_eq!(observed.not_understood, 0);
            assert!(!observer.finished());
        }
    }
}

#[test]
fn typed_events_go_on_counting() {
    let framing = Framing::Sse;
    let mut observer = StreamObserver::new(Endpoint::Responses, Dialect::OpenAi, framing, false);
    let seen = Bytes::from_static(
        b"data: {\"type\":\"response.output_text.delta\",\"sequence_number\":41,\"delta\":\"x\"}\n\n",
    );
    observer.observe(&seen, &mut NoText);
    let end = observer.end(&error(Kind::InterTokenTimeout), "req_1");
    let text = String::from_utf8(end.to_vec()).expect("is text");
    let data = text.strip_prefix("event: error\ndata: ").expect("an error event");
    let event: Value = serde_json::from_str(data.trim_end()).expect("is JSON");
    assert_eq!(event["sequence_number"], 42);
    assert_eq!(event["code"], "inter_token_timeout");
    assert_eq!(event["error"]["message"], event["message"]);
}

#[test]
fn an_array_is_closed_whether_or_not_it_was_opened() {
    let framing = Framing::JsonArray;
    let mut observer =
        StreamObserver::new(Endpoint::StreamGenerateContent, Dialect::Gemini, framing, false);
    let alone = observer.end(&error(Kind::UpstreamCut), "r");
    assert!(serde_json::from_slice::<Value>(&alone).expect("is JSON").is_array());
    let first = Bytes::from_static(b"[{\"candidates\":[]}");
    observer.observe(&first, &mut NoText);
    let end = observer.end(&error(Kind::UpstreamCut), "r");
    let whole: Value = serde_json::from_slice(&[first, end].concat()).expect("is JSON");
    assert_eq!(whole[1]["error"]["code"], 502);
}

#[test]
fn framings_and_heartbeats() {
    let framing = |endpoint, text: Option<&str>| framing(endpoint, text.map(str::as_bytes));
    let sse = Some("text/event-stream; charset=utf-8");
    assert_eq!(framing(Endpoint::ChatCompletions, sse), Some(Framing::Sse));
    assert_eq!(framing(Endpoint::ChatCompletions, Some("application/json")), None);
    assert_eq!(framing(Endpoint::ChatCompletions, None), None);
    assert_eq!(framing(Endpoint::Passthrough, sse), None);
    assert_eq!(
        framing(Endpoint::StreamGenerateContent, Some("application/json; charset=UTF-8")),
        Some(Framing::JsonArray)
    );
    assert_eq!(
        framing(Endpoint::ConverseStream, Some("application/vnd.amazon.eventstream")),
        Some(Framing::AwsEventStream)
    );
    assert!(heartbeat(Dialect::OpenAi, Framing::Sse).is_some());
    assert!(heartbeat(Dialect::Gemini, Framing::Sse).is_none());
    assert!(heartbeat(Dialect::Bedrock, Framing::AwsEventStream).is_none());
}

proptest! {
    #[test]
    fn any_message_is_escaped(message in "\\PC{0,60}", dialect in proptest::sample::select(&Dialect::ALL[..])) {
        let error = Error::new(Kind::BadRequest, message.clone());
        let body = error_body(dialect, Endpoint::Messages, &error, "r");
        let body: Value = serde_json::from_slice(&body).expect("is JSON");
        let got = body["error"]["message"].as_str().or(body["message"].as_str());
        prop_assert_eq!(got, Some(&*message));
    }
}
