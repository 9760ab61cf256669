//! Six formats of clients, six of upstreams: every pair, whatever is asked for.
//!
//! Each cell is one request of a client, written as its provider documents it, to a real weir before
//! a simulated upstream of the other format, which refuses what its provider would refuse; and the
//! answer, read as the client's own library reads it. A cell has passed, or is refused by a policy
//! that is declared here.

mod ask;
mod cut;
mod quirks;
mod read;
mod state;
mod table;
mod vectors;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use weir::wire::frame::{Framer, Framing};
use weir::wire::{eventstream, sse};
use weir_loadtest::mock::{self, Handle};

use crate::stand::Weir;
use ask::{FORMATS, Scenario, request};
use read::Read;

fn upstream() -> Handle {
    mock::spawn(mock::Settings { tokens: mock::Tokens::fixed(24), ..mock::Settings::default() })
        .expect("a simulated upstream")
}

/// One that does not open: tests of failures are not tests of breakers.
const BREAKER: &str = "{ consecutive_failures: 0, error_percent: 0 }";

/// What the providers of each format are called beside its name, and what makes them what they are:
/// one calls two tools, one refuses, one stops where it was told to, and one is like any other.
const VARIANTS: [(&str, &str); 4] = [
    ("-two", "x-mock-tool-calls"),
    ("-refusing", "x-mock-refusal"),
    ("-stopping", "x-mock-stop-sequence"),
    ("", "x-mock-tool-calls"),
];

/// A provider for each format and variant.
fn weir(upstream: &Handle, policy: &str) -> Weir {
    let base = format!("http://{}", upstream.address());
    let mut providers = String::new();
    let mut pools = String::new();
    let mut routes = String::new();
    for format in FORMATS {
        let (dialect, path) = match format {
            "chat_completions" | "responses" => ("openai", "/v1"),
            other => (other, ""),
        };
        let formats =
            if dialect == "openai" { format!(", formats: [{format}]") } else { String::new() };
        for (suffix, knob) in VARIANTS {
            let name = format!("{format}{suffix}");
            let _ = writeln!(
                providers,
                "  {name}: {{ dialect: {dialect}, base_url: '{base}{path}'{formats}, headers: {{ x-mock-strict: '1', {knob}: '{}' }} }}",
                if suffix == "-two" { 2 } else { 1 }
            );
            let _ = writeln!(
                pools,
                "  {name}: {{ targets: [{{ provider: {name} }}], breaker: {BREAKER} }}"
            );
        }
        for (suffix, _) in VARIANTS {
            let _ = writeln!(
                routes,
                "  - {{ match: {{ model: '{format}{suffix}*' }}, pool: {format}{suffix}, loss: {policy} }}"
            );
        }
    }
    Weir::start(&format!(
        "access: open\nruntime: {{ threads: 1 }}\nproviders:\n{providers}pools:\n{pools}routes:\n{routes}"
    ))
}

/// Status, headers and body.
fn exchange(
    weir: &Weir,
    path: &str,
    id: &str,
    body: &Value,
) -> (u16, BTreeMap<String, String>, Vec<u8>) {
    send(weir, "POST", path, &format!("x-request-id: {id}"), Some(body))
}

/// The same of any method, with a header of its own.
fn send(
    weir: &Weir,
    method: &str,
    path: &str,
    header: &str,
    body: Option<&Value>,
) -> (u16, BTreeMap<String, String>, Vec<u8>) {
    let body = body.map(Value::to_string).unwrap_or_default();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: weir\r\ncontent-type: application/json\r\n{header}\r\n\
         anthropic-version: 2023-06-01\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(weir.address).expect("connect");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("timeout");
    std::io::Write::write_all(&mut stream, request.as_bytes()).expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("read");
    parse(&answer)
}

fn parse(answer: &[u8]) -> (u16, BTreeMap<String, String>, Vec<u8>) {
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n").expect("a head") + 4;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head[9..12].parse().expect("a status");
    let headers: BTreeMap<String, String> = head
        .lines()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    if headers.get("transfer-encoding").is_none_or(|coding| coding != "chunked") {
        return (status, headers, answer[end..].to_vec());
    }
    let (mut rest, mut body) = (&answer[end..], Vec::new());
    loop {
        let line = rest.windows(2).position(|w| w == b"\r\n").expect("a chunk size");
        let size = std::str::from_utf8(&rest[..line]).expect("text");
        let size = usize::from_str_radix(size, 16).expect("a chunk size");
        if size == 0 {
            return (status, headers, body);
        }
        body.extend_from_slice(&rest[line + 2..line + 2 + size]);
        rest = &rest[line + 2 + size + 2..];
    }
}

