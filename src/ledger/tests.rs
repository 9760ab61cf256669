use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};
use smallvec::smallvec;

use super::line::Said;
use super::*;
use crate::clock::{Duration, Instant};
use crate::dialect::{Dialect, Endpoint, Usage};
use crate::error::Kind;
use crate::telemetry::{Format, Live, Metrics};

fn full() -> Record {
    let target = |name: &str| Arc::<str>::from(name);
    Record {
        time_unix_ms: 1_234_567_890_123,
        request_id: "req-1".into(),
        client: Some([127, 0, 0, 1].into()),
        caller: Some("alice".into()),
        tenant: Some("research".into()),
        team: Some("vision".into()),
        user: Some("u-7".into()),
        named: None,
        route: Some("gpt".into()),
        pool: Some("chat".into()),
        endpoint: Some(Endpoint::ChatCompletions),
        dialect: Some(Dialect::OpenAi),
        path: None,
        model_asked: Some("gpt-4o".into()),
        model_served: Some("llama-3.1-8b".into()),
        provider: Some("local".into()),
        status: 200,
        error: None,
        cause: None,
        attempts: smallvec![
            AttemptRecord {
                target: target("openai/gpt-4o"),
                outcome: AttemptOutcome::Failed(Kind::UpstreamRateLimited),
                status: Some(429),
                hedge: false,
                duration: Duration::from_micros(12_340),
            },
            AttemptRecord {
                target: target("local/llama-3.1-8b"),
                outcome: AttemptOutcome::Ok,
                status: Some(200),
                hedge: false,
                duration: Duration::from_millis(900),
            },
        ],
        stream: true,
        hedged: false,
        client_gone: false,
        stream_broken: false,
        diverted: false,
        cut_off: false,
        usage: Usage { input: 12, output: 48, cached_input: 8, ..Usage::default() },
        usage_source: "provider",
        cost_nano_usd: Some(1_230),
        price_version: None,
        queue: Some(Duration::from_millis(3)),
        ttft: Some(Duration::from_millis(150)),
        inter_token_p50: Some(Duration::from_millis(15)),
        inter_token_p99: Some(Duration::from_micros(30_125)),
        duration: Duration::from_millis(915),
        body_in_bytes: 615,
        body_out_bytes: 9_001,
    }
}

fn line(record: &Record) -> Value {
    let (mut said, mut out) = (Said::default(), Vec::new());
    for _ in 0..2 {
        said.write(record, &mut out);
    }
    let text = String::from_utf8(out).expect("valid UTF-8");
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0], lines[1], "what is said again is the same");
    serde_json::from_str(lines[0]).expect("one line of JSON")
}

#[test]
fn a_full_record_has_every_field() {
    assert_eq!(
        line(&full()),
        json!({
            "time": "2009-02-13T23:31:30.123Z",
            "request_id": "req-1",
            "client": "127.0.0.1",
            "caller": "alice",
            "tenant": "research",
            "team": "vision",
            "user": "u-7",
            "route": "gpt",
            "pool": "chat",
            "endpoint": "chat_completions",
            "dialect": "openai",
            "model_asked": "gpt-4o",
            "model_served": "llama-3.1-8b",
            "provider": "local",
            "status": 200,
            "stream": true,
            "attempts": [
                {
                    "target": "openai/gpt-4o",
                    "outcome": "upstream_rate_limited",
                    "status": 429,
                    "duration_ms": 12.34,
                },
                {
                    "target": "local/llama-3.1-8b",
                    "outcome": "ok",
                    "status": 200,
                    "duration_ms": 900,
                },
            ],
            "input_tokens": 12,
            "output_tokens": 48,
            "cached_input_tokens": 8,
            "usage_source": "provider",
            "cost_nano_usd": 1230,
            "queue_ms": 3,
            "ttft_ms": 150,
            "inter_token_p50_ms": 15,
            "inter_token_p99_ms": 30.125,
            "duration_ms": 915,
            "body_in_bytes": 615,
            "body_out_bytes": 9001,
        })
    );
}

#[test]
fn an_empty_record_is_a_short_line() {
    assert_eq!(
        line(&Record { status: 404, error: Some(Kind::NotFound), ..Record::default() }),
        json!({
            "time": "1970-01-01T00:00:00.000Z",
            "request_id": "",
            "status": 404,
            "error": "not_found",
            "attempts": [],
            "duration_ms": 0,
            "body_in_bytes": 0,
            "body_out_bytes": 0,
        })
    );
}

proptest! {
    #[test]
    fn whatever_a_client_writes_is_one_line_and_reads_back(
        id in any::<String>(),
        model in any::<String>(),
        user in "\\PC{0,400}",
    ) {
        let record = Record {
            request_id: id.clone(),
            model_asked: Some(model.as_str().into()),
            user: Some(user.clone()),
            ..Record::default()
        };
        let line = line(&record);
        for (field, text) in [("request_id", id), ("model_asked", model), ("user", user)] {
            let read = line[field].as_str().expect("a string");
            if text.len() <= 256 {
                prop_assert_eq!(read, &text);
            } else {
                prop_assert!(read.len() <= 259 && text.starts_with(read.trim_end_matches('…')));
            }
        }
    }
}

