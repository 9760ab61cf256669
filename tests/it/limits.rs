//! Limits hold whatever clients do at the same time, use all that they allow, and give back what
//! requests hold.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use weir::tenant::hash_form;
use weir_loadtest::mock::{self, Handle};

use crate::stand::Weir;

const CLIENTS: u64 = 64;
/// Refusals in a row after which a client takes the limit for reached.
const REFUSALS: u32 = 4;
const REQUESTS_MAX: u32 = 40;
/// The longest answer that a client asks for.
const ANSWER_TOKENS_MAX: u64 = 120;

/// A key of each tenant is the tenant's name, twice.
fn key(tenant: &str) -> String {
    format!("{tenant}-{tenant}")
}

fn weir(upstream: &Handle, tenants: &[(&str, &str)]) -> Weir {
    weir_with(upstream, tenants, "")
}

/// The same with more to say.
pub fn weir_with(upstream: &Handle, tenants: &[(&str, &str)], more: &str) -> Weir {
    let base = format!("http://{}", upstream.address());
    let tenant = |(name, limits): &(&str, &str)| {
        let hash = hash_form(&key(name));
        format!("  {name}: {{ limits: {limits}, keys: [{{ name: k, hash: '{hash}' }}] }}")
    };
    let tenants = tenants.iter().map(tenant).collect::<Vec<_>>().join("\n");
    Weir::start(&format!(
        "
{more}
access: keys
tenants:
{tenants}
runtime: {{ threads: auto }}
admission: {{ stream: 40, step: 16 }}
prices: {{ sim-1: {{ input: 100, output: 100 }} }}
providers:
  up: {{ dialect: openai, base_url: '{base}/v1' }}
  an: {{ dialect: anthropic, base_url: '{base}' }}
pools:
  up: {{ targets: [{{ provider: up }}], retry: {{ attempts: 1 }}, breaker: {{ consecutive_failures: 0, error_percent: 0 }} }}
  an: {{ targets: [{{ provider: an }}] }}
routes:
  - {{ match: {{ endpoint: messages }}, pool: an }}
  - {{ pool: up }}
"
    ))
}

pub fn chat(tenant: &str, headers: &str, words: u64, answer: u64, stream: bool) -> Vec<u8> {
    let prompt = "word ".repeat(words as usize);
    let json = format!(
        r#"{{"model":"sim-1","max_tokens":{answer},"stream":{stream},"messages":[{{"role":"user","content":"{prompt}"}}]}}"#
    );
    post("/v1/chat/completions", tenant, headers, &json)
}

fn post(path: &str, tenant: &str, headers: &str, json: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nhost: weir\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
         {headers}connection: close\r\ncontent-length: {}\r\n\r\n{json}",
        key(tenant),
        json.len()
    )
    .into_bytes()
}

