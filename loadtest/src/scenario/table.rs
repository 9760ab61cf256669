//! The fault table: every fault alone and in a pool with a healthy target, streaming and not.
//!
//! The faulty target is always asked first (it has the better priority) and its breaker is off, so
//! that every request of a row meets the fault. With a healthy target, no request may fail before
//! its first byte; alone, every answer must still end as the protocols say.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::Check;
use crate::client::blocking::{Reply, ask};
use crate::client::{Endpoint, Shape};
use crate::report::Table;
use crate::stand::{Config, Settings, Upstream, Weir};

/// Every fault of the table, with the time that its aftermath takes.
const FAULTS: [(&str, Duration); 28] = [
    ("refuse", Duration::ZERO),
    ("black_hole", Duration::ZERO),
    ("reset=before_head", Duration::ZERO),
    ("reset=after_head", Duration::ZERO),
    ("reset=mid_stream:3", Duration::ZERO),
    ("401", Duration::from_millis(100)),
    ("429=200ms", Duration::from_millis(300)),
    ("429=1", Duration::from_millis(1200)),
    ("500", Duration::ZERO),
    ("503=1", Duration::from_millis(1200)),
    ("error_in_stream=0", Duration::ZERO),
    ("error_in_stream=3", Duration::ZERO),
    ("empty_stream", Duration::ZERO),
    ("empty_body", Duration::ZERO),
    ("stall=0", Duration::ZERO),
    ("stall=3", Duration::ZERO),
    ("cut=3", Duration::ZERO),
    ("truncate=3", Duration::ZERO),
    ("malformed=json", Duration::ZERO),
    ("malformed=chunk", Duration::ZERO),
    ("malformed=head", Duration::ZERO),
    ("malformed=length", Duration::ZERO),
    ("malformed=html", Duration::ZERO),
    ("oversized=20971520", Duration::ZERO),
    ("drip=1ms", Duration::ZERO),
    ("slow_head=300ms", Duration::ZERO),
    ("huge_headers=131072", Duration::ZERO),
    ("close_after", Duration::ZERO),
];

/// Longest wait for an answer; well above every timeout of the configuration.
const ANSWER_WAIT: Duration = Duration::from_secs(20);

/// What is asked.
#[derive(Clone, Debug, clap::Args)]
pub struct Plan {
    /// Requests per cell of the table.
    #[arg(long, default_value_t = 2)]
    requests: u32,
    /// Endpoints to ask; may be repeated. Those that stream are asked both ways.
    #[arg(long = "endpoint", value_enum, default_values_t = [Endpoint::Chat])]
    endpoints: Vec<Endpoint>,
    /// Only faults whose name holds this.
    #[arg(long)]
    only: Option<String>,
}

/// One answer, seen from the client and from weir.
#[derive(Clone, Debug, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each a column of the JSON")]
pub struct Seen {
    /// The request's id.
    pub request_id: String,
    /// Status that the client got; 0 when no answer came.
    pub status: u16,
    /// The client got a complete answer.
    pub ok: bool,
    /// It ended as HTTP and the stream's framing say.
    pub well_formed: bool,
    /// It is in the format it should be in: frames and bodies that are JSON.
    pub intelligible: bool,
    /// Something of the answer's content had arrived.
    pub began: bool,
    /// How the connection failed the client, if it did.
    pub failure: Option<String>,
    /// The error's type as the client's format states it.
    pub error_type: Option<String>,
    /// The error's message.
    pub message: Option<String>,
    /// `Retry-After` or `retry-after-ms`.
    pub retry_after: Option<String>,
    /// Time to the first byte of the body.
    pub first_ms: Option<f64>,
    /// Time to the end.
    pub total_ms: f64,
    /// `x-weir-attempts`.
    pub attempts: Option<u32>,
    /// `x-weir-provider`.
    pub provider: Option<String>,
    /// The kind of error in the access log.
    pub logged_error: Option<String>,
    /// Outcome of every attempt in the access log.
    pub logged_attempts: Vec<String>,
}

/// One cell of the table.
#[derive(Clone, Debug, Serialize)]
pub struct Cell {
    /// The fault.
    pub fault: String,
    /// Who was asked.
    pub endpoint: String,
    /// Whether a healthy target stood beside the faulty one.
    pub healthy_beside: bool,
    /// What every request got.
    pub seen: Vec<Seen>,
    /// Counters of weir that grew.
    pub metrics: BTreeMap<String, f64>,
}

/// The table.
#[derive(Clone, Debug, Serialize)]
pub struct Findings {
    /// Its cells.
    pub cells: Vec<Cell>,
    /// What must hold.
    pub checks: Vec<Check>,
}

