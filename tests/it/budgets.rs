//! Budgets go on after a restart, however the process before ended.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use weir::tenant::hash_form;

use crate::database_server::Server;
use crate::stand::Weir;

/// How long anything here may take to become so.
const PATIENCE: Duration = Duration::from_secs(40);

fn key(name: &str) -> String {
    format!("{name}-{name}-{name}")
}

fn config(directory: &Path, limits: &str) -> String {
    let of = |name: &str, more: &str| {
        format!("{{ name: {name}, hash: '{}', {more} }}", hash_form(&key(name)))
    };
    format!(
        "
access: keys
storage: {{ path: '{}' }}
ledger: {{ sync: 5ms, reserve: 8MiB }}
prices: {{ 'm*': {{ input: 1000, output: 1000 }} }}
tenants:
  acme:
    zone: Europe/Berlin
    teams: {{ red: {{ {limits} }} }}
    keys: [{}, {}]
  other:
    limits: [{{ budgets: [{{ period: total, tokens: 100000 }}] }}]
    keys: [{}]
runtime: {{ threads: 1 }}
providers: {{ up: {{ dialect: openai, simulated: {{ ttft: 0ms, inter_token: 0ms }} }} }}
pools: {{ up: {{ targets: [{{ provider: up }}] }} }}
routes: [{{ pool: up }}]
",
        directory.join("weir.db").display(),
        of("a", "team: red"),
        of("b", "limits: [{ budgets: [{ period: day, usd: 0.05 }] }]"),
        of("c", ""),
    )
}

fn ask(weir: &Weir, name: &str, model: &str, user: &str) -> u16 {
    let body = json!({
        "model": model, "user": user, "max_tokens": 10,
        "messages": [{ "role": "user", "content": "hello" }],
    });
    let body = body.to_string();
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: weir\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        key(name),
        body.len()
    );
    let answer = String::from_utf8(weir.send(request.as_bytes())).expect("text");
    answer.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or_default()
}

/// Asks until nothing fits any more.
fn exhaust(weir: &Weir, name: &str, model: &str, user: &str) -> usize {
    let admitted = (0..500).take_while(|_| match ask(weir, name, model, user) {
        200 => true,
        429 => false,
        other => panic!("{other}"),
    });
    let admitted = admitted.count();
    assert!(admitted < 500, "there is no limit");
    admitted
}

/// What was used of the first budget of an owner.
fn used(weir: &Weir, owner: &str) -> u64 {
    let request = format!(
        "GET /admin/v1/limits?owner={} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
        owner.replace(' ', "%20")
    );
    let answer = weir.ask_admin(request.as_bytes());
    let body = answer.split_once("\r\n\r\n").expect("a body").1;
    let shown: Value = serde_json::from_str(body).expect("JSON");
    let scopes = shown["scopes"].as_array().expect("scopes");
    let counters = scopes.iter().flat_map(|scope| scope["counters"].as_array().expect("counters"));
    counters.filter_map(|counter| counter["used"].as_u64()).sum()
}

/// Everything that was answered is in the journal at least.
fn wait_until_kept(weir: &Weir, requests: usize) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let ledger = weir.readyz()["ledger"].clone();
        let known = ["waiting", "entered"].map(|name| ledger[name].as_u64().unwrap_or_default());
        if known.iter().sum::<u64>() as usize >= requests && ledger["memory_bytes"].is_u64() {
            break;
        }
        assert!(Instant::now() < deadline, "{ledger}");
        std::thread::sleep(Duration::from_millis(20));
    }
    // One more turn of the ledger's thread: what it has counted it writes in the same turn.
    std::thread::sleep(Duration::from_millis(200));
}