/// The events of a stream, each by its name.
fn events(format: &str, body: &[u8]) -> Vec<(String, Value)> {
    let json = |data: &[u8]| serde_json::from_slice(data).expect("JSON in an event");
    let text = |name: Option<&[u8]>| String::from_utf8_lossy(name.unwrap_or_default()).into_owned();
    if format == "bedrock" {
        let mut framer = Framer::new(Framing::AwsEventStream, 1 << 20);
        let frames = framer.push(body.to_vec().into()).expect("frames").unwrap_or_default();
        assert_eq!(frames.len(), body.len(), "whole frames");
        return eventstream::messages(&frames)
            .map(|message| message.expect("a sound message"))
            .map(|message| {
                (message.event_type().unwrap_or_default().to_owned(), json(message.payload))
            })
            .collect();
    }
    let all: Vec<_> = sse::events(body).filter(|event| !event.data.is_empty()).collect();
    if format == "chat_completions" || format == "cohere" {
        assert_eq!(all.last().map(|event| &*event.data), Some(&b"[DONE]"[..]));
    }
    all.iter()
        .filter(|event| &*event.data != b"[DONE]")
        .map(|event| (text(event.name), json(&event.data)))
        .collect()
}

/// What a format calls the end of an answer of some provider.
fn finish(format: &str, server: &str, scenario: Scenario) -> &'static str {
    let in_words = matches!(server, "chat_completions" | "responses");
    match (scenario, format) {
        // No reason of its own: it says so in words, or not at all.
        (Scenario::Refusal | Scenario::StreamRefusal, "cohere") => return "COMPLETE",
        (Scenario::Refusal | Scenario::StreamRefusal, "responses") if in_words => {
            return "completed";
        }
        (Scenario::Refusal | Scenario::StreamRefusal, "chat_completions") if in_words => {
            return "stop";
        }
        (Scenario::Refusal | Scenario::StreamRefusal, _) if server != "cohere" => {
            return match format {
                "chat_completions" | "responses" => "content_filter",
                "anthropic" => "refusal",
                "gemini" => "SAFETY",
                _ => "content_filtered",
            };
        }
        (Scenario::StopSequence, "anthropic" | "bedrock")
            if matches!(server, "anthropic" | "bedrock" | "cohere") =>
        {
            return "stop_sequence";
        }
        (Scenario::StopSequence, "cohere")
            if matches!(server, "anthropic" | "bedrock" | "cohere") =>
        {
            return "STOP_SEQUENCE";
        }
        _ => {}
    }
    let calls = matches!(scenario, Scenario::Tool | Scenario::StreamTool | Scenario::ParallelTools);
    let which = usize::from(calls) + 2 * usize::from(scenario == Scenario::Length);
    match format {
        "chat_completions" => ["stop", "tool_calls", "length"][which],
        "responses" => ["completed", "completed", "max_output_tokens"][which],
        "anthropic" | "bedrock" => ["end_turn", "tool_use", "max_tokens"][which],
        "gemini" => ["STOP", "STOP", "MAX_TOKENS"][which],
        "cohere" => ["COMPLETE", "TOOL_CALL", "MAX_TOKENS"][which],
        _ => unreachable!("{format}"),
    }
}

/// How a cell came out, if it is not wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Passed,
    /// By the policy that is declared.
    Refused,
    /// The client's format has no such thing to ask for.
    Absent,
}

