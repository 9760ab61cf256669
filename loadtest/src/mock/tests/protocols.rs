//! HTTP/1.1 in odd shapes, HTTP/2, and the realtime session.

use std::io::{Read, Write};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::client::{connect, upstream};
use crate::mock::{Handle, Record, Settings, Tokens, spawn};

fn chat(stream: bool) -> String {
    json!({"model": "m", "stream": stream, "messages": [{"role": "user", "content": "hello"}]})
        .to_string()
}

/// Reads one answer with a length off a connection that stays open.
fn one_answer(io: &mut impl Read) -> (String, Vec<u8>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        io.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    io.read_exact(&mut body).unwrap();
    (head, body)
}

#[test]
fn a_connection_carries_many_requests_in_any_framing() {
    let handle = upstream();
    let mut io = connect(&handle);
    let body = chat(false);
    let mut chunked =
        String::from("POST /v1/chat/completions HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n");
    for piece in body.as_bytes().chunks(7) {
        let piece = std::str::from_utf8(piece).unwrap();
        let _ = std::fmt::Write::write_fmt(
            &mut chunked,
            format_args!("{:x};ext=1\r\n{piece}\r\n", piece.len()),
        );
    }
    chunked.push_str("0\r\ntrailer: x\r\n\r\n");
    // Two at once, the second begins before the first is answered.
    io.write_all(format!("{chunked}{chunked}").as_bytes()).unwrap();
    for _ in 0..2 {
        let (head, answer) = one_answer(&mut io);
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(serde_json::from_slice::<Value>(&answer).unwrap()["usage"].is_object());
    }
    io.write_all(format!("POST /v1/chat/completions HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n", body.len()).as_bytes()).unwrap();
    assert_eq!(one_answer(&mut io).0, "HTTP/1.1 100 Continue\r\n\r\n");
    io.write_all(body.as_bytes()).unwrap();
    assert!(one_answer(&mut io).0.starts_with("HTTP/1.1 200"));
    assert_eq!(handle.stats().connections, 1);
    assert_eq!(handle.stats().requests, 3);
}

#[test]
fn large_bodies_are_taken_and_larger_ones_refused() {
    let handle = spawn(Settings { body_bytes_max: 40 << 20, ..Settings::default() }).unwrap();
    let text = "a".repeat(33 << 20);
    let body = json!({"model": "m", "messages": [{"role": "user", "content": text}]}).to_string();
    let mut io = connect(&handle);
    let head = |length: usize| {
        format!("POST /v1/chat/completions HTTP/1.1\r\ncontent-length: {length}\r\n\r\n")
    };
    io.write_all(head(body.len()).as_bytes()).unwrap();
    io.write_all(body.as_bytes()).unwrap();
    assert!(one_answer(&mut io).0.starts_with("HTTP/1.1 200"));
    assert_eq!(handle.records(1)[0].bytes_in, body.len() as u64);
    io.write_all(head(50 << 20).as_bytes()).unwrap();
    assert!(one_answer(&mut io).0.starts_with("HTTP/1.1 413"));
}

#[test]
fn idle_connections_are_closed_when_asked() {
    let handle = spawn(Settings { idle_timeout_ms: 30, ..Settings::default() }).unwrap();
    let mut rest = Vec::new();
    connect(&handle).read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty());
}

/// Runs one HTTP/2 exchange: status, body as far as it came, whether it ended well.
async fn exchange(
    handle: &Handle,
    headers: &[(&str, &str)],
    body: String,
) -> (Option<u16>, Vec<u8>, bool) {
    let io = tokio::net::TcpStream::connect(handle.address()).await.unwrap();
    let (client, connection) = h2::client::handshake(io).await.unwrap();
    let driver = tokio::spawn(connection);
    let mut client = client.ready().await.unwrap();
    let mut request = http::Request::post(format!("{}/v1/chat/completions", handle.url()));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (response, mut sending) = client.send_request(request.body(()).unwrap(), false).unwrap();
    sending.send_data(Bytes::from(body), true).unwrap();
    let result = match response.await {
        Err(_) => (None, Vec::new(), false),
        Ok(response) => {
            let status = response.status().as_u16();
            let (mut read, mut ended, mut incoming) = (Vec::new(), true, response.into_body());
            while let Some(chunk) = incoming.data().await {
                let Ok(chunk) = chunk else {
                    ended = false;
                    break;
                };
                let _ = incoming.flow_control().release_capacity(chunk.len());
                read.extend_from_slice(&chunk);
            }
            (Some(status), read, ended)
        }
    };
    driver.abort();
    result
}

