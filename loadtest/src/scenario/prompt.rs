//! Prompts of megabytes beside small requests: reading, forwarding and counting a large one must not
//! make the others wait.
//!
//! The prompt is one character repeated, the worst case of a byte-pair encoder, and the upstream
//! reports no usage, so that weir has to count it. Stretches with and without large prompts take
//! turns on one worker, so that every small request shares its thread with the large ones.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::json;

use super::Check;
use crate::client::blocking::ask;
use crate::client::{Endpoint, Shape};
use crate::drive::{Load, Mix, Pace, Stats, Summary};
use crate::report::median;
use crate::stand::{Config, Settings, Upstream, Weir};
use crate::units;

/// Longest time for one large prompt.
const LIMIT: Duration = Duration::from_secs(30);

/// How much of what.
#[derive(Clone, Debug, clap::Args)]
pub struct Plan {
    /// Length of a large prompt.
    #[arg(long, default_value = "10MiB", value_parser = units::size)]
    bytes: usize,
    /// The character it repeats.
    #[arg(long, default_value_t = 'a')]
    character: char,
    /// From the start of one large prompt to the start of the next.
    #[arg(long, default_value = "2s", value_parser = units::duration)]
    every: Duration,
    /// Time with large prompts; as much again passes without any.
    #[arg(long, default_value = "30s", value_parser = units::duration)]
    duration: Duration,
    /// Stretches of each kind.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Small requests a second.
    #[arg(long, default_value_t = 500.0)]
    rate: f64,
    /// By how much the 99th percentile of small requests may grow.
    #[arg(long, default_value = "5ms", value_parser = units::duration)]
    p99_more: Duration,
}

/// One large prompt.
#[derive(Clone, Debug, Serialize)]
pub struct Large {
    /// Status; 0 when no answer came.
    status: u16,
    /// From connecting to the end of the answer.
    took_ms: f64,
    /// What the access log says of the prompt's tokens.
    input_tokens: Option<u64>,
    /// And where the figure is from.
    usage_source: Option<String>,
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct Findings {
    /// Small requests of the stretches without large prompts.
    pub alone: Summary,
    /// Small requests of the stretches with large prompts.
    pub beside: Summary,
    /// The large prompts.
    pub large: Vec<Large>,
    /// What must hold.
    pub checks: Vec<Check>,
}

/// Runs both kinds of stretches in turns.
pub fn run(settings: &Settings, plan: &Plan) -> Result<Findings, String> {
    let workspace = settings.workspace()?;
    // Each kind has an upstream of its own: what is measured is weir, not how the upstream copes.
    let small = Upstream::start(&workspace, "small", &["--tokens", "8"], &[])?;
    let large = Upstream::start(&workspace, "large", &["--tokens", "8"], &[])?;
    let config = Config::new()
        .upstream("small", small.address)
        .upstream("large", large.address)
        .pool("large", &["large"], false, false, &json!({}))
        .pool("small", &["small"], false, true, &json!({}));
    let weir = Weir::start(settings, &workspace, &config, true, &[])?;
    let rounds = plan.rounds.max(1);
    let shapes = [Shape { body_bytes: 600, ..Shape::new(Endpoint::Chat, false) }];
    let load = Load {
        pace: Pace::Open { per_second: plan.rate },
        duration: plan.duration / rounds,
        connections: 128,
        validate: true,
        ..Load::new(weir.address, Arc::new(Mix::new(&shapes, &weir.address.to_string(), None)?))
    };
    let (mut alone, mut beside) = (Stats::default(), Stats::default());
    // Loads the vocabulary, which takes its time once.
    let mut asked = vec![send(weir.address, plan, "prompt-first")];
    for round in 0..rounds {
        eprintln!("round {} of {rounds}", round + 1);
        alone.merge(&load.start().finish_stats());
        let running = load.start();
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let sender = scope.spawn(|| send_often(weir.address, plan, round, &over));
            beside.merge(&running.finish_stats());
            over.store(true, Ordering::Relaxed);
            asked.extend(sender.join().unwrap_or_default());
        });
    }
    let large: Vec<Large> = asked
        .into_iter()
        .map(|(id, status, took)| {
            let logged = weir.logged(&id).unwrap_or_default();
            Large {
                status,
                took_ms: took.as_secs_f64() * 1e3,
                input_tokens: logged["input_tokens"].as_u64(),
                usage_source: logged["usage_source"].as_str().map(str::to_owned),
            }
        })
        .collect();
    let (alone, beside) = (Summary::new(&load, &alone), Summary::new(&load, &beside));
    let checks = checks(plan, &alone, &beside, &large);
    Ok(Findings { alone, beside, large, checks })
}

type Asked = (String, u16, Duration);

fn send_often(address: SocketAddr, plan: &Plan, round: u32, over: &AtomicBool) -> Vec<Asked> {
    let mut asked = Vec::new();
    let mut due = Instant::now();
    while !over.load(Ordering::Relaxed) {
        asked.push(send(address, plan, &format!("prompt-{round}-{}", asked.len())));
        due += plan.every;
        while !over.load(Ordering::Relaxed) && Instant::now() < due {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    asked
}

fn send(address: SocketAddr, plan: &Plan, id: &str) -> Asked {
    let text = plan.character.to_string().repeat(plan.bytes / plan.character.len_utf8());
    let body = format!(
        r#"{{"model":"gpt-4o","messages":[{{"role":"user","content":"{text}"}}],"max_tokens":8}}"#
    );
    let wire = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n\
        x-request-id: {id}\r\nx-pool: large\r\nx-mock-no-usage: 1\r\nconnection: close\r\n\
        content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let reply = ask(address, wire.as_bytes(), Endpoint::Chat, LIMIT);
    (id.to_owned(), reply.status(), reply.total)
}

fn checks(plan: &Plan, alone: &Summary, beside: &Summary, large: &[Large]) -> Vec<Check> {
    let (p99_alone, p99_beside) = (alone.total.p99_ns, beside.total.p99_ns);
    let more = Duration::from_nanos(p99_beside.saturating_sub(p99_alone));
    let took: Vec<f64> = large.iter().map(|large| large.took_ms).collect();
    let tokens = large.first().and_then(|large| large.input_tokens);
    let counted = large.iter().filter(|large| {
        let ours = large.usage_source.as_deref() == Some("counted");
        ours && large.status == 200 && large.input_tokens == tokens && tokens > Some(0)
    });
    vec![
        Check::new(
            "every small request was answered",
            alone.failed + beside.failed == 0 && alone.ok == alone.due && beside.ok == beside.due,
            format!("{} and {}, {:?} {:?}", alone.ok, beside.ok, alone.errors, beside.errors),
        ),
        Check::new(
            "every large prompt was answered and counted, all alike",
            counted.clone().count() == large.len() && large.len() > 1,
            format!(
                "{} of {} with {tokens:?} tokens each, median {:.0} ms",
                counted.count(),
                large.len(),
                median(&took)
            ),
        ),
        Check::new(
            format!(
                "99th percentile of small requests grows by at most {}",
                units::show_ns(u64::try_from(plan.p99_more.as_nanos()).unwrap_or(u64::MAX))
            ),
            more <= plan.p99_more,
            format!("{} alone, {} beside", units::show_ns(p99_alone), units::show_ns(p99_beside)),
        ),
    ]
}