/// Takes what is sent to it; the first time it answers 500.
fn receiver() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/events", listener.local_addr().expect("an address"));
    let taken: Arc<Mutex<Vec<String>>> = Arc::default();
    let into = Arc::clone(&taken);
    // Ends with the process.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let (mut request, mut part) = (String::new(), [0; 4096]);
            while !request.contains("}\n") && !request.ends_with('}') {
                match stream.read(&mut part) {
                    Ok(count) if count > 0 => {
                        request.push_str(&String::from_utf8_lossy(&part[..count]));
                    }
                    _ => break,
                }
            }
            let mut taken = into.lock().expect("events");
            let status = if taken.is_empty() { "500 Not Now" } else { "204 No Content" };
            taken.push(request);
            let answer =
                format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    (url, taken)
}

fn chat(key: &str, path: &str, body: &Value) -> Vec<u8> {
    let body = body.to_string();
    format!(
        "POST {path} HTTP/1.1\r\nhost: weir\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

#[test]
fn a_spent_budget_is_announced_and_leads_to_another_pool() {
    let directory = tempfile::tempdir().expect("a directory");
    let (url, taken) = receiver();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.display().to_string()
    };
    let weir = Weir::start(&format!(
        "
access: keys
budget_events: {{ url: {{ file: '{}' }}, secret: {{ file: '{}' }} }}
tenants:
  acme:
    limits: [{{ budgets: [{{ period: month, tokens: 30, when_spent: {{ use: cheap }} }}, {{ period: month, tokens: 100000 }}] }}]
    keys: [{{ name: k, hash: '{}' }}]
runtime: {{ threads: 1 }}
providers: {{ up: {{ dialect: openai, simulated: {{ ttft: 0ms, inter_token: 0ms, tokens: 20 }} }} }}
pools:
  chat: {{ targets: [{{ provider: up, model: large }}] }}
  cheap: {{ targets: [{{ provider: up, model: small }}] }}
routes: [{{ pool: chat }}]
",
        file("url", &url),
        file("secret", "a secret"),
        hash_form(&key("k")),
    ));
    let messages = json!([{ "role": "user", "content": "hello" }]);
    let body = json!({ "model": "m", "max_tokens": 20, "messages": messages });
    let send = |path: &str, body: &Value| {
        String::from_utf8(weir.send(&chat(&key("k"), path, body))).expect("text")
    };
    let first = send("/v1/chat/completions", &body);
    assert!(first.contains("x-weir-model: large"), "{first}");
    assert!(!first.contains("x-weir-budget-pool"), "{first}");
    let mut answers = (0..20).map(|_| send("/v1/chat/completions", &body));
    let led = answers.find(|answer| answer.contains("x-weir-budget-pool: cheap"));
    let led = led.expect("the budget is used up");
    assert!(led.starts_with("HTTP/1.1 200") && led.contains("x-weir-model: small"), "{led}");
    assert!(led.contains("x-weir-budget-warning: tenant acme: tokens for the month"), "{led}");
    let vectors = send("/v1/embeddings", &json!({ "model": "m", "input": "hello" }));
    assert!(vectors.contains("x-weir-model: large"), "not a request for text: {vectors}");
    crate::limits::wait_until_all_is_logged(&weir);
    let log = weir.access_log();
    let lines: Vec<Value> =
        log.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines[0].get("diverted"), None);
    assert!(lines.iter().any(|line| line["diverted"] == true && line["pool"] == "cheap"), "{log}");

    let deadline = Instant::now() + PATIENCE;
    while !weir.metrics().contains("weir_budget_events_total{result=\"sent\"} 1") {
        assert!(Instant::now() < deadline, "{}", weir.metrics());
        std::thread::sleep(Duration::from_millis(20));
    }
    let taken = taken.lock().expect("events").clone();
    assert_eq!(taken.len(), 2, "once more after the 500, and then not again: {taken:?}");
    let (head, sent) = taken[1].split_once("\r\n\r\n").expect("a body");
    let event: Value = serde_json::from_str(sent).expect("JSON");
    assert_eq!((&event["owner"], &event["of"]), (&json!("tenant acme"), &json!(30)));
    assert_eq!((&event["pool"], &event["event"]), (&json!("cheap"), &json!("budget_spent")));
    assert!(event["used"].as_u64().is_some_and(|used| used >= 30), "{event}");
    let signature = head.lines().find_map(|line| line.strip_prefix("x-weir-signature: t="));
    let (seconds, hex) = signature.expect("a signature").split_once(",v1=").expect("both");
    let signed = format!("{seconds}.{sent}");
    let secret = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"a secret");
    let byte = |pair: &[u8]| u8::from_str_radix(&String::from_utf8_lossy(pair), 16).expect("hex");
    let tag: Vec<u8> = hex.trim().as_bytes().chunks(2).map(byte).collect();
    assert!(ring::hmac::verify(&secret, signed.as_bytes(), &tag).is_ok(), "{head}");

    let shown = Command::new(env!("CARGO_BIN_EXE_weir"))
        .args(["limits", "--admin", &weir.admin.to_string(), "--owner", "tenant acme"])
        .output()
        .expect("it runs");
    let shown = String::from_utf8(shown.stdout).expect("text");
    assert!(shown.contains("tokens for the month") && shown.contains("100000"), "{shown}");
}

