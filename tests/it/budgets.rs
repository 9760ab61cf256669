//! Budgets go on after a restart, however the process before ended.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use weir::tenant::hash_form;

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