#[tokio::test]
async fn http_2_gives_the_same_answers() {
    let handle = upstream();
    let (status, body, ended) = exchange(&handle, &[("x-mock-record", "1")], chat(true)).await;
    assert_eq!((status, ended), (Some(200), true));
    let record = handle.records(1).remove(0);
    assert_eq!((record.sent_bytes().unwrap(), &*record.protocol), (body, "h2"));
    assert!(record.headers.iter().any(|(name, value)| name == ":method" && value == "POST"));
    let large =
        json!({"model": "m", "messages": [{"role": "user", "content": "a".repeat(2 << 20)}]});
    assert_eq!(exchange(&handle, &[], large.to_string()).await.0, Some(200));
    assert_eq!(exchange(&handle, &[("x-mock-fault", "429")], chat(true)).await.0, Some(429));
    assert_eq!(exchange(&handle, &[("x-mock-fault", "reset")], chat(true)).await.0, None);
    for fault in ["cut=2", "reset=mid_stream:2", "malformed=chunk"] {
        let (status, _, ended) = exchange(&handle, &[("x-mock-fault", fault)], chat(true)).await;
        assert_eq!((status, ended), (Some(200), false), "{fault}");
    }
}

#[tokio::test]
async fn http_2_notices_a_reset_at_once() {
    let handle = upstream();
    let headers = [("x-mock-fault", "stall=1"), ("x-request-id", "gone-2")];
    let ended =
        tokio::time::timeout(Duration::from_millis(300), exchange(&handle, &headers, chat(true)))
            .await;
    assert!(ended.is_err());
    tokio::time::timeout(Duration::from_secs(5), async {
        while !handle.record("gone-2").is_some_and(|record| record.client_gone) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .unwrap();
    assert_eq!(handle.record("gone-2").unwrap().completion_tokens, 1);
}

/// A masked text frame.
fn frame(event: &Value) -> Vec<u8> {
    let text = event.to_string();
    let mut bytes = vec![0x81];
    if text.len() < 126 {
        bytes.push(0x80 | text.len() as u8);
    } else {
        bytes.push(0x80 | 0x7e);
        bytes.extend_from_slice(&(text.len() as u16).to_be_bytes());
    }
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

/// The next event of the server; `None` is a close.
fn event(io: &mut impl Read) -> Option<Value> {
    let mut head = [0; 2];
    io.read_exact(&mut head).ok()?;
    let mut length = usize::from(head[1]);
    if length == 126 {
        let mut long = [0; 2];
        io.read_exact(&mut long).unwrap();
        length = usize::from(u16::from_be_bytes(long));
    }
    let mut payload = vec![0; length];
    io.read_exact(&mut payload).unwrap();
    (head[0] == 0x81).then(|| serde_json::from_slice(&payload).unwrap())
}

#[test]
fn a_realtime_session_answers_and_reports_usage() {
    let handle = spawn(Settings { tokens: Tokens::fixed(6), ..Settings::default() }).unwrap();
    let mut io = connect(&handle);
    io.write_all(b"GET /v1/realtime?model=rt HTTP/1.1\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nx-request-id: rt-1\r\n\r\n").unwrap();
    let head = one_answer(&mut io).0;
    assert!(head.starts_with("HTTP/1.1 101") && head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(event(&mut io).unwrap()["type"], "session.created");
    io.write_all(&frame(
        &json!({"type": "conversation.item.create", "item": {"type": "message", "role": "user",
        "content": [{"type": "input_text", "text": "hello"}]}}),
    ))
    .unwrap();
    assert_eq!(event(&mut io).unwrap()["type"], "conversation.item.added");
    assert_eq!(event(&mut io).unwrap()["type"], "conversation.item.done");
    io.write_all(&frame(&json!({"type": "response.create"}))).unwrap();
    let (mut text, mut done) = (String::new(), Value::Null);
    while done.is_null() {
        let event = event(&mut io).unwrap();
        match event["type"].as_str() {
            Some("response.output_text.delta") => text.push_str(event["delta"].as_str().unwrap()),
            Some("response.done") => done = event["response"].clone(),
            _ => {}
        }
    }
    assert_eq!(done["output"][0]["content"][0]["text"], text);
    assert_eq!(done["usage"]["output_tokens"], 6);
    io.write_all(&frame(&json!({"type": "nonsense"}))).unwrap();
    assert_eq!(event(&mut io).unwrap()["type"], "error");
    io.write_all(&[0x88, 0x80, 0, 0, 0, 0]).unwrap();
    assert_eq!(event(&mut io), None);
    let mut rest = Vec::new();
    io.read_to_end(&mut rest).unwrap();
    let record = handle.record("rt-1").unwrap();
    assert_eq!((record.status, record.model.as_str(), record.completion_tokens), (101, "rt", 6));
    assert!(record.done && !record.client_gone);
}

#[test]
fn a_request_that_comes_again_gets_the_same_answer_with_identifiers_of_its_own() {
    let handle = upstream();
    let mut io = connect(&handle);
    let mut ask = |id: &str, knob: &str, body: &str| {
        let length = body.len();
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: m\r\nx-request-id: {id}\r\n{knob}\
            content-length: {length}\r\n\r\n"
        );
        io.write_all([head.as_bytes(), body.as_bytes()].concat().as_slice()).unwrap();
        let (head, body) = one_answer(&mut io);
        assert!(head.contains(&format!("x-request-id: {id}\r\n")), "{head}");
        let answer: Value = serde_json::from_slice(&body).unwrap();
        (head, answer)
    };
    let body = chat(false);
    let mut answers = ["one", "two", "three"].map(|id| ask(id, "", &body).1);
    let ids = answers.each_mut().map(|answer| {
        assert!(answer["created"].take().as_u64().unwrap() > 1_700_000_000);
        answer["id"].take().as_str().unwrap().to_owned()
    });
    assert!(answers[0] == answers[1] && answers[1] == answers[2]);
    assert!(ids[0] != ids[1] && ids[1] != ids[2]);
    assert!(ids.iter().all(|id| id.starts_with("chatcmpl-") && id.len() == ids[0].len()));
    // Another text, another knob, another fault: nothing is repeated.
    let (_, other) = ask("four", "", &body.replace("hello", "goodbye"));
    assert_ne!(other["choices"], answers[0]["choices"]);
    let (_, short) = ask("five", "x-mock-tokens: 3\r\n", &body);
    assert_eq!(short["usage"]["completion_tokens"], 3);
    handle.set_fault(Some("429".parse().unwrap()));
    let (head, _) = ask("six", "", &body);
    assert!(head.starts_with("HTTP/1.1 429 "), "{head}");
    // The books say the same of each.
    let records = handle.records(10);
    let facts = |record: &Record| {
        let Record { status, prompt_tokens, completion_tokens, .. } = *record;
        (status, prompt_tokens, completion_tokens, record.bytes_in, record.bytes_out, record.done)
    };
    let sequences: Vec<u64> = records.iter().map(|record| record.sequence).collect();
    assert_eq!(sequences, [1, 2, 3, 4, 5, 6]);
    assert!(records[..3].iter().all(|record| facts(record) == facts(&records[0]) && record.done));
    assert_eq!(records[2].request_id.as_deref(), Some("three"));
}
