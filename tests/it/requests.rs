//! Malformed requests, each with exactly the status, headers and body that it gets.
//!
//! The expectations are in `tests/golden/requests.txt`; `UPDATE_GOLDEN=1` rewrites them.

use std::fmt::Write;

use crate::stand::Weir;

const CONFIGURATION: &str = "
access: keys
tenants: { t: { keys: [{ name: k, hash: 'sha256:e8f76ebe4bd5e8a31dbd1aea3dd4b2c86b0e1e5d2f6d3bbf2a5c1a2ee2b0b7ad' }, { name: real, secret: { file: KEYFILE } }] } }
bounds: { body: 64KiB, head: 16KiB, headers: 40, json_depth: 32, read: 1s, body_time: 2s }
runtime: { threads: 1 }
providers:
  up: { dialect: openai, simulated: { ttft: 0ms, inter_token: 0ms, tokens: 2 } }
  an: { dialect: anthropic, simulated: { ttft: 0ms, inter_token: 0ms, tokens: 2 } }
pools:
  up: { targets: [{ provider: up }] }
  an: { targets: [{ provider: an }] }
routes:
  - { match: { model: 'known-*', endpoint: [messages] }, pool: an }
  - { match: { model: 'known-*' }, pool: up }
";

const KEY: &str = "a-known-key-1";
const CHAT: &str = "/v1/chat/completions";

struct Case {
    name: String,
    request: Vec<u8>,
}