/// Asks through every fault.
pub fn run(settings: &Settings, plan: &Plan) -> Result<Findings, String> {
    let workspace = settings.workspace()?;
    let flags = ["--tokens", "6", "--itl", "2ms"];
    let mut faulty = Upstream::start(&workspace, "faulty", &flags, &[])?;
    let healthy = Upstream::start(&workspace, "healthy", &flags, &[])?;
    let weir = Weir::start(settings, &workspace, &config(&faulty, &healthy), true, &[])?;
    let mut cells = Vec::new();
    let mut number = 0;
    for (fault, aftermath) in FAULTS {
        if plan.only.as_deref().is_some_and(|only| !fault.contains(only)) {
            continue;
        }
        for &endpoint in &plan.endpoints {
            for stream in [true, false] {
                if stream && !endpoint.streams() {
                    continue;
                }
                for healthy_beside in [false, true] {
                    inflict(&faulty, fault)?;
                    let shape = shape(endpoint, stream, healthy_beside);
                    let cell =
                        ask_cell(&weir, fault, &shape, healthy_beside, plan.requests, &mut number);
                    relieve(&mut faulty, fault)?;
                    cells.push(cell?);
                    std::thread::sleep(aftermath);
                }
            }
        }
        eprintln!("{fault}: done");
    }
    let checks = checks(&cells);
    Ok(Findings { cells, checks })
}

fn config(faulty: &Upstream, healthy: &Upstream) -> Config {
    let pool = json!({
        "timeouts": { "connect": "500ms", "first_token": "1s", "inter_token": "800ms", "total": "8s" },
        "retry": { "attempts": 3, "budget_percent": 100, "budget_min_per_second": 1000 },
        "breaker": { "consecutive_failures": 0, "error_percent": 0 },
    });
    Config::new()
        .upstream("faulty", faulty.address)
        .upstream("healthy", healthy.address)
        .pool("alone", &["faulty"], true, false, &pool)
        .pool("pair", &["faulty", "healthy"], true, true, &pool)
}

fn inflict(faulty: &Upstream, fault: &str) -> Result<(), String> {
    if fault == "refuse" { faulty.refuse() } else { faulty.fault(fault) }
}

fn relieve(faulty: &mut Upstream, fault: &str) -> Result<(), String> {
    if fault == "refuse" { faulty.listen() } else { faulty.heal() }
}

fn shape(endpoint: Endpoint, stream: bool, healthy_beside: bool) -> Shape {
    let mut shape = Shape::new(endpoint, stream);
    let pool = if healthy_beside { "pair" } else { "alone" };
    shape.headers.push(format!("x-pool: {pool}"));
    shape
}

fn ask_cell(
    weir: &Weir,
    fault: &str,
    shape: &Shape,
    healthy_beside: bool,
    requests: u32,
    number: &mut u32,
) -> Result<Cell, String> {
    let before = weir.metrics()?;
    let mut seen = Vec::new();
    for _ in 0..requests {
        *number += 1;
        let request_id = format!("fault-{}-{number}", std::process::id());
        let mut shape = shape.clone();
        shape.headers.push(format!("x-request-id: {request_id}"));
        let wire = shape.http1(&weir.address.to_string());
        let reply = ask(weir.address, &wire, shape.endpoint, ANSWER_WAIT);
        seen.push(look(request_id, &reply, weir));
    }
    let names = ["weir_attempts_total", "weir_requests_total", "weir_stream_errors_total"];
    let metrics = weir.metrics()?.grown(&before, &names);
    Ok(Cell { fault: fault.to_owned(), endpoint: shape.name(), healthy_beside, seen, metrics })
}

fn look(request_id: String, reply: &Reply, weir: &Weir) -> Seen {
    let (error_type, message) = error_of(reply);
    let logged = weir.logged(&request_id).unwrap_or_default();
    let attempts = logged["attempts"].as_array().map(Vec::as_slice).unwrap_or_default();
    Seen {
        status: reply.status(),
        ok: reply.succeeded(),
        well_formed: reply.well_formed(),
        intelligible: reply.intelligible(),
        began: reply.content > 0,
        failure: reply.failure.map(|failure| failure.to_string()),
        error_type,
        message,
        retry_after: ["retry-after", "retry-after-ms"]
            .iter()
            .find_map(|name| reply.header(name).map(|value| format!("{name}: {value}"))),
        first_ms: reply.first.map(ms),
        total_ms: ms(reply.total),
        attempts: reply.header("x-weir-attempts").and_then(|value| value.parse().ok()),
        provider: reply.header("x-weir-provider").map(str::to_owned),
        logged_error: logged["error"].as_str().map(str::to_owned),
        logged_attempts: attempts.iter().map(attempt_text).collect(),
        request_id,
    }
}

fn attempt_text(attempt: &Value) -> String {
    let text = |key: &str| attempt[key].as_str().unwrap_or("?").to_owned();
    let target = text("target");
    let name = target.split('-').next().unwrap_or(&target);
    format!("{name} {}", text("outcome"))
}

fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e5).round() / 1e2
}

/// Type and message of an error, wherever the formats put them.
fn error_of(reply: &Reply) -> (Option<String>, Option<String>) {
    let json = match &reply.error_frame {
        Some(frame) => frame
            .split(|&byte| byte == b'\n')
            .find_map(|line| serde_json::from_slice(line.strip_prefix(b"data:")?).ok()),
        None if reply.status() >= 400 => serde_json::from_slice(&reply.body).ok(),
        None => None,
    };
    let Some(root): Option<Value> = json else { return (None, None) };
    let error = if root["error"].is_object() { &root["error"] } else { &root };
    let pick = |keys: &[&str]| keys.iter().find_map(|key| error[*key].as_str()).map(str::to_owned);
    (pick(&["type", "code", "status", "__type"]), pick(&["message", "Message"]))
}