#[test]
fn budgets_by_expression_go_on_after_an_orderly_end_and_after_a_kill() {
    let directory = tempfile::tempdir().expect("a directory");
    let limits = "limits: [{ per: [model, { cel: 'request.user + \"/\" + request.endpoint' }], \
                  budgets: [{ period: month, tokens: 120 }] }, \
                  { per: [{ cel: request.model }], budgets: [{ period: week, tokens: 100000 }] }]";
    let config = config(directory.path(), limits);
    let weir = Weir::start(&config);
    let mut requests = exhaust(&weir, "a", "m1", "ann") + 1;
    assert_eq!(ask(&weir, "a", "m1", "bob"), 200, "another name has its own");
    let before = used(&weir, "team acme/red");
    requests += 1;
    wait_until_kept(&weir, requests);
    weir.end();

    let weir = Weir::start(&config);
    assert_eq!(used(&weir, "team acme/red"), before, "as it was, of both");
    assert_eq!(ask(&weir, "a", "m1", "ann"), 429);
    assert_eq!(ask(&weir, "a", "m2", "ann"), 200);
    let more = exhaust(&weir, "a", "m1", "bob");
    assert!(more > 0, "what bob had left");
    let before = used(&weir, "team acme/red");
    wait_until_kept(&weir, more + 3);
    // Killed: as `Drop` does it.
    drop(weir);

    let weir = Weir::start(&config);
    assert_eq!(used(&weir, "team acme/red"), before, "also what only the journal had");
    assert_eq!([ask(&weir, "a", "m1", "bob"), ask(&weir, "a", "m1", "carl")], [429, 200]);
}

const BY_MODEL: &str =
    "limits: [{ per: [user, model], models: ['m*'], budgets: [{ period: month, tokens: 120 }] }]";

#[test]
fn budgets_go_on_after_an_orderly_end_and_after_a_kill() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = config(directory.path(), BY_MODEL);
    let weir = Weir::start(&config);
    let mut requests = exhaust(&weir, "b", "m1", "") + 1;
    requests += exhaust(&weir, "a", "m1", "ann") + 1;
    assert_eq!(ask(&weir, "c", "m1", ""), 200);
    let before = ["key acme/b", "team acme/red", "tenant other"].map(|owner| used(&weir, owner));
    assert!(before.iter().all(|used| *used > 0), "{before:?}");
    wait_until_kept(&weir, requests + 1);
    weir.end();

    let weir = Weir::start(&config);
    let after = ["key acme/b", "team acme/red", "tenant other"].map(|owner| used(&weir, owner));
    assert_eq!(after, before, "as it was");
    assert_eq!(ask(&weir, "b", "m1", ""), 429);
    assert_eq!(ask(&weir, "a", "m1", "ann"), 429);
    assert_eq!(ask(&weir, "a", "m2", "ann"), 200, "another model has its own");
    let more = exhaust(&weir, "a", "m1", "bob");
    assert!(more > 0, "another user has its own");
    let before = used(&weir, "team acme/red");
    wait_until_kept(&weir, more + 4);
    // Killed: as `Drop` does it.
    drop(weir);

    let weir = Weir::start(&config);
    assert_eq!(used(&weir, "team acme/red"), before, "also what only the journal had");
    for (name, user) in [("b", ""), ("a", "ann"), ("a", "bob")] {
        assert_eq!(ask(&weir, name, "m1", user), 429, "{name} {user}");
    }
}

