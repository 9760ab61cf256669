//! Faults, books and control, seen from a client's side.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::client::{Answer, call, connect, get, post, request, upstream};
use crate::mock::{Handle, Latency, Settings, Tokens, spawn};

fn chat(model: &str, stream: bool) -> Value {
    json!({"model": model, "stream": stream, "messages": [{"role": "user", "content": "hello"}]})
}

fn faulty(handle: &Handle, fault: &str, stream: bool) -> Option<Answer> {
    let body = chat("sim-1", stream).to_string();
    call(handle, "POST", "/v1/chat/completions", &[("x-mock-fault", fault)], &body)
}

#[test]
fn statuses_come_with_their_headers() {
    let handle = upstream();
    for status in [400, 401, 403, 404, 413, 429, 500, 503, 529] {
        let answer = faulty(&handle, &status.to_string(), true).unwrap();
        assert_eq!(answer.status, status);
        assert!(answer.json()["error"]["message"].is_string());
    }
    assert_eq!(faulty(&handle, "429=7", false).unwrap().header("retry-after"), Some("7"));
    assert_eq!(faulty(&handle, "429=70ms", false).unwrap().header("retry-after-ms"), Some("70"));
    let unknown = faulty(&handle, "typo", false).unwrap();
    assert!(unknown.status == 400 && unknown.text().contains("not a fault"));
}

#[test]
fn broken_answers_are_broken_where_they_should_be() {
    let handle = upstream();
    for fault in ["reset", "malformed=head"] {
        assert!(faulty(&handle, fault, true).is_none(), "{fault}");
    }
    for fault in ["reset=after_head", "reset=mid_stream:2", "cut=2", "malformed=chunk"] {
        let answer = faulty(&handle, fault, true).unwrap();
        assert!(answer.status == 200 && !answer.complete, "{fault}");
    }
    let cut = faulty(&handle, "cut=2", true).unwrap();
    assert!(!cut.text().ends_with("\n\n"), "{}", cut.text());
    let truncated = faulty(&handle, "truncate=2", true).unwrap();
    assert!(truncated.complete && !truncated.text().contains("DONE"));
    let empty = faulty(&handle, "empty_stream", true).unwrap();
    assert!(empty.complete && empty.body.is_empty());
    assert_eq!(faulty(&handle, "empty_body", false).unwrap().header("content-length"), Some("0"));
    for fault in ["cut", "reset=mid_stream"] {
        assert!(!faulty(&handle, fault, false).unwrap().complete, "{fault}");
    }
}

#[test]
fn frames_can_be_wrong_in_themselves() {
    let handle = upstream();
    let broken = faulty(&handle, "malformed=json", true).unwrap();
    assert!(broken.complete && broken.text().ends_with("data: [DONE]\n\n"));
    let bad = broken
        .text()
        .split("\n\n")
        .filter(|frame| {
            let data = frame.strip_prefix("data: ").unwrap_or("{}");
            data != "[DONE]" && serde_json::from_str::<Value>(data).is_err()
        })
        .count();
    assert_eq!(bad, 1);
    assert!(String::from_utf8(faulty(&handle, "malformed=utf8", true).unwrap().body).is_err());
    let large = faulty(&handle, "oversized=70000", true).unwrap();
    assert!(large.text().split("\n\n").any(|frame| frame.len() >= 69_000));
    assert_eq!(large.events().len(), 10);
    assert!(faulty(&handle, "oversized=70000", false).unwrap().body.len() >= 70_000);
    let error = faulty(&handle, "error_in_stream=2", true).unwrap();
    assert!(error.complete && error.events().last().unwrap()["error"].is_object());
    assert_eq!(error.events().len(), 4);
    assert_eq!(faulty(&handle, "error_in_stream", true).unwrap().events().len(), 2);
}

#[test]
fn heads_can_be_slow_and_huge_and_early() {
    let handle = upstream();
    let started = Instant::now();
    assert_eq!(faulty(&handle, "slow_head=60ms", true).unwrap().status, 200);
    assert!(started.elapsed() >= Duration::from_millis(60));
    assert!(faulty(&handle, "huge_headers=100000", false).unwrap().head.len() > 100_000);
    assert!(faulty(&handle, "drip=0ms", true).unwrap().complete);
    let mut io = connect(&handle);
    io.write_all(b"POST /v1/chat/completions HTTP/1.1\r\nx-mock-fault: early_response=413\r\ncontent-length: 999999\r\n\r\n").unwrap();
    let mut answer = String::new();
    io.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("connection: close"));
}

#[test]
fn a_model_and_the_control_interface_can_ask_for_faults() {
    let handle = upstream();
    assert_eq!(
        post(&handle, "/v1/chat/completions", &[], &chat("sim-1+fault:503", false)).status,
        503
    );
    assert!(call(&handle, "POST", "/__mock/fault?prefix=a", &[], "500").unwrap().status == 200);
    assert_eq!(post(&handle, "/a/v1/chat/completions", &[], &chat("m", false)).status, 500);
    assert_eq!(post(&handle, "/b/v1/chat/completions", &[], &chat("m", false)).status, 200);
    assert!(get(&handle, "/__mock/fault", &[]).text().contains("500"));
    assert_eq!(call(&handle, "DELETE", "/__mock/fault", &[], "").unwrap().status, 200);
    assert_eq!(post(&handle, "/a/v1/chat/completions", &[], &chat("m", false)).status, 200);
    let stats = get(&handle, "/__mock/stats?records=2", &[]).json();
    assert_eq!(stats["stats"]["endpoints"]["chat_completions"]["requests"], 4);
    assert_eq!(stats["records"].as_array().unwrap().len(), 2);
    assert_eq!(stats["records"][1]["prefix"], "a");
}

