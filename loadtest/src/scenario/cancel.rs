//! The client goes away; the upstream must see it at once, and the tokens so far must be booked.
//!
//! Every endpoint over HTTP/1.1 and HTTP/2, streaming (after a few frames) and not (while the
//! upstream still thinks). When the upstream saw its client go is read from its own books; both
//! clocks are this machine's.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::ValueEnum;
use serde::Serialize;
use serde_json::Value;
use serde_json::json;

use super::Check;
use crate::client::blocking::Exchange;
use crate::client::{Endpoint, Shape, http2};
use crate::report::Table;
use crate::stand::{Config, Settings, Upstream, Weir};
use crate::units;

/// Frames with content that are read of a stream before the client goes.
const FRAMES_READ: u32 = 3;
/// How long the client waits for an answer that does not stream before it goes.
const PATIENCE: Duration = Duration::from_millis(150);
/// How long the books may take to show it.
const BOOKS_WAIT: Duration = Duration::from_secs(2);

/// What is asked.
#[derive(Clone, Debug, clap::Args)]
pub struct Plan {
    /// Longest time until the upstream sees it.
    #[arg(long, default_value = "50ms", value_parser = units::duration)]
    within: Duration,
    /// Endpoints; by default all that reach an upstream.
    #[arg(long = "endpoint", value_enum)]
    endpoints: Vec<Endpoint>,
    /// Times each is asked.
    #[arg(long, default_value_t = 3)]
    repeat: u32,
}

/// A version of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
enum Version {
    Http1,
    Http2,
}