/// A well-formed POST of a body.
fn post(path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut request = format!(
        "POST {path} HTTP/1.1\r\nhost: weir\r\nauthorization: Bearer {KEY}\r\ncontent-type: application/json\r\n\
         x-request-id: fixed\r\n{headers}content-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    request
}

/// A request with a head of the test's own.
fn raw(head: &str, body: &[u8]) -> Vec<u8> {
    let head = head.replace('\n', "\r\n");
    [head.as_bytes(), b"\r\n\r\n", body].concat()
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |name: &str, request: Vec<u8>| {
        cases.push(Case { name: name.to_owned(), request });
    };
    bodies(&mut add);
    fields(&mut add);
    framing(&mut add);
    heads(&mut add);
    callers(&mut add);
    cases
}

fn bodies(add: &mut dyn FnMut(&str, Vec<u8>)) {
    let deep =
        format!("{{\"model\":\"known-1\",\"messages\":{}1{}}}", "[".repeat(40), "]".repeat(40));
    let long_model = format!("{{\"model\":\"{}\",\"messages\":[]}}", "m".repeat(3000));
    let bodies: Vec<(&str, Vec<u8>)> = vec![
        ("empty body", b"".to_vec()),
        ("blank body", b"  \n ".to_vec()),
        ("not JSON", b"hello".to_vec()),
        ("an array", b"[]".to_vec()),
        ("a string", b"\"model\"".to_vec()),
        ("null", b"null".to_vec()),
        ("unclosed object", b"{\"model\":\"known-1\"".to_vec()),
        ("unclosed string", b"{\"model\":\"known-1".to_vec()),
        ("trailing comma", b"{\"model\":\"known-1\",}".to_vec()),
        ("missing colon", b"{\"model\" \"known-1\"}".to_vec()),
        ("single quotes", b"{'model':'known-1'}".to_vec()),
        ("comment", b"{/* hi */\"model\":\"known-1\"}".to_vec()),
        ("two documents", b"{\"model\":\"known-1\"}{}".to_vec()),
        ("trailing bytes", b"{\"model\":\"known-1\",\"messages\":[]} x".to_vec()),
        ("NaN", b"{\"model\":\"known-1\",\"temperature\":NaN}".to_vec()),
        ("leading zero", b"{\"model\":\"known-1\",\"max_tokens\":01}".to_vec()),
        ("bare minus", b"{\"model\":\"known-1\",\"max_tokens\":-}".to_vec()),
        ("bad escape", b"{\"model\":\"known-\\x\"}".to_vec()),
        ("short unicode escape", b"{\"model\":\"known-\\u12\"}".to_vec()),
        ("control character", b"{\"model\":\"known-\x01\"}".to_vec()),
        ("line break in a string", b"{\"model\":\"known-\n\"}".to_vec()),
        ("invalid UTF-8", b"{\"model\":\"known-\xff\"}".to_vec()),
        ("overlong UTF-8", b"{\"model\":\"known-\xc0\xaf\"}".to_vec()),
        ("byte order mark", b"\xef\xbb\xbf{\"model\":\"known-1\"}".to_vec()),
        ("too deep", deep.into_bytes()),
        (
            "body over the bound",
            [b"{\"model\":\"known-1\",\"x\":\"", "x".repeat(70_000).as_bytes(), b"\"}"].concat(),
        ),
        ("model too long", long_model.into_bytes()),
    ];
    for (name, body) in bodies {
        add(name, post(CHAT, "", &body));
    }
}

fn fields(add: &mut dyn FnMut(&str, Vec<u8>)) {
    for (name, body) in [
        ("no model", "{\"messages\":[]}"),
        ("model is a number", "{\"model\":4,\"messages\":[]}"),
        ("model is null", "{\"model\":null,\"messages\":[]}"),
        ("model is empty", "{\"model\":\"\",\"messages\":[]}"),
        ("model with a control character", "{\"model\":\"known-\\u0000\",\"messages\":[]}"),
        ("model twice", "{\"model\":\"known-1\",\"messages\":[],\"model\":\"known-2\"}"),
        (
            "model twice, once escaped",
            "{\"model\":\"known-1\",\"messages\":[],\"m\\u006fdel\":\"known-2\"}",
        ),
        ("stream twice", "{\"model\":\"known-1\",\"stream\":true,\"stream\":false}"),
        ("stream is a string", "{\"model\":\"known-1\",\"stream\":\"yes\",\"messages\":[]}"),
        ("stream is a number", "{\"model\":\"known-1\",\"stream\":1,\"messages\":[]}"),
        (
            "stream_options is a list",
            "{\"model\":\"known-1\",\"stream\":true,\"stream_options\":[],\"messages\":[]}",
        ),
        (
            "include_usage is a string",
            "{\"model\":\"known-1\",\"stream\":true,\"stream_options\":{\"include_usage\":\"no\"},\"messages\":[]}",
        ),
        ("unknown model", "{\"model\":\"nobody-1\",\"messages\":[]}"),
        ("huge number", "{\"model\":\"known-1\",\"max_tokens\":1e999999,\"messages\":\"x\"}"),
    ] {
        add(name, post(CHAT, "", body.as_bytes()));
    }
    add(
        "anthropic: no model",
        post("/v1/messages", "anthropic-version: 2023-06-01\r\n", b"{\"messages\":[]}"),
    );
    add("anthropic: not JSON", post("/v1/messages", "anthropic-version: 2023-06-01\r\n", b"{"));
    add("gemini: not JSON", post("/v1beta/models/known-1:generateContent", "", b"{"));
    add("cohere: no model", post("/v2/chat", "", b"{\"messages\":[]}"));
    add("bedrock: not JSON", post("/model/known-1/converse", "", b"{"));
    add(
        "wrong format for the model",
        post("/v1/messages", "", b"{\"model\":\"nobody\",\"max_tokens\":1,\"messages\":[]}"),
    );
}

fn framing(add: &mut dyn FnMut(&str, Vec<u8>)) {
    let head = |rest: &str| {
        format!(
            "POST {CHAT} HTTP/1.1\nhost: weir\nauthorization: Bearer {KEY}\nx-request-id: fixed\n{rest}"
        )
    };
    let chunked = head("transfer-encoding: chunked");
    add(
        "two content-lengths that differ",
        raw(&head("content-length: 2\ncontent-length: 3"), b"{}"),
    );
    add("content-length list that differs", raw(&head("content-length: 2, 3"), b"{}"));
    add("content-length with a sign", raw(&head("content-length: +2"), b"{}"));
    add("negative content-length", raw(&head("content-length: -2"), b"{}"));
    add("content-length in hex", raw(&head("content-length: 0x2"), b"{}"));
    add(
        "content-length too large to be true",
        raw(&head("content-length: 99999999999999999999"), b"{}"),
    );
    add("transfer-encoding not chunked", raw(&head("transfer-encoding: gzip"), b"{}"));
    add("chunked is not last", raw(&head("transfer-encoding: chunked, gzip"), b"0\r\n\r\n"));
    add("transfer-encoding obfuscated", raw(&head("transfer-encoding: xchunked"), b"0\r\n\r\n"));
    add("chunk size is not hex", raw(&chunked, b"zz\r\n{}\r\n0\r\n\r\n"));
    add("chunk size with a sign", raw(&chunked, b"+2\r\n{}\r\n0\r\n\r\n"));
    add("chunk size overflows", raw(&chunked, b"fffffffffffffffff\r\n{}\r\n0\r\n\r\n"));
    add("chunk longer than its size", raw(&chunked, b"2\r\n{}xx\r\n0\r\n\r\n"));
    add("body never arrives", raw(&head("content-length: 20"), b"{}"));
    add(
        "transfer-encoding in HTTP/1.0",
        raw(&format!("POST {CHAT} HTTP/1.0\nhost: weir\ntransfer-encoding: chunked"), b"0\r\n\r\n"),
    );
}

fn heads(add: &mut dyn FnMut(&str, Vec<u8>)) {
    let many = (0..60).fold(String::new(), |all, n| all + &format!("x-{n}: 1\n"));
    let auth = format!("authorization: Bearer {KEY}\nx-request-id: fixed");
    add("not HTTP", b"hello weir\r\n\r\n".to_vec());
    add("no version", b"GET /\r\n\r\n".to_vec());
    add("unknown version", raw("GET / HTTP/3.7\nhost: weir", b""));
    add("header without a colon", raw("GET /v1/models HTTP/1.1\nhost weir", b""));
    add("space before the colon", raw("GET /v1/models HTTP/1.1\nhost : weir", b""));
    add("folded header", raw("GET /v1/models HTTP/1.1\nhost: weir\nx-a: 1\n  2", b""));
    add("NUL in a header", raw("GET /v1/models HTTP/1.1\nhost: weir\nx-a: \0", b""));
    add("two hosts", raw("GET /v1/models HTTP/1.1\nhost: a\nhost: b", b""));
    add("header flood", raw(&format!("GET /v1/models HTTP/1.1\nhost: weir\n{many}{auth}"), b""));
    add(
        "headers too large",
        raw(
            &format!("GET /v1/models HTTP/1.1\nhost: weir\nx-a: {}\n{auth}", "a".repeat(20_000)),
            b"",
        ),
    );
    add(
        "target too long",
        raw(&format!("GET /{} HTTP/1.1\nhost: weir\n{auth}", "a".repeat(20_000)), b""),
    );
    add("CONNECT", raw("CONNECT example.com:443 HTTP/1.1\nhost: example.com", b""));
    add("no such path", raw(&format!("GET /nowhere HTTP/1.1\nhost: weir\n{auth}"), b""));
    add("wrong method", raw(&format!("GET {CHAT} HTTP/1.1\nhost: weir\n{auth}"), b""));
    add("dot segments", raw(&format!("GET /v1/../admin HTTP/1.1\nhost: weir\n{auth}"), b""));
    add(
        "encoded dot segments",
        raw(&format!("GET /passthrough/up/%2e%2e/x HTTP/1.1\nhost: weir\n{auth}"), b""),
    );
    add(
        "unknown provider",
        raw(&format!("GET /passthrough/nobody/x HTTP/1.1\nhost: weir\n{auth}"), b""),
    );
    add(
        "realtime without a handshake",
        raw(&format!("GET /v1/realtime?model=known-1 HTTP/1.1\nhost: weir\n{auth}"), b""),
    );
}

fn callers(add: &mut dyn FnMut(&str, Vec<u8>)) {
    let get = |rest: &str| {
        raw(&format!("GET /v1/models HTTP/1.1\nhost: weir\nx-request-id: fixed{rest}"), b"")
    };
    add("no key", get(""));
    add("unknown key", get("\nauthorization: Bearer somebody-else"));
    add("empty key", get("\nauthorization: Bearer "));
    add("another scheme", get("\nauthorization: Basic a2V5"));
    add("anthropic: unknown key", get("\nx-api-key: somebody-else\nanthropic-version: 2023-06-01"));
    add("gemini: unknown key", get("\nx-goog-api-key: somebody-else"));
}

/// Status line, our headers and body, with what differs from run to run left out.
fn readable(answer: &[u8]) -> String {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let mut lines: Vec<String> = Vec::new();
    for (n, line) in head.lines().enumerate() {
        let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
        let kept = [
            "content-type",
            "x-weir-error",
            "retry-after",
            "x-request-id",
            "connection",
            "request-id",
            "x-amzn-errortype",
        ];
        if n == 0 || kept.contains(&name.as_str()) {
            lines.push(line.to_owned());
        }
    }
    if !body.is_empty() {
        lines.push(body.to_owned());
    }
    if lines.is_empty() { "(closed without a word)".into() } else { lines.join("\n") }
}

/// Random request ids become one word.
fn without_random_ids(text: &str) -> String {
    let id =
        regex::Regex::new("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
            .expect("a constant");
    id.replace_all(text, "RANDOM").into_owned()
}

#[test]
fn every_malformed_request_gets_exactly_its_answer() {
    let keys = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(keys.path(), KEY).expect("the key");
    let weir = Weir::start(&CONFIGURATION.replace("KEYFILE", &keys.path().display().to_string()));
    let cases = cases();
    assert!(cases.len() >= 80, "{} cases", cases.len());
    let mut actual = String::new();
    for case in &cases {
        let answer = without_random_ids(&readable(&weir.send(&case.request)));
        writeln!(actual, "=== {}\n{answer}\n", case.name).expect("a string takes everything");
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/requests.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, &actual).expect("written");
    }
    let expected = std::fs::read_to_string(path).expect("tests/golden/requests.txt");
    for (expected, actual) in expected.split("=== ").zip(actual.split("=== ")) {
        assert_eq!(actual, expected, "UPDATE_GOLDEN=1 rewrites tests/golden/requests.txt");
    }
    assert_eq!(expected.len(), actual.len());
    // What a client does wrong is never a target's fault, and weir still serves.
    assert!(!weir.metrics().contains("weir_target_breaker_state{pool=\"up\",target=\"up\"} 2"));
    let good = post(
        CHAT,
        "",
        b"{\"model\":\"known-1\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}",
    );
    assert!(weir.send(&good).starts_with(b"HTTP/1.1 200"));
    assert!(!weir.access_log().contains(KEY), "a key in the access log");
}

/// How often the threads of a process have gone to sleep by now (`proc_pid_status`, section 5).
#[cfg(target_os = "linux")]
fn sleeps(pid: u32) -> u64 {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("its threads");
    let status = |thread: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(thread.expect("a thread").path().join("status")).ok()
    };
    let of_one = |status: String| {
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.expect("a count").trim().parse::<u64>().expect("a number")
    };
    threads.filter_map(status).map(of_one).sum()
}

#[cfg(target_os = "linux")]
#[test]
fn a_process_with_nothing_to_do_sleeps() {
    let keys = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(keys.path(), KEY).expect("the key");
    let weir = Weir::start(&CONFIGURATION.replace("KEYFILE", &keys.path().display().to_string()));
    // The operators' listener and clients were served; timers of theirs may have been set up.
    assert!(weir.send(&post(CHAT, "", b"{\"model\":\"known-1\",\"messages\":[]}")).len() > 12);
    std::thread::sleep(std::time::Duration::from_secs(1));
    let before = sleeps(weir.pid());
    std::thread::sleep(std::time::Duration::from_secs(2));
    let woken = sleeps(weir.pid()) - before;
    assert!(woken < 150, "woken {woken} times in two seconds");
}
