//! Reloads under load, a quarter of them of an invalid file: nothing fails, nothing slows, and the
//! live state stays.
//!
//! Stretches with reloads and stretches without take turns, so that a drift of the machine hits
//! both alike. A pool whose only target is dead has its breaker opened first; it must stay open.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Value, json};

use super::Check;
use crate::client::blocking::ask;
use crate::client::{Endpoint, Shape};
use crate::drive::{Load, Mix, Pace, Stats, Summary};
use crate::process::free_address;
use crate::stand::{Config, Metrics, Settings, Upstream, Weir};
use crate::units;

/// How long one reload may take.
const RELOAD_WAIT: Duration = Duration::from_secs(5);

/// How the reloads are spread.
#[derive(Clone, Debug, clap::Args)]
pub struct Plan {
    /// Reloads in all.
    #[arg(long, default_value_t = 200)]
    reloads: u32,
    /// Time in which they happen; as much again passes without any.
    #[arg(long, default_value = "60s", value_parser = units::duration)]
    duration: Duration,
    /// Stretches of each kind.
    #[arg(long, default_value_t = 6)]
    rounds: u32,
    /// Requests a second that are not streamed.
    #[arg(long, default_value_t = 500.0)]
    rate: f64,
    /// Streams a second; each takes two seconds.
    #[arg(long, default_value_t = 20.0)]
    streams: f64,
    /// By how much the 99th percentile may exceed that without reloads.
    #[arg(long, default_value_t = 1.1)]
    p99_factor: f64,
}

/// One kind of stretch.
#[derive(Clone, Debug, Serialize)]
pub struct Arm {
    /// Requests that were not streamed.
    pub plain: Summary,
    /// Streams.
    pub streams: Summary,
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct Findings {
    /// Stretches without reloads.
    pub calm: Arm,
    /// Stretches with reloads.
    pub reloading: Arm,
    /// 99th percentile of plain requests with reloads over that without.
    pub p99_ratio: f64,
    /// What must hold.
    pub checks: Vec<Check>,
}

struct Stretch<'a> {
    weir: &'a Weir,
    plain: Load,
    streams: Load,
}

#[derive(Default)]
struct Counted {
    plain: Stats,
    streams: Stats,
}

/// Runs both kinds of stretches in turns.
pub fn run(settings: &Settings, plan: &Plan) -> Result<Findings, String> {
    let workspace = settings.workspace()?;
    let flags = ["--tokens", "20", "--ttft", "5ms"];
    let live = Upstream::start(&workspace, "live", &flags, &[])?;
    let dead = free_address().map_err(|error| error.to_string())?;
    let weir = Weir::start(settings, &workspace, &config(live.address, dead, 3), false, &[])?;
    open_breaker(&weir)?;
    let before = (weir.metrics()?, weir.state()?, weir.breakers()?);
    let rounds = plan.rounds.max(1);
    let stretch = stretch(&weir, plan, plan.duration / rounds)?;
    let (mut calm, mut reloading) = (Counted::default(), Counted::default());
    let mut sent = Sent::default();
    for round in 0..rounds {
        eprintln!("round {} of {rounds}", round + 1);
        stretch.run(&mut calm, |_| Ok(()))?;
        let due = plan.reloads * (round + 1) / rounds - plan.reloads * round / rounds;
        stretch.run(&mut reloading, |duration| {
            reload_often(&weir, live.address, dead, due, duration, &mut sent)
        })?;
    }
    let after = (weir.metrics()?, weir.state()?, weir.breakers()?);
    let arm = |counted: &Counted| Arm {
        plain: Summary::new(&stretch.plain, &counted.plain),
        streams: Summary::new(&stretch.streams, &counted.streams),
    };
    let (calm, reloading) = (arm(&calm), arm(&reloading));
    let p99_ratio = reloading.plain.total.p99_ns as f64 / (calm.plain.total.p99_ns as f64).max(1.0);
    let mut checks = load_checks(&calm, &reloading);
    checks.push(Check::new(
        format!("99th percentile within {} of that without reloads", plan.p99_factor),
        p99_ratio <= plan.p99_factor,
        format!(
            "{p99_ratio:.3} ({} against {})",
            units::show_ns(reloading.plain.total.p99_ns),
            units::show_ns(calm.plain.total.p99_ns)
        ),
    ));
    let counted = |result: &str| {
        let labels = [&*format!("\"{result}\"")];
        let sum = |metrics: &Metrics| metrics.sum("weir_config_reloads_total", &labels);
        (sum(&after.0) - sum(&before.0)) as u32
    };
    let (ok, failed) = (counted("ok"), counted("error"));
    checks.push(Check::new(
        "every reload was counted with its result",
        ok == sent.valid && failed == sent.invalid,
        format!("{ok} of {} valid, {failed} of {} invalid", sent.valid, sent.invalid),
    ));
    checks.push(state_check("breakers are as before", &before.2, &after.2));
    let succeeded = |state: &Value| live_target(state).and_then(|t| t["succeeded"].as_u64());
    checks.push(Check::new(
        "the live target's counters and latency were kept",
        succeeded(&after.1) >= succeeded(&before.1).map(|n| n + reloading.plain.ok)
            && live_target(&after.1).is_some_and(|target| target["ttft_ms"].is_number()),
        format!("{:?}", live_target(&after.1)),
    ));
    Ok(Findings { calm, reloading, p99_ratio, checks })
}