/// One cell.
fn cell(weir: &Weir, upstream: &Handle, client: &str, server: &str, scenario: Scenario) -> Outcome {
    if (client, scenario) == ("responses", Scenario::StopSequence) {
        return Outcome::Absent;
    }
    if let Some(status) = scenario.error(server) {
        return failure(weir, client, server, status);
    }
    let variant = match scenario {
        Scenario::ParallelTools => "-two",
        Scenario::Refusal | Scenario::StreamRefusal => "-refusing",
        Scenario::StopSequence => "-stopping",
        _ => "",
    };
    let model = format!("{server}{variant}-claude");
    let (path, body) = request(client, scenario, &model);
    let id = format!("{client}-{server}-{scenario:?}");
    let (status, headers, answer) = exchange(weir, &path, &id, &body);
    let shown = String::from_utf8_lossy(&answer);
    if (server, scenario) == ("responses", Scenario::StopSequence) {
        assert_eq!((status, &*headers["x-weir-error"]), (400, "not_expressible"), "{shown}");
        return Outcome::Refused;
    }
    assert_eq!(status, 200, "{id}: {shown}\n{body}");
    let read: Read = if scenario.streams() {
        read::stream(client, &events(client, &answer))
    } else {
        read::whole(client, &serde_json::from_slice(&answer).expect("JSON"))
    };
    let said = (&headers.get("x-weir-dropped"), &shown);
    assert_eq!(read.finish, finish(client, server, scenario), "{id} {said:?}");
    let calls = match scenario {
        Scenario::Tool | Scenario::StreamTool => 1,
        Scenario::ParallelTools => 2,
        _ => 0,
    };
    assert_eq!(read.calls.len(), calls, "{id} {said:?}");
    for (name, arguments) in &read.calls {
        assert!(name.starts_with("get_"), "{id}");
        assert!(arguments["city"].is_string(), "{id}: {arguments}");
    }
    let in_words =
        [client, server].iter().all(|it| matches!(*it, "chat_completions" | "responses"));
    if scenario.refuses() && in_words {
        // In a place of its own.
        assert!(read.text.is_empty() && shown.contains("\"refusal\""), "{id} {said:?}");
    } else if calls == 0 && scenario != Scenario::Length {
        assert!(!read.text.is_empty(), "{id} {said:?}");
    }
    if scenario == Scenario::Schema {
        let document: Value = serde_json::from_str(&read.text).expect("a document");
        assert!(
            document["answer"].is_string() || server == "bedrock" || server == "anthropic",
            "{id}: {document}"
        );
    }
    if scenario.thinks() {
        assert!(!read.thought.is_empty(), "{id} {said:?}");
    }
    usage(&read, upstream, &id, client);
    Outcome::Passed
}

/// One cell of the errors: the status, the words and the shape from which the client's library makes
/// its own exception.
fn failure(weir: &Weir, client: &str, server: &str, status: u16) -> Outcome {
    let (path, body) = request(client, Scenario::Text, &format!("{server}-x+fault:{status}"));
    let id = format!("{client}-{server}-{status}");
    let (got, headers, answer) = exchange(weir, &path, &id, &body);
    let shown = String::from_utf8_lossy(&answer);
    let want = match status {
        // It is weir's credential that was refused, not the client's.
        401 => 502,
        // What only Anthropic's own clients know.
        529 if client != "anthropic" => 503,
        status => status,
    };
    assert_eq!(got, want, "{id}: {shown}");
    let body = serde_json::from_slice(&answer).expect("JSON");
    assert!(!complaint(client, &body).is_empty(), "{id}");
    assert_eq!(headers["content-type"], "application/json", "{id}");
    assert!(headers.contains_key("x-weir-error"), "{id}");
    let said = match client {
        "gemini" => {
            assert_eq!(body["error"]["code"], got, "{id}: {shown}");
            body["error"]["status"].as_str()
        }
        "bedrock" => headers.get("x-amzn-errortype").map(String::as_str),
        // It has no words for kinds.
        "cohere" => None,
        _ => body["error"]["type"].as_str(),
    };
    assert_eq!(said, word(client, want), "{id}: {shown}");
    Outcome::Passed
}

/// What a format calls an error with a status.
fn word(format: &str, status: u16) -> Option<&'static str> {
    let at = match status {
        400 => 0,
        429 => 1,
        500 => 2,
        502 => 3,
        _ => 4,
    };
    Some(match format {
        "cohere" => return None,
        "anthropic" => [
            "invalid_request_error",
            "rate_limit_error",
            "api_error",
            "api_error",
            "overloaded_error",
        ][at],
        "gemini" => {
            ["INVALID_ARGUMENT", "RESOURCE_EXHAUSTED", "INTERNAL", "UNAVAILABLE", "UNAVAILABLE"][at]
        }
        "bedrock" => [
            "ValidationException",
            "ThrottlingException",
            "InternalServerException",
            "InternalServerException",
            "ServiceUnavailableException",
        ][at],
        _ => ["invalid_request_error", "requests", "server_error", "server_error", "server_error"]
            [at],
    })
}

/// The record of a request, once the upstream has written its last.
fn finished(upstream: &Handle, id: &str) -> mock::Record {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match upstream.record(id).filter(|record| record.done) {
            Some(record) => return record,
            None => assert!(Instant::now() < deadline, "{id} is not over"),
        }
        std::thread::yield_now();
    }
}

/// What the client is told, what weir records and what the upstream reported are one.
fn usage(read: &Read, upstream: &Handle, id: &str, client: &str) {
    let theirs = finished(upstream, id);
    let (input, output, cached, thought) = read.usage;
    assert_eq!((input, output), (theirs.prompt_tokens, theirs.completion_tokens), "{id}");
    assert_eq!(cached, theirs.cached_tokens, "{id}");
    // Thought is part of the answer where both formats say how much of it.
    let server = id.split('-').nth(1).expect("a server");
    let server_says = matches!(server, "chat_completions" | "responses" | "gemini");
    let client_says = !matches!(client, "cohere" | "bedrock");
    let thinks = id.ends_with("Thinking") && client_says && server_says;
    assert_eq!(thought > 0, thinks, "{id}");
    assert!(thought <= output, "{id}");
}