/// What was used is known late: the start does not wait for it, and it counts as soon as it is known.
fn is_made_up_for(config: &str, key: (&str, &str), before: u64, let_go: impl FnOnce()) {
    let (name, owner) = key;
    let begun = Instant::now();
    let weir = Weir::start(config);
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(15), "it waits for the database: {took:?}");
    assert_eq!(used(&weir, owner), 0, "the budget begins at nothing");
    assert_eq!(ask(&weir, name, "m1", ""), 200, "and requests are served");
    let since = used(&weir, owner);
    assert!(since > 0 && before > 0);
    let_go();
    let deadline = Instant::now() + PATIENCE;
    while used(&weir, owner) != before + since {
        let now = used(&weir, owner);
        assert!(Instant::now() < deadline && now <= before + since, "{now}: {before} and {since}");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(ask(&weir, name, "m1", ""), 429, "as if it had never ended");
    // It is not entered once more.
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(used(&weir, owner), before + since);
}

#[test]
fn a_locked_database_holds_up_no_start_and_budgets_go_on_when_it_answers() {
    let directory = tempfile::tempdir().expect("a directory");
    let config =
        config(directory.path(), BY_MODEL).replace("storage: { ", "storage: { busy: 50ms, ");
    let weir = Weir::start(&config);
    assert_eq!(ask(&weir, "c", "m1", ""), 200);
    wait_until_kept(&weir, 1);
    // What follows is in the journal alone, which no start can bring to the database while it is
    // locked.
    let other = rusqlite::Connection::open(directory.path().join("weir.db")).expect("opened");
    let deadline = Instant::now() + PATIENCE;
    while other.execute_batch("BEGIN EXCLUSIVE").is_err() {
        assert!(Instant::now() < deadline, "the database is never free");
    }
    let requests = exhaust(&weir, "b", "m1", "") + 1;
    let before = used(&weir, "key acme/b");
    wait_until_kept(&weir, requests + 1);
    drop(weir);
    is_made_up_for(&config, ("b", "key acme/b"), before, || {
        other.execute_batch("ROLLBACK").expect("free");
    });
}

#[test]
fn a_database_server_that_is_away_holds_up_no_start_and_budgets_go_on_when_it_answers() {
    let Some(mut server) = Server::start() else {
        return eprintln!("PostgreSQL is not installed");
    };
    let directory = tempfile::tempdir().expect("a directory");
    let url = directory.path().join("url");
    std::fs::write(&url, server.url()).expect("written");
    let path = format!("path: '{}'", directory.path().join("weir.db").display());
    let config = config(directory.path(), BY_MODEL)
        .replace(&path, &format!("url: {{ file: '{}' }}", url.display()))
        .replace("ledger: { ", &format!("ledger: {{ journal: '{}', ", directory.path().display()));
    let weir = Weir::start(&config);
    let requests = exhaust(&weir, "b", "m1", "") + 1;
    let before = used(&weir, "key acme/b");
    wait_until_kept(&weir, requests);
    weir.end();
    server.kill();
    is_made_up_for(&config, ("b", "key acme/b"), before, || server.again());
}