fn log_file() -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("access.log").display().to_string();
    (dir, path)
}

fn lines(path: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(path).expect("a log");
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

fn numbered(n: usize) -> Record {
    Record { request_id: format!("req-{n}"), ..full() }
}

#[test]
fn what_is_settled_before_the_stop_is_written() {
    let (_dir, path) = log_file();
    let (ledger, writer) = Ledger::start(Metrics::new(), &path).expect("a ledger");
    for n in 0..1000 {
        ledger.enter(&numbered(n));
    }
    assert!(writer.stop(Duration::from_secs(10)));
    let ids: Vec<_> = lines(&path).iter().map(|line| line["request_id"].clone()).collect();
    assert_eq!(ids, (0..1000).map(|n| json!(format!("req-{n}"))).collect::<Vec<_>>());
}

#[test]
fn a_line_appears_without_a_stop() {
    let (_dir, path) = log_file();
    let (ledger, _writer) = Ledger::start(Metrics::new(), &path).expect("a ledger");
    ledger.enter(&full());
    let give_up = Instant::now() + Duration::from_secs(5);
    while lines(&path).is_empty() {
        assert!(Instant::now() < give_up, "no line after five seconds");
        std::thread::yield_now();
    }
}

#[test]
fn a_rotated_file_is_let_go() {
    let (_dir, path) = log_file();
    let (ledger, writer) = Ledger::start(Metrics::new(), &path).expect("a ledger");
    ledger.enter(&numbered(1));
    while lines(&path).is_empty() {
        std::thread::yield_now();
    }
    let rotated = format!("{path}.1");
    std::fs::rename(&path, &rotated).expect("renamed");
    ledger.log_to(&path).expect("opened again");
    ledger.enter(&numbered(2));
    assert!(writer.stop(Duration::from_secs(10)));
    let written = lines(&rotated).len() + lines(&path).len();
    assert_eq!(written, 2);
    assert_eq!(lines(&rotated)[0]["request_id"], "req-1");
}

#[test]
fn a_destination_that_cannot_be_opened_changes_nothing() {
    let (_dir, path) = log_file();
    let (ledger, writer) = Ledger::start(Metrics::new(), &path).expect("a ledger");
    let error = ledger.log_to("/does/not/exist/access.log").expect_err("no such directory");
    assert!(error.to_string().contains("/does/not/exist/access.log"), "{error}");
    ledger.enter(&full());
    assert!(writer.stop(Duration::from_secs(10)));
    assert_eq!(lines(&path).len(), 1);
}

#[test]
fn a_reader_that_stalls_costs_lines_and_nothing_else() {
    let (dir, _) = log_file();
    let fifo = dir.path().join("stalled");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status().expect("mkfifo");
    assert!(made.success());
    // Opened for both directions, so that opening it for writing does not wait.
    let reader = std::fs::File::options().read(true).write(true).open(&fifo).expect("open");
    let metrics = Metrics::new();
    let (ledger, writer) =
        Ledger::start(Arc::clone(&metrics), &fifo.display().to_string()).expect("a ledger");
    let begun = Instant::now();
    for n in 0..20_000 {
        ledger.enter(&numbered(n));
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(!writer.stop(Duration::from_millis(50)), "it cannot have written everything");
    let page = metrics.render(&Live::default(), Format::Prometheus);
    let dropped = page.lines().find(|line| line.starts_with("weir_log_dropped_total{"));
    assert!(dropped.is_some_and(|line| line.contains("log=\"access\"")), "{dropped:?}");
    // Without a reader the write that hangs fails, and the thread ends.
    drop(reader);
    let give_up = Instant::now() + Duration::from_secs(5);
    while Arc::strong_count(&ledger) > 1 {
        assert!(Instant::now() < give_up, "the thread still waits");
        std::thread::yield_now();
    }
}

#[test]
fn without_a_log_requests_still_count() {
    let metrics = Metrics::new();
    let (ledger, writer) = Ledger::start(Arc::clone(&metrics), "off").expect("a ledger");
    ledger.count(&full());
    ledger.enter(&full());
    ledger.attempt("chat", &full().attempts[0]);
    drop(writer);
    let page = metrics.render(&Live::default(), Format::Prometheus);
    for sample in [
        r#"weir_requests_total{endpoint="chat_completions",pool="chat",status="200"} 1"#,
        r#"weir_retries_total{pool="chat"} 1"#,
        r#"weir_tokens_total{provider="local",model="llama-3.1-8b",source="provider",type="output"} 48"#,
        r#"weir_token_parts_total{provider="local",model="llama-3.1-8b",source="provider",type="cached_input"} 8"#,
        r#"weir_cost_nano_usd_total{provider="local",model="llama-3.1-8b"} 1230"#,
        r#"weir_attempts_total{pool="chat",target="openai/gpt-4o",outcome="upstream_rate_limited"} 1"#,
    ] {
        assert!(page.lines().any(|line| line == sample), "no `{sample}` in\n{page}");
    }
}