fn load_checks(calm: &Arm, reloading: &Arm) -> Vec<Check> {
    let mut checks = Vec::new();
    for (name, arm) in [("without reloads", calm), ("with reloads", reloading)] {
        for (what, summary) in [("request failed", &arm.plain), ("stream was cut", &arm.streams)] {
            checks.push(Check::new(
                format!("{name}, no {what}"),
                summary.failed == 0 && summary.ok == summary.due,
                format!("{} of {} complete {:?}", summary.ok, summary.due, summary.errors),
            ));
        }
    }
    checks
}

fn state_check<T: PartialEq + std::fmt::Debug>(what: &str, before: &T, after: &T) -> Check {
    Check::new(what, before == after, format!("{before:?} before, {after:?} after"))
}

fn live_target(state: &Value) -> Option<&Value> {
    match state {
        Value::Object(object) if object.get("id").is_some_and(|id| id == "live-openai") => {
            Some(state)
        }
        Value::Object(object) => object.values().find_map(live_target),
        Value::Array(values) => values.iter().find_map(live_target),
        _ => None,
    }
}

fn config(live: SocketAddr, dead: SocketAddr, attempts: u32) -> Config {
    let retry = json!({ "attempts": attempts });
    let broken = json!({ "retry": retry, "breaker": { "cooldown": "30m", "cooldown_max": "30m" } });
    Config::new()
        .upstream("live", live)
        .upstream("dead", dead)
        .pool("broken", &["dead"], false, false, &broken)
        .pool("main", &["live"], false, true, &json!({ "retry": retry }))
}

fn open_breaker(weir: &Weir) -> Result<(), String> {
    let mut shape = Shape::new(Endpoint::Chat, false);
    shape.headers.push("x-pool: broken".into());
    let wire = shape.http1(&weir.address.to_string());
    for _ in 0..20 {
        ask(weir.address, &wire, Endpoint::Chat, Duration::from_secs(10));
        if weir.breakers()?.values().any(|state| state == "open") {
            return Ok(());
        }
    }
    Err("20 refused connections did not open the breaker".into())
}

fn stretch<'a>(weir: &'a Weir, plan: &Plan, duration: Duration) -> Result<Stretch<'a>, String> {
    let host = weir.address.to_string();
    let plain = [Shape { body_bytes: 600, ..Shape::new(Endpoint::Chat, false) }];
    let mut stream = Shape { tokens: 1000, ..Shape::new(Endpoint::Chat, true) };
    stream.headers.extend(["x-mock-tokens: 100".into(), "x-mock-itl-ms: 20".into()]);
    let load = |shapes: &[Shape], per_second: f64, frames| -> Result<Load, String> {
        let mix = Arc::new(Mix::new(shapes, &host, frames)?);
        Ok(Load {
            pace: Pace::Open { per_second },
            duration,
            connections: 128,
            validate: true,
            ..Load::new(weir.address, mix)
        })
    };
    Ok(Stretch {
        weir,
        plain: load(&plain, plan.rate, None)?,
        streams: load(&[stream], plan.streams, Some(100))?,
    })
}

impl Stretch<'_> {
    fn run(
        &self,
        counted: &mut Counted,
        meanwhile: impl FnOnce(Duration) -> Result<(), String>,
    ) -> Result<(), String> {
        let (plain, streams) = (self.plain.start(), self.streams.start());
        let done = meanwhile(self.plain.duration);
        counted.plain.merge(&plain.finish_stats());
        counted.streams.merge(&streams.finish_stats());
        done?;
        if self.weir.metrics().is_err() {
            return Err("weir does not answer any more".into());
        }
        Ok(())
    }
}

#[derive(Default)]
struct Sent {
    valid: u32,
    invalid: u32,
}

/// Writes a changed file and sends SIGHUP, at even distances; every fourth file is invalid, in
/// turns by its grammar and by what it says.
fn reload_often(
    weir: &Weir,
    live: SocketAddr,
    dead: SocketAddr,
    count: u32,
    duration: Duration,
    sent: &mut Sent,
) -> Result<(), String> {
    let started = Instant::now();
    for index in 0..count {
        let due = started + duration.mul_f64((f64::from(index) + 0.5) / f64::from(count));
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let total = sent.valid + sent.invalid;
        let config = config(live, dead, 3 + total % 2);
        if total % 4 == 3 {
            sent.invalid += 1;
            if total % 8 == 3 {
                weir.write_text("listeners: [ {\n")?;
            } else {
                weir.write(&config.with("poolz", json!({})))?;
            }
        } else {
            sent.valid += 1;
            weir.write(&config)?;
        }
        let before = weir.config_status()?;
        weir.reload()?;
        // Signals of a kind do not queue: the next one waits until this one was seen. What is asked
        // costs little, so that looking does not count as reloading.
        let until = Instant::now() + RELOAD_WAIT;
        while weir.config_status()? == before && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    std::thread::sleep((started + duration).saturating_duration_since(Instant::now()));
    weir.write(&config(live, dead, 3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_live_target_is_found_in_the_state() {
        let state = json!({ "pools": [{ "targets": [{ "id": "live-openai", "succeeded": 7 }] }] });
        assert_eq!(live_target(&state).map(|target| &target["succeeded"]), Some(&json!(7)));
        assert_eq!(live_target(&json!([1])), None);
    }
}
