//! A plain HTTP/1.1 client for tests: blocking, one connection a call, nothing hidden.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use crate::mock::{Handle, Settings, spawn};

/// A default upstream.
pub(super) fn upstream() -> Handle {
    spawn(Settings { tokens: crate::mock::Tokens::fixed(8), ..Settings::default() }).unwrap()
}

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    /// Without chunk framing.
    pub(super) body: Vec<u8>,
    /// Whether the body was complete by its framing.
    pub(super) complete: bool,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|why| panic!("{why}: {}", self.text()))
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value))
    }

    /// The JSON of every SSE event that has some.
    pub(super) fn events(&self) -> Vec<Value> {
        let data = self.text();
        data.split("\n\n")
            .filter_map(|frame| frame.lines().find_map(|line| line.strip_prefix("data: ")))
            .filter(|data| *data != "[DONE]")
            .map(|data| serde_json::from_str(data).unwrap_or_else(|why| panic!("{why}: {data}")))
            .collect()
    }
}

/// A request as it goes over the wire.
pub(super) fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> String {
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: mock\r\n");
    for (name, value) in headers {
        let _ = write!(text, "{name}: {value}\r\n");
    }
    let _ = write!(text, "content-length: {}\r\n\r\n{body}", body.len());
    text
}

pub(super) fn connect(handle: &Handle) -> TcpStream {
    let io = TcpStream::connect(handle.address()).unwrap();
    io.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    io
}

/// Sends a request on a fresh connection and reads all of the answer. `None` when none came.
pub(super) fn call(
    handle: &Handle,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Option<Answer> {
    let mut io = connect(handle);
    let mut all = vec![("connection", "close")];
    all.extend_from_slice(headers);
    io.write_all(request(method, path, &all, body).as_bytes()).unwrap();
    let mut bytes = Vec::new();
    // A reset after some bytes leaves those bytes.
    let ended = io.read_to_end(&mut bytes);
    parse(&bytes, ended.is_ok())
}

pub(super) fn post(handle: &Handle, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
    call(handle, "POST", path, headers, &body.to_string()).expect("an answer")
}

pub(super) fn get(handle: &Handle, path: &str, headers: &[(&str, &str)]) -> Answer {
    call(handle, "GET", path, headers, "").expect("an answer")
}

fn parse(bytes: &[u8], ended: bool) -> Option<Answer> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let mut answer = Answer { status, head, body: bytes[end..].to_vec(), complete: ended };
    if answer.header("transfer-encoding") == Some("chunked") {
        (answer.body, answer.complete) = unchunk(&answer.body);
    } else if let Some(length) = answer.header("content-length") {
        answer.complete = length.parse() == Ok(answer.body.len());
    }
    Some(answer)
}

fn unchunk(mut bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        let Some(end) = bytes.windows(2).position(|window| window == b"\r\n") else {
            return (body, false);
        };
        let size = std::str::from_utf8(&bytes[..end]).ok();
        let Some(size) = size.and_then(|text| usize::from_str_radix(text, 16).ok()) else {
            return (body, false);
        };
        bytes = &bytes[end + 2..];
        if size == 0 {
            return (body, bytes == b"\r\n");
        }
        if bytes.len() < size + 2 {
            body.extend_from_slice(&bytes[..bytes.len().min(size)]);
            return (body, false);
        }
        body.extend_from_slice(&bytes[..size]);
        bytes = &bytes[size + 2..];
    }
}