/// One client that went away.
#[derive(Clone, Debug, Serialize)]
pub struct Gone {
    /// What was asked.
    endpoint: String,
    /// Over which version of HTTP.
    version: Version,
    /// Whether it streamed.
    stream: bool,
    /// From the client's leaving to the upstream's seeing it; negative times are the clock's step.
    seen_after_ms: Option<f64>,
    /// Frames with content that the client had.
    content: u32,
    /// Output tokens in weir's access log.
    logged_tokens: Option<u64>,
    /// The access log says that the client left.
    logged_leaving: bool,
    /// What did not go as it should before the client left.
    problem: Option<String>,
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct Findings {
    /// Every client.
    pub gone: Vec<Gone>,
    /// What must hold.
    pub checks: Vec<Check>,
}

/// Asks and leaves, once for every combination.
pub fn run(settings: &Settings, plan: &Plan) -> Result<Findings, String> {
    let workspace = settings.workspace()?;
    let upstream = Upstream::start(&workspace, "upstream", &["--tokens", "200"], &[])?;
    let config = Config::new().upstream("one", upstream.address).pool(
        "main",
        &["one"],
        false,
        true,
        &json!({}),
    );
    let weir = Weir::start(settings, &workspace, &config, true, &[])?;
    let endpoints =
        if plan.endpoints.is_empty() { &Endpoint::ALL[..] } else { &plan.endpoints[..] };
    let mut gone = Vec::new();
    let mut number = 0;
    for &endpoint in endpoints {
        // weir answers the list of models by itself.
        if endpoint == Endpoint::Models {
            continue;
        }
        for version in [Version::Http1, Version::Http2] {
            for stream in [false, true] {
                // A WebSocket over HTTP/2 (RFC 8441) is not offered.
                let skipped = endpoint == Endpoint::Realtime && version == Version::Http2;
                if skipped || (stream && !endpoint.streams()) {
                    continue;
                }
                for _ in 0..plan.repeat {
                    number += 1;
                    let request_id = format!("cancel-{}-{number}", std::process::id());
                    gone.push(leave(&weir, &upstream, endpoint, version, stream, &request_id));
                }
            }
        }
    }
    let metrics = weir.metrics()?;
    let mut checks = checks(&gone, plan.within);
    for gauge in ["weir_requests_in_flight", "weir_target_in_flight"] {
        let left = metrics.nonzero(gauge);
        checks.push(Check::new(
            format!("{gauge} is back to zero"),
            left.is_empty(),
            format!("{left:?}"),
        ));
    }
    Ok(Findings { gone, checks })
}

fn shape(endpoint: Endpoint, stream: bool, request_id: &str) -> Shape {
    let mut shape = Shape { tokens: 200, ..Shape::new(endpoint, stream) };
    shape.headers.push(format!("x-request-id: {request_id}"));
    if stream {
        shape.headers.push("x-mock-itl-ms: 25".into());
    } else if endpoint != Endpoint::Realtime {
        shape.headers.push("x-mock-fault: black_hole".into());
    }
    shape
}

fn leave(
    weir: &Weir,
    upstream: &Upstream,
    endpoint: Endpoint,
    version: Version,
    stream: bool,
    request_id: &str,
) -> Gone {
    let shape = shape(endpoint, stream, request_id);
    let content = if stream { FRAMES_READ } else { 0 };
    let left = match version {
        Version::Http1 => ask_and_leave(weir, &shape, content),
        Version::Http2 => {
            http2::ask_and_leave(weir.address, &shape, content, PATIENCE, now_unix_us)
        }
    };
    let mut gone = Gone {
        endpoint: endpoint.as_str().into(),
        version,
        stream,
        seen_after_ms: None,
        content: 0,
        logged_tokens: None,
        logged_leaving: false,
        problem: None,
    };
    match left {
        Ok(left) => {
            gone.content = left.content;
            gone.seen_after_ms = seen_after_ms(upstream, request_id, left.at_unix_us);
            let logged = weir.logged(request_id).unwrap_or_default();
            gone.logged_tokens = logged["output_tokens"].as_u64();
            gone.logged_leaving = logged["client_gone"] == Value::Bool(true);
        }
        Err(problem) => gone.problem = Some(problem),
    }
    gone
}

fn ask_and_leave(weir: &Weir, shape: &Shape, content: u32) -> Result<http2::Left, String> {
    let wire = shape.http1(&weir.address.to_string());
    let limit = Duration::from_secs(10);
    let mut exchange = Exchange::send(weir.address, &wire, shape.endpoint, limit)
        .map_err(|failure| failure.to_string())?;
    let mut left = http2::Left::default();
    if content == 0 {
        std::thread::sleep(PATIENCE);
    } else {
        let reply = exchange.read(limit, |reply| reply.content >= content);
        left.content = reply.content;
        if reply.content < content {
            return Err(format!("status {}, {} frames", reply.status(), reply.content));
        }
    }
    left.at_unix_us = now_unix_us();
    exchange.leave();
    Ok(left)
}

fn now_unix_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

fn seen_after_ms(upstream: &Upstream, request_id: &str, left_unix_us: u64) -> Option<f64> {
    let until = std::time::Instant::now() + BOOKS_WAIT;
    loop {
        if let Ok(record) = upstream.record(request_id)
            && let Some(gone) = record.gone_unix_us
        {
            return Some((gone as f64 - left_unix_us as f64) / 1e3);
        }
        if std::time::Instant::now() >= until {
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn checks(gone: &[Gone], within: Duration) -> Vec<Check> {
    let none = |what: String, wanted: &dyn Fn(&Gone) -> bool| {
        let offenders: Vec<String> = gone
            .iter()
            .filter(|gone| wanted(gone))
            .map(|gone| {
                let stream = if gone.stream { " stream" } else { "" };
                format!("{}{stream} {:?}", gone.endpoint, gone.version)
            })
            .collect();
        let found = match &offenders[..] {
            [] => "none".into(),
            some => format!("{}: {}", some.len(), some.join(", ")),
        };
        Check::new(what, offenders.is_empty(), found)
    };
    let within_ms = within.as_secs_f64() * 1e3;
    vec![
        none("requests that could not be made".into(), &|gone| gone.problem.is_some()),
        none(format!("seen by the upstream only after more than {within_ms} ms"), &|gone| {
            gone.problem.is_none() && gone.seen_after_ms.is_none_or(|after| after > within_ms)
        }),
        none("not marked as left in the access log".into(), &|gone| {
            gone.problem.is_none() && !gone.logged_leaving
        }),
        none("streams whose tokens so far are not in the access log".into(), &|gone| {
            gone.stream
                && gone.problem.is_none()
                && gone.logged_tokens.is_none_or(|tokens| tokens < u64::from(gone.content))
        }),
    ]
}

/// One line for each combination, with the slowest of its repetitions.
pub fn render(findings: &Findings) -> String {
    let mut table = Table::new([
        "asked",
        "over",
        "streams",
        "seen after ms",
        "frames read",
        "tokens logged",
        "problem",
    ]);
    for gone in findings.gone.chunk_by(|one, two| {
        (&one.endpoint, one.version, one.stream) == (&two.endpoint, two.version, two.stream)
    }) {
        let slowest = gone
            .iter()
            .map(|gone| gone.seen_after_ms.unwrap_or(f64::INFINITY))
            .fold(f64::NEG_INFINITY, f64::max);
        let last = &gone[gone.len() - 1];
        table.row([
            last.endpoint.clone(),
            format!("{:?}", last.version),
            last.stream.to_string(),
            format!("{slowest:.1}"),
            last.content.to_string(),
            last.logged_tokens.map_or_else(|| "-".into(), |tokens| tokens.to_string()),
            gone.iter().find_map(|gone| gone.problem.clone()).unwrap_or_default(),
        ]);
    }
    table.render()
}
