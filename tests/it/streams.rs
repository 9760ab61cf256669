//! Streams go through byte for byte, however they are cut, and what they used is recorded.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use weir_loadtest::mock::{self, Handle};

use crate::stand::Weir;

fn mock() -> Handle {
    mock::spawn(mock::Settings { tokens: mock::Tokens::fixed(40), ..mock::Settings::default() })
        .expect("a simulated upstream")
}

fn weir(upstream: &Handle) -> Weir {
    let base = format!("http://{}", upstream.address());
    Weir::start(&format!(
        "
access: open
runtime: {{ threads: 1 }}
providers:
  openai: {{ dialect: openai, base_url: '{base}/v1' }}
  anthropic: {{ dialect: anthropic, base_url: '{base}' }}
  gemini: {{ dialect: gemini, base_url: '{base}' }}
  cohere: {{ dialect: cohere, base_url: '{base}' }}
  bedrock: {{ dialect: bedrock, base_url: '{base}' }}
pools:
  openai: {{ targets: [{{ provider: openai }}] }}
  anthropic: {{ targets: [{{ provider: anthropic }}] }}
  gemini: {{ targets: [{{ provider: gemini }}] }}
  cohere: {{ targets: [{{ provider: cohere }}] }}
  bedrock: {{ targets: [{{ provider: bedrock }}] }}
routes:
  - {{ match: {{ endpoint: messages }}, pool: anthropic }}
  - {{ match: {{ endpoint: stream_generate_content }}, pool: gemini }}
  - {{ match: {{ endpoint: cohere_chat }}, pool: cohere }}
  - {{ match: {{ endpoint: converse_stream }}, pool: bedrock }}
  - {{ pool: openai }}
"
    ))
}

/// The body of a chunked or sized answer.
fn body(answer: &[u8]) -> Vec<u8> {
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n").expect("a head") + 4;
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 200"), "{}", String::from_utf8_lossy(answer));
    if !head.contains("transfer-encoding: chunked") {
        return answer[end..].to_vec();
    }
    let (mut rest, mut body) = (&answer[end..], Vec::new());
    loop {
        let line = rest.windows(2).position(|w| w == b"\r\n").expect("a chunk size");
        let size = std::str::from_utf8(&rest[..line]).expect("text");
        let size = usize::from_str_radix(size, 16).expect("a chunk size");
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&rest[line + 2..line + 2 + size]);
        rest = &rest[line + 2 + size + 2..];
    }
}

fn request(path: &str, id: &str, cut: &str, json: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nhost: weir\r\ncontent-type: application/json\r\nx-request-id: {id}\r\n\
         anthropic-version: 2023-06-01\r\nx-mock-record: 1\r\nx-mock-chunking: {cut}\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n{json}",
        json.len()
    )
    .into_bytes()
}

fn ask(weir: &Weir, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(weir.address).expect("connect");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("timeout");
    stream.write_all(request).expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("read");
    answer
}

/// What the upstream put on the wire for this request.
fn sent(upstream: &Handle, id: &str) -> Vec<u8> {
    let record = upstream.record(id).expect("a record");
    record.sent_bytes().expect("it was recorded")
}

const MESSAGES: &str = r#""messages":[{"role":"user","content":"hello"}]"#;