/// Sends a request and reads its answer, at most so many bytes of it.
pub fn ask(weir: &Weir, request: &[u8], bytes_max: usize) -> String {
    let mut stream = TcpStream::connect(weir.address).expect("connect");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("timeout");
    stream.write_all(request).expect("sent");
    let mut answer = Vec::new();
    let mut part = [0; 4096];
    while answer.len() < bytes_max {
        match stream.read(&mut part) {
            Ok(count) if count > 0 => answer.extend_from_slice(&part[..count]),
            _ => break,
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// A client that asks, fails, streams and leaves in an order of its own until it is refused for good.
fn client(weir: &Weir, tenant: &str, seed: u64) {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut random = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let mut refusals = 0;
    for _ in 0..REQUESTS_MAX {
        let (words, answer) = (random(40), 1 + random(ANSWER_TOKENS_MAX));
        let all = usize::MAX;
        let (headers, stream, bytes_max) = match random(7) {
            0 => ("x-mock-fault: 500\r\n", false, all),
            1 => ("x-mock-fault: error_in_stream=2\r\n", true, all),
            // Gone after a few tokens.
            2 => ("x-mock-itl-ms: 4\r\n", true, 600),
            // Gone before there is an answer.
            3 => ("x-mock-ttft-ms: 40\r\n", false, 0),
            4 | 5 => ("", true, all),
            _ => ("", false, all),
        };
        let answer = ask(weir, &chat(tenant, headers, words, answer, stream), bytes_max);
        refusals = if answer.starts_with("HTTP/1.1 429") { refusals + 1 } else { 0 };
        if refusals == REFUSALS {
            return;
        }
    }
}

/// A number that a metric without labels shows.
fn gauge(weir: &Weir, name: &str) -> i64 {
    let page = weir.metrics();
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name}"))
}

pub fn wait_until_all_is_given_back(weir: &Weir) {
    let held = ["weir_admitted_in_flight", "weir_tokens_in_flight", "weir_cost_in_flight_nano_usd"];
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let left = held.map(|name| gauge(weir, name));
        if left == [0, 0, 0] {
            return;
        }
        assert!(Instant::now() < deadline, "still held: {left:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[derive(Debug, Default)]
pub struct Used {
    pub requests: u64,
    pub tokens: u64,
    pub nano_usd: u64,
    /// Clients that left, answers that failed, streams that a limit ended.
    gone: u64,
    failed: u64,
    cut_off: u64,
}

/// What the access log says that a tenant used.
pub fn used(weir: &Weir, tenant: &str) -> Used {
    let mut used = Used::default();
    for line in weir.access_log().lines() {
        let record: serde_json::Value = serde_json::from_str(line).expect("JSON");
        if record["tenant"] != tenant {
            continue;
        }
        let number = |name: &str| record[name].as_u64().unwrap_or(0);
        let tokens = number("input_tokens") + number("output_tokens");
        used.tokens += tokens;
        used.nano_usd += number("cost_nano_usd");
        used.requests += u64::from(record["error"].is_null() || tokens > 0);
        used.gone += u64::from(record["error"] == "client_gone");
        used.failed += u64::from(record["error"] == "upstream_status");
        used.cut_off += u64::from(record["cut_off"] == true);
        // Nothing of what the test asks for is a mistake.
        assert_ne!(record["error"], "upstream_rejected", "{record}");
    }
    used
}

/// All clients at once, each at one of these.
pub fn all_clients(weirs: &[Weir], tenant: &str) {
    std::thread::scope(|scope| {
        for seed in 1..=CLIENTS {
            let weir = &weirs[seed as usize % weirs.len()];
            scope.spawn(move || client(weir, tenant, seed));
        }
    });
}

/// All clients at once; then small requests one after the other, until nothing fits.
fn exhaust(weir: &Weir, tenant: &str) -> Used {
    all_clients(std::slice::from_ref(weir), tenant);
    wait_until_all_is_given_back(weir);
    let admitted = (0..1000).take_while(|_| {
        let answer = ask(weir, &chat(tenant, "", 1, 8, false), usize::MAX);
        let ok = answer.starts_with("HTTP/1.1 200");
        assert!(ok || answer.starts_with("HTTP/1.1 429"), "{answer}");
        ok
    });
    assert!(admitted.count() < 1000, "there is no limit");
    wait_until_all_is_given_back(weir);
    wait_until_all_is_logged(weir);
    used(weir, tenant)
}

/// The log is written behind the answers.
pub fn wait_until_all_is_logged(weir: &Weir) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let page = weir.metrics();
        let counts = page.lines().filter(|line| line.starts_with("weir_requests_total{"));
        let counts = counts.filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok());
        let (settled, logged) = (counts.sum::<usize>(), weir.access_log().lines().count());
        if settled == logged {
            return;
        }
        assert!(Instant::now() < deadline, "{logged} lines of {settled}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn limits_are_exact_under_64_clients() {
    let settings = mock::Settings { tokens: mock::Tokens::fixed(200), ..mock::Settings::default() };
    let upstream = mock::spawn(settings).expect("a simulated upstream");
    let weir = weir(
        &upstream,
        &[
            ("requests", "[{ requests: { day: 100 } }]"),
            ("tokens", "[{ tokens: { day: 10000 } }]"),
            ("money", "[{ budgets: [{ period: total, usd: 1 }] }]"),
        ],
    );
    let requests = exhaust(&weir, "requests");
    assert_eq!(requests.requests, 100, "{requests:?}");
    let tokens = exhaust(&weir, "tokens");
    assert!((9_900..=10_000).contains(&tokens.tokens), "{tokens:?}");
    let money = exhaust(&weir, "money");
    assert!((990_000_000..=1_000_000_000).contains(&money.nano_usd), "{money:?}");
    // All of it was in it: clients that left, answers that failed, streams that were ended.
    let all = [&requests, &tokens, &money];
    assert!(all.iter().all(|used| used.gone > 0 && used.failed > 0), "{all:?}");
    assert!(tokens.cut_off + money.cut_off > 0, "{all:?}");
    for kind in ["requests", "tokens", "budget"] {
        let label = format!("limit=\"{kind}\"");
        assert!(weir.metrics().lines().any(|line| {
            line.starts_with("weir_limit_refusals_total") && line.contains(&label)
        }));
    }
}

fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let head = answer.split("\r\n\r\n").next()?;
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .find_map(|(found, value)| found.eq_ignore_ascii_case(name).then_some(value))
}

#[test]
fn clients_are_told_how_they_stand() {
    let upstream = mock::spawn(mock::Settings::default()).expect("a simulated upstream");
    let weir = weir(
        &upstream,
        &[
            ("rates", "[{ requests: { minute: 2 }, tokens: { hour: 100000 } }]"),
            ("spent", "[{ budgets: [{ period: month, usd: 0 }] }]"),
            ("soft", "[{ budgets: [{ period: day, tokens: 1, when_spent: warn }] }]"),
            ("free", "[]"),
        ],
    );
    let get = |tenant| ask(&weir, &chat(tenant, "", 1, 8, false), usize::MAX);
    let first = get("rates");
    assert!(first.starts_with("HTTP/1.1 200"), "{first}");
    assert_eq!(header(&first, "x-ratelimit-limit-requests"), Some("2"));
    assert_eq!(header(&first, "x-ratelimit-remaining-requests"), Some("1"));
    assert_eq!(header(&first, "x-ratelimit-limit-tokens"), Some("100000"));
    let reset = header(&first, "x-ratelimit-reset-requests").expect("when");
    assert!(reset.starts_with("1m0"), "{reset}");
    get("rates");
    let refused = get("rates");
    assert!(refused.starts_with("HTTP/1.1 429"), "{refused}");
    assert_eq!(header(&refused, "x-ratelimit-remaining-requests"), Some("0"));
    assert!(refused.contains("\"rate_limit_exceeded\""));
    let after: u64 = header(&refused, "retry-after").expect("when").parse().expect("seconds");
    assert!((50..=61).contains(&after), "{after}");

    let spent = get("spent");
    assert!(
        spent.starts_with("HTTP/1.1 429") && spent.contains("\"insufficient_quota\""),
        "{spent}"
    );
    assert_eq!(header(&spent, "x-should-retry"), Some("false"));
    let json = r#"{"model":"sim-1","max_tokens":8,"messages":[{"role":"user","content":"hi"}]}"#;
    let headers = "anthropic-version: 2023-06-01\r\n";
    let spent = ask(&weir, &post("/v1/messages", "spent", headers, json), usize::MAX);
    assert!(spent.starts_with("HTTP/1.1 402") && spent.contains("\"billing_error\""), "{spent}");

    let warned = get("soft");
    assert!(warned.starts_with("HTTP/1.1 200"), "{warned}");
    let warning = header(&warned, "x-weir-budget-warning");
    assert_eq!(warning, Some("tenant soft: tokens for the day used up"));
    assert!(
        weir.metrics()
            .contains("weir_budget_warnings_total{tenant=\"soft\",limit=\"token_budget\"} 1")
    );
    let request = b"GET /admin/v1/limits?owner=tenant%20soft HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let shown = weir.ask_admin(request);
    let shown = shown.split_once("\r\n\r\n").expect("a body").1;
    let shown: serde_json::Value = serde_json::from_str(shown).expect("JSON");
    let counter = &shown["scopes"][0]["counters"][0];
    assert_eq!((&counter["limit"], &counter["warn_at"]), (&"tokens for the day".into(), &1.into()));
    assert!(counter["used"].as_u64().is_some_and(|used| used > 8), "{shown}");
    let free = get("free");
    assert_eq!(header(&free, "x-weir-budget-warning"), None);
}