/// Opens a stream that stalls, and waits for its first frame.
fn stalled(handle: &Handle, fault: &str) -> TcpStream {
    let mut io = connect(handle);
    let headers = [("x-mock-fault", fault), ("x-request-id", "gone-1")];
    io.write_all(
        request("POST", "/v1/chat/completions", &headers, &chat("m", true).to_string()).as_bytes(),
    )
    .unwrap();
    io
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_client_that_leaves_is_noticed_at_once() {
    for fault in ["stall=2", "black_hole"] {
        let handle = upstream();
        let io = stalled(&handle, fault);
        let sent = if fault == "black_hole" { 0 } else { 2 };
        wait_until("the tokens were sent", || {
            handle.record("gone-1").is_some_and(|record| record.completion_tokens == sent)
        });
        let left = Instant::now();
        drop(io);
        wait_until("the books say so", || handle.record("gone-1").unwrap().client_gone);
        assert!(left.elapsed() < Duration::from_millis(500));
        let record = handle.record("gone-1").unwrap();
        assert_eq!(record.completion_tokens, sent);
        assert_eq!(record.completion_tokens_planned, sent * 4);
        assert_eq!((handle.stats().cancelled, handle.stats().streams_open), (1, 0));
    }
}

#[test]
fn a_client_that_leaves_between_two_tokens_is_noticed() {
    let settings =
        Settings { itl: Latency::ms(60_000), tokens: Tokens::fixed(9), ..Settings::default() };
    let handle = spawn(settings).unwrap();
    let mut io = stalled(&handle, "interim");
    let mut byte = [0];
    io.read_exact(&mut byte).unwrap();
    drop(io);
    wait_until("the books say so", || handle.record("gone-1").is_some_and(|r| r.client_gone));
}

#[test]
fn a_refusing_upstream_refuses_for_a_while() {
    let handle = upstream();
    assert!(faulty(&handle, "refuse=80ms", true).is_none());
    wait_until("it refuses", || TcpStream::connect(handle.address()).is_err());
    wait_until("it accepts again", || TcpStream::connect(handle.address()).is_ok());
}

#[test]
fn listening_can_be_paused() {
    let handle = upstream();
    handle.pause_listening().unwrap();
    assert!(TcpStream::connect(handle.address()).is_err());
    handle.resume_listening().unwrap();
    assert_eq!(get(&handle, "/__mock/stats", &[]).status, 200);
    let mut io = stalled(&handle, "stall=1");
    wait_until("the request is open", || handle.record("gone-1").is_some());
    handle.disconnect_all().unwrap();
    let mut rest = Vec::new();
    io.read_to_end(&mut rest).unwrap();
    assert_eq!(handle.stats().requests_open, 0);
}

#[test]
fn leaks_are_refused_and_booked() {
    let handle = upstream();
    let ask =
        |headers: &[_]| post(&handle, "/v1/chat/completions", headers, &chat("m", false)).status;
    assert_eq!(ask(&[("authorization", "Bearer a"), ("x-api-key", "b")]), 400);
    assert_eq!(ask(&[("x-weir-pool", "p")]), 400);
    assert_eq!(ask(&[("authorization", "Bearer a")]), 200);
    assert_eq!(handle.stats().leaks["two_credentials"], 1);
    assert_eq!(handle.stats().leaks["x-weir-pool"], 1);
}

#[test]
fn keys_are_checked() {
    let handle =
        spawn(Settings { require_key: true, keys: vec!["k".into()], ..Settings::default() })
            .unwrap();
    let ask =
        |headers: &[_]| post(&handle, "/v1/chat/completions", headers, &chat("m", false)).status;
    assert_eq!(ask(&[]), 401);
    assert_eq!(ask(&[("authorization", "Bearer x")]), 401);
    assert_eq!(ask(&[("authorization", "Bearer k")]), 200);
    assert_eq!(ask(&[("authorization", "AWS4-HMAC-SHA256 Credential=k/2026/x")]), 401);
}

#[test]
fn what_was_sent_and_received_is_recorded() {
    let handle = upstream();
    for chunking in ["whole", "bytes:1", "bytes:7", "random", "joined"] {
        let headers =
            [("x-mock-record", "1"), ("x-mock-chunking", chunking), ("x-request-id", chunking)];
        let answer = post(&handle, "/v1/chat/completions", &headers, &chat("m", true));
        let record = handle.record(chunking).unwrap();
        assert_eq!(record.sent_bytes().unwrap(), answer.body, "{chunking}");
        assert_eq!(record.received_bytes().unwrap(), chat("m", true).to_string().into_bytes());
        assert!(record.headers.iter().any(|(name, _)| name == "x-mock-chunking"));
        assert_eq!(answer.events().len(), 10);
    }
}