#[test]
fn every_pair_for_everything_that_is_asked() {
    let upstream = upstream();
    let well = weir(&upstream, "lenient");
    let mut cells = 0;
    let mut failed = Vec::new();
    let mut table = table::Table::default();
    for scenario in Scenario::ALL {
        // A target that was limited rests for a while.
        let ill = scenario.error("any").map(|_| weir(&upstream, "lenient"));
        let weir = ill.as_ref().unwrap_or(&well);
        for client in FORMATS {
            for server in FORMATS {
                // All of them are tried, so that the report is of the whole matrix.
                let tried = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    cell(weir, &upstream, client, server, scenario)
                }));
                cells += 1;
                match tried {
                    Ok(outcome) => table.enter(client, server, outcome),
                    Err(_) => failed.push(format!("{client} to {server}: {scenario:?}")),
                }
            }
        }
    }
    assert_eq!(cells, 6 * 6 * Scenario::ALL.len());
    assert!(failed.is_empty(), "{} of {cells} cells failed:\n{}", failed.len(), failed.join("\n"));
    table.compare();
}

/// The text of an error, in the shape of a format.
fn complaint(format: &str, body: &Value) -> String {
    let text = match format {
        "cohere" | "bedrock" => &body["message"],
        "anthropic" => {
            assert_eq!(body["type"], "error");
            assert!(body["error"]["type"].is_string());
            &body["error"]["message"]
        }
        "gemini" => {
            assert!(body["error"]["code"].is_number() && body["error"]["status"].is_string());
            &body["error"]["message"]
        }
        _ => {
            assert!(body["error"]["type"].is_string());
            &body["error"]["message"]
        }
    };
    text.as_str().expect("a message").to_owned()
}

#[test]
fn what_is_not_found_is_said_in_the_clients_own_shape() {
    let upstream = upstream();
    let weir = weir(&upstream, "lenient");
    for client in FORMATS {
        for server in FORMATS {
            let (path, body) = request(client, Scenario::Text, &format!("{server}-x+fault:404"));
            let id = format!("{client}-{server}-404");
            let (got, _, answer) = exchange(&weir, &path, &id, &body);
            assert_eq!(got, 404, "{id}: {}", String::from_utf8_lossy(&answer));
            let message = complaint(client, &serde_json::from_slice(&answer).expect("JSON"));
            assert!(!message.is_empty(), "{id}");
        }
    }
}

#[test]
fn a_stream_that_breaks_never_ends_as_if_it_were_complete() {
    let upstream = upstream();
    let weir = weir(&upstream, "lenient");
    let normal = [
        "\"finish_reason\":\"stop\"",
        "message_stop",
        "response.completed",
        "\"STOP\"",
        "COMPLETE",
        "end_turn",
    ];
    for client in FORMATS {
        for server in FORMATS.into_iter().filter(|server| *server != client) {
            for fault in ["truncate=5", "cut=5", "error_in_stream=5"] {
                let model = format!("{server}-x+fault:{fault}");
                let (path, body) = request(client, Scenario::Stream, &model);
                let id = format!("{client}-{server}-{fault}");
                let (status, _, answer) = exchange(&weir, &path, &id, &body);
                let shown = String::from_utf8_lossy(&answer);
                assert_eq!(status, 200, "{id}: {shown}");
                assert!(normal.iter().all(|word| !shown.contains(word)), "{id}: {shown}");
                let error = ["error", "ERROR", "exception"].iter().any(|word| shown.contains(word));
                assert!(error, "{id}: {shown}");
            }
        }
    }
}