#[test]
fn streams_are_byte_identical_for_every_cutting() {
    let upstream = mock();
    let weir = weir(&upstream);
    let calls = [
        ("/v1/chat/completions", format!(r#"{{"model":"sim-1","stream":true,"stream_options":{{"include_usage":true}},{MESSAGES}}}"#)),
        ("/v1/completions", r#"{"model":"sim-1","stream":true,"stream_options":{"include_usage":true},"prompt":"hello"}"#.to_owned()),
        ("/v1/responses", r#"{"model":"sim-1","stream":true,"input":"hello"}"#.to_owned()),
        ("/v1/messages", format!(r#"{{"model":"sim-1","max_tokens":64,"stream":true,{MESSAGES}}}"#)),
        ("/v1beta/models/sim-1:streamGenerateContent?alt=sse", r#"{"contents":[{"role":"user","parts":[{"text":"hello"}]}]}"#.to_owned()),
        ("/v1beta/models/sim-1:streamGenerateContent", r#"{"contents":[{"role":"user","parts":[{"text":"hello"}]}]}"#.to_owned()),
        ("/v2/chat", format!(r#"{{"model":"sim-1","stream":true,{MESSAGES}}}"#)),
        ("/model/sim-1/converse-stream", r#"{"messages":[{"role":"user","content":[{"text":"hello"}]}]}"#.to_owned()),
    ];
    for (n, (path, json)) in calls.iter().enumerate() {
        for cut in ["whole", "joined", "random", "bytes:1", "bytes:7", "bytes:100", "bytes:4096"] {
            let id = format!("identity-{n}-{}", cut.replace(':', "-"));
            let got = body(&ask(&weir, &request(path, &id, cut, json)));
            assert!(!got.is_empty(), "{path} {cut}");
            assert!(got == sent(&upstream, &id), "{path} {cut}: the client got other bytes");
        }
    }
}

#[test]
fn the_usage_frame_that_weir_asked_for_stays_with_weir() {
    let upstream = mock();
    let weir = weir(&upstream);
    let json = format!(r#"{{"model":"sim-1", "stream" : true, {MESSAGES}}}"#);
    for cut in ["whole", "random", "bytes:3"] {
        let id = format!("usage-{}", cut.replace(':', "-"));
        let got = body(&ask(&weir, &request("/v1/chat/completions", &id, cut, &json)));
        let all = String::from_utf8(sent(&upstream, &id)).expect("text");
        let without: String =
            all.split_inclusive("\n\n").filter(|frame| !frame.contains("\"choices\":[]")).collect();
        assert_ne!(all, without, "the upstream was asked for usage");
        assert_eq!(String::from_utf8(got).expect("text"), without, "{cut}");
    }
}

/// The access log's line of a request.
fn logged(weir: &Weir, id: &str) -> serde_json::Value {
    let wanted = format!("\"request_id\":\"{id}\"");
    for _ in 0..200 {
        if let Some(line) = weir.access_log().lines().find(|line| line.contains(&wanted)) {
            return serde_json::from_str(line).expect("JSON");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("no line for {id}");
}

#[test]
fn what_was_used_is_recorded_whoever_says_it() {
    let upstream = mock();
    let weir = weir(&upstream);
    let json = format!(r#"{{"model":"sim-1","stream":true,{MESSAGES}}}"#);
    ask(&weir, &request("/v1/chat/completions", "by-provider", "whole", &json));
    let unsaid = String::from_utf8(request("/v1/chat/completions", "by-weir", "random", &json))
        .expect("text")
        .replace("x-mock-record: 1", "x-mock-no-usage: 1");
    ask(&weir, unsaid.as_bytes());
    let (theirs, ours) = (logged(&weir, "by-provider"), logged(&weir, "by-weir"));
    assert_eq!(theirs["usage_source"], "provider");
    assert_eq!(theirs["output_tokens"], 40);
    assert_ne!(ours["usage_source"], "provider");
    assert!(ours["output_tokens"].as_u64().is_some_and(|tokens| tokens >= 30), "{ours}");
    assert!(ours["input_tokens"].as_u64().is_some_and(|tokens| tokens >= 1), "{ours}");
}

#[test]
fn a_body_of_32_mb_is_replayed_to_the_next_candidate() {
    let (failing, healthy) = (mock(), mock());
    failing.set_fault(Some("500".parse().expect("a fault")));
    let weir = Weir::start(&format!(
        "
access: open
runtime: {{ threads: 1 }}
providers:
  failing: {{ dialect: openai, base_url: 'http://{}/v1' }}
  healthy: {{ dialect: openai, base_url: 'http://{}/v1' }}
pools:
  both: {{ targets: [{{ provider: failing }}, {{ provider: healthy, priority: 1 }}] }}
routes: [{{ pool: both }}]
",
        failing.address(),
        healthy.address()
    ));
    let filler = "x".repeat(33 << 20);
    let json =
        format!(r#"{{"model":"sim-1","messages":[{{"role":"user","content":"{filler}"}}]}}"#);
    let answer = ask(&weir, &request("/v1/chat/completions", "large", "whole", &json));
    assert!(!body(&answer).is_empty());
    assert!(String::from_utf8_lossy(&answer).to_ascii_lowercase().contains("x-weir-attempts: 2"));
    let record = healthy.record("large").expect("it arrived");
    assert_eq!(record.bytes_in, json.len() as u64);
}

#[test]
fn a_passthrough_is_left_as_it_is_and_counted_all_the_same() {
    let upstream = mock();
    let weir = weir(&upstream);
    let json = format!(r#"{{"model":"sim-1","stream":true,{MESSAGES}}}"#);
    let path = "/passthrough/openai/v1/chat/completions";
    for cut in ["whole", "bytes:5"] {
        let id = format!("passed-{}", cut.replace(':', "-"));
        let got = body(&ask(&weir, &request(path, &id, cut, &json)));
        assert_eq!(String::from_utf8(got), String::from_utf8(sent(&upstream, &id)), "{cut}");
        let line = logged(&weir, &id);
        assert_eq!(line["model_asked"], "sim-1", "{line}");
        assert!(line["output_tokens"].as_u64().is_some_and(|tokens| tokens >= 30), "{line}");
        assert_ne!(line["usage_source"], "provider", "nobody asked the provider: {line}");
    }
    let whole = format!(r#"{{"model":"sim-1","max_tokens":64,{MESSAGES}}}"#);
    ask(&weir, &request("/passthrough/anthropic/v1/messages", "passed-json", "whole", &whole));
    let line = logged(&weir, "passed-json");
    assert_eq!((&line["usage_source"], &line["output_tokens"]), (&"provider".into(), &40.into()));
    // What nobody here can read goes through as well.
    let broken = request(path, "passed-broken", "whole", "{\"model\":");
    let answer = String::from_utf8_lossy(&ask(&weir, &broken)).into_owned();
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert!(upstream.record("passed-broken").is_some(), "the upstream said so");
}

#[test]
fn a_stream_that_breaks_is_a_failed_attempt() {
    let upstream = mock();
    let weir = weir(&upstream);
    let json = format!(r#"{{"model":"sim-1","stream":true,{MESSAGES}}}"#);
    let faults = [("cut=3", "upstream_cut"), ("error_in_stream=3", "upstream_stream_error")];
    for (n, (fault, outcome)) in faults.into_iter().enumerate() {
        let id = format!("broken-{n}");
        let faulty = String::from_utf8(request("/v1/chat/completions", &id, "whole", &json))
            .expect("text")
            .replace("x-mock-record: 1", &format!("x-mock-fault: {fault}"));
        ask(&weir, faulty.as_bytes());
        let line = logged(&weir, &id);
        assert_eq!(line["attempts"][0]["outcome"], outcome, "{line}");
        assert_eq!(line["stream_broken"], true, "{line}");
    }
    let failed = weir.metrics().lines().any(|line| {
        line.starts_with("weir_attempts_total")
            && line.contains("upstream_cut")
            && line.ends_with(" 1")
    });
    assert!(failed, "{}", weir.metrics());
}

#[test]
fn a_client_that_leaves_while_the_upstream_is_silent_is_noticed() {
    let upstream = mock();
    let weir = weir(&upstream);
    let json = format!(r#"{{"model":"sim-1","stream":true,{MESSAGES}}}"#);
    let stalled = String::from_utf8(request("/v1/chat/completions", "left", "whole", &json))
        .expect("text")
        .replace("x-mock-record: 1", "x-mock-fault: stall=20");
    let mut socket = TcpStream::connect(weir.address).expect("connect");
    socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    socket.write_all(stalled.as_bytes()).expect("sent");
    let (mut got, mut more) = (Vec::new(), [0; 4096]);
    // Most frames are alike and pass; then nothing comes any more.
    while memchr::memmem::find_iter(&got, b"data: ").count() < 20 {
        let count = socket.read(&mut more).expect("frames");
        assert!(count > 0, "it ended early");
        got.extend_from_slice(&more[..count]);
    }
    std::thread::sleep(Duration::from_millis(50));
    drop(socket);
    assert_eq!(logged(&weir, "left")["client_gone"], true);
}