fn checks(cells: &[Cell]) -> Vec<Check> {
    let all = |wanted: &dyn Fn(&Cell, &Seen) -> bool| -> Vec<String> {
        cells
            .iter()
            .flat_map(|cell| cell.seen.iter().map(move |seen| (cell, seen)))
            .filter(|(cell, seen)| wanted(cell, seen))
            .map(|(cell, seen)| format!("{} {} {}", cell.fault, cell.endpoint, seen.request_id))
            .collect()
    };
    let none = |what: &str, offenders: &[String]| {
        let found = match offenders {
            [] => "none".into(),
            some => format!("{}: {}", some.len(), some.join(", ")),
        };
        Check::new(what, offenders.is_empty(), found)
    };
    vec![
        none(
            "with a healthy target, requests that failed before the first byte",
            &all(&|cell, seen| cell.healthy_beside && !seen.ok && !seen.began && seen.intelligible),
        ),
        none(
            "with a healthy target, answers that are garbled from their first byte",
            &all(&|cell, seen| cell.healthy_beside && !seen.began && !seen.intelligible),
        ),
        none("answers that did not end as the protocols say", &all(&|_, seen| !seen.well_formed)),
        none("answers that never came", &all(&|_, seen| seen.status == 0)),
        none(
            "failures whose error has no type or message",
            &all(&|_, seen| {
                !seen.ok && seen.well_formed && seen.intelligible && seen.message.is_none()
            }),
        ),
    ]
}

/// The table for people: one line a cell.
pub fn render(findings: &Findings) -> String {
    let mut table = Table::new([
        "fault",
        "asked",
        "beside",
        "client got",
        "error type",
        "first ms",
        "total ms",
        "attempts",
        "in metrics",
    ]);
    for cell in &findings.cells {
        let unique = |text: &dyn Fn(&Seen) -> String| -> String {
            let mut texts: Vec<String> = cell.seen.iter().map(text).collect();
            texts.dedup();
            texts.join(" / ")
        };
        let longest = |pick: &dyn Fn(&Seen) -> Option<f64>| {
            let longest =
                cell.seen.iter().filter_map(pick).fold(None, |longest: Option<f64>, ms| {
                    Some(longest.map_or(ms, |longest| longest.max(ms)))
                });
            longest.map_or_else(|| "-".into(), |ms| format!("{ms:.1}"))
        };
        table.row([
            cell.fault.clone(),
            cell.endpoint.clone(),
            if cell.healthy_beside { "healthy" } else { "nobody" }.into(),
            unique(&got),
            unique(&|seen| seen.error_type.clone().unwrap_or_else(|| "-".into())),
            longest(&|seen| seen.first_ms),
            longest(&|seen| Some(seen.total_ms)),
            unique(&|seen| seen.attempts.map_or_else(|| "-".into(), |n| n.to_string())),
            metrics_text(&cell.metrics),
        ]);
    }
    table.render()
}

fn got(seen: &Seen) -> String {
    let retry = seen.retry_after.as_ref().map_or_else(String::new, |text| format!(", {text}"));
    match (seen.status, seen.ok, seen.well_formed) {
        (status, true, _) => format!("{status} complete"),
        (200, false, true) if !seen.intelligible => "200 GARBLED".into(),
        (200, false, true) => "200, then an error event".into(),
        (status, false, true) => format!("{status} error{retry}"),
        (status, false, false) => {
            format!("{status} BROKEN ({})", seen.failure.as_deref().unwrap_or("torn frame"))
        }
    }
}

/// Attempts by target and outcome.
fn metrics_text(metrics: &BTreeMap<String, f64>) -> String {
    let label = |key: &str, name: &str| -> Option<String> {
        let (_, rest) = key.split_once(&format!("{name}=\""))?;
        Some(rest.split('"').next()?.to_owned())
    };
    let texts: Vec<String> = metrics
        .iter()
        .filter(|(key, _)| key.starts_with("weir_attempts_total"))
        .filter_map(|(key, count)| {
            let target = label(key, "target")?;
            let name = target.split('-').next().unwrap_or_default().to_owned();
            Some(format!("{name} {} ×{count}", label(key, "outcome")?))
        })
        .collect();
    texts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_one_that_the_mock_knows() {
        for (fault, _) in FAULTS {
            assert!(fault.parse::<weir_loadtest::mock::Rule>().is_ok(), "{fault}");
        }
    }

    #[test]
    fn metrics_become_a_short_text() {
        let metrics = BTreeMap::from([(
            "weir_attempts_total{pool=\"pair-openai\",target=\"faulty-openai\",outcome=\"upstream_cut\"}"
                .to_owned(),
            2.0,
        )]);
        assert_eq!(metrics_text(&metrics), "faulty upstream_cut ×2");
    }
}