#[test]
fn failover_crosses_formats_in_every_order() {
    let upstream = upstream();
    let base = format!("http://{}", upstream.address());
    let (mut providers, mut pools, mut routes) = (String::new(), String::new(), String::new());
    for format in FORMATS {
        let (dialect, path) = match format {
            "chat_completions" | "responses" => ("openai", "/v1"),
            other => (other, ""),
        };
        let formats =
            if dialect == "openai" { format!(", formats: [{format}]") } else { String::new() };
        let _ = writeln!(
            providers,
            "  {format}: {{ dialect: {dialect}, base_url: '{base}{path}'{formats}, headers: {{ x-mock-strict: '1' }} }}"
        );
        for second in FORMATS.into_iter().filter(|second| *second != format) {
            let _ = writeln!(
                pools,
                "  {format}-{second}:\n    retry: {{ attempts: 2, budget_percent: 100 }}\n    breaker: {BREAKER}\n    targets:\n      - {{ provider: {format}, model: 'm+fault:500' }}\n      - {{ provider: {second}, model: claude, priority: 1 }}"
            );
            let _ = writeln!(
                routes,
                "  - {{ match: {{ model: '{format}-{second}' }}, pool: {format}-{second} }}"
            );
        }
    }
    let weir = Weir::start(&format!(
        "access: open\nruntime: {{ threads: 1 }}\nproviders:\n{providers}pools:\n{pools}routes:\n{routes}"
    ));
    for client in FORMATS {
        for first in FORMATS {
            for second in FORMATS.into_iter().filter(|second| *second != first) {
                for scenario in [Scenario::Text, Scenario::StreamTool] {
                    let (path, body) = request(client, scenario, &format!("{first}-{second}"));
                    let id = format!("{client}-{first}-{second}-{scenario:?}");
                    let (status, headers, answer) = exchange(&weir, &path, &id, &body);
                    let shown = String::from_utf8_lossy(&answer);
                    assert_eq!(status, 200, "{id}: {shown}");
                    assert_eq!(headers["x-weir-provider"], second, "{id}");
                    assert_eq!(headers["x-weir-attempts"], "2", "{id}");
                    let read = if scenario.streams() {
                        read::stream(client, &events(client, &answer))
                    } else {
                        read::whole(client, &serde_json::from_slice(&answer).expect("JSON"))
                    };
                    assert_eq!(read.finish, finish(client, second, scenario), "{id}");
                }
            }
        }
    }
}

#[test]
fn what_is_lost_is_reported_or_refused() {
    let upstream = upstream();
    let (path, mut body) = request("chat_completions", Scenario::Text, "anthropic-x");
    body["seed"] = json!(7);
    body["logit_bias"] = json!({"50256": -100});
    let lenient = weir(&upstream, "lenient");
    let (status, headers, answer) = exchange(&lenient, &path, "lenient", &body);
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
    assert_eq!(headers["x-weir-dropped"], "logit_bias, seed");
    let metrics = lenient.metrics();
    let dropped =
        r#"weir_translation_dropped_total{client="chat_completions",upstream="anthropic"} 2"#;
    assert!(metrics.contains(dropped), "{metrics}");

    body["n"] = json!(2);
    let (status, headers, answer) = exchange(&lenient, &path, "essential", &body);
    let answer: Value = serde_json::from_slice(&answer).expect("JSON");
    assert_eq!((status, &answer["error"]["param"]), (400, &json!("n")), "{answer}");
    assert_eq!(headers["x-weir-error"], "not_expressible");

    let strict = weir(&upstream, "strict");
    body.as_object_mut().expect("an object").remove("n");
    let (status, _, answer) = exchange(&strict, &path, "strict", &body);
    let answer: Value = serde_json::from_slice(&answer).expect("JSON");
    assert_eq!((status, &answer["error"]["param"]), (400, &json!("logit_bias")), "{answer}");
    assert!(upstream.record("strict").is_none() && upstream.record("essential").is_none());
}

#[test]
fn large_bodies_are_translated_like_small_ones() {
    let upstream = upstream();
    let weir = weir(&upstream, "lenient");
    for (client, server) in [("chat_completions", "anthropic"), ("anthropic", "gemini")] {
        let (path, mut body) = request(client, Scenario::Text, &format!("{server}-claude"));
        let long = "The river is wide. ".repeat(80_000);
        let last = body["messages"].as_array_mut().expect("turns").last_mut().expect("a turn");
        last["content"] = json!(long);
        let id = format!("large-{client}-{server}");
        let (status, _, answer) = exchange(&weir, &path, &id, &body);
        assert_eq!(status, 200, "{id}: {}", String::from_utf8_lossy(&answer));
        let read = read::whole(client, &serde_json::from_slice(&answer).expect("JSON"));
        assert!(!read.text.is_empty() && read.usage.0 > 300_000, "{id}: {}", read.usage.0);
    }
    // The answer is large: as many vectors as make it more than a megabyte.
    let inputs: Vec<String> = (0..40).map(|at| format!("text {at}")).collect();
    let body = json!({"model": "cohere-e", "input": inputs, "dimensions": 4096});
    let (status, _, answer) = exchange(&weir, "/v1/embeddings", "vectors", &body);
    let answer: Value = serde_json::from_slice(&answer).expect("JSON");
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["data"].as_array().map(Vec::len), Some(40));
}
