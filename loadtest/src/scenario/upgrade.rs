//! A new process takes over the sockets while streams are open and requests keep coming.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::json;

use super::Check;
use crate::client::{Endpoint, Shape};
use crate::drive::{Load, Mix, Pace, Summary};
use crate::process::Signal;
use crate::stand::{Config, Settings, Upstream, Weir};

/// Tokens of a stream, fifty milliseconds apart.
const STREAM_TOKENS: u32 = 300;
/// Time before the new process starts, by which every stream is open.
const SETTLE: Duration = Duration::from_secs(4);
/// Time for the new process to ask for the sockets before the old one is told to hand them over.
const INTRODUCTION: Duration = Duration::from_secs(1);
/// How long requests are sent in all.
const DURATION: Duration = Duration::from_secs(15);
/// Longest time until the old process has ended, its streams included.
const OLD_ENDS_WITHIN: Duration = Duration::from_secs(60);

/// The load during the upgrade.
#[derive(Clone, Debug, clap::Args)]
pub struct Plan {
    /// Streams that are open when it happens.
    #[arg(long, default_value_t = 200)]
    streams: u32,
    /// Requests a second meanwhile.
    #[arg(long, default_value_t = 1000.0)]
    rate: f64,
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct Findings {
    /// Requests that were not streamed.
    pub plain: Summary,
    /// Streams that were open when the new process took over.
    pub streams: Summary,
    /// What must hold.
    pub checks: Vec<Check>,
}

/// Opens the streams, keeps requests coming, and upgrades in the middle.
pub fn run(settings: &Settings, plan: &Plan) -> Result<Findings, String> {
    let workspace = settings.workspace()?;
    let flags = ["--tokens", "20", "--ttft", "5ms"];
    let upstream = Upstream::start(&workspace, "upstream", &flags, &[])?;
    let config = Config::new().upstream("one", upstream.address).pool(
        "main",
        &["one"],
        false,
        true,
        &json!({}),
    );
    let mut weir = Weir::start(settings, &workspace, &config, false, &[])?;
    let (streams, plain) = loads(&weir, plan)?;
    let (streams, plain) = (streams.start(), plain.start());
    std::thread::sleep(SETTLE);
    let open = streams.stats().in_flight;
    let mut successor = weir.successor()?;
    std::thread::sleep(INTRODUCTION);
    weir.child.signal(Signal::QUIT).map_err(|error| format!("SIGQUIT: {error}"))?;
    let (plain, streams) = (plain.finish(), streams.finish());
    let old_ended = weir.child.wait(OLD_ENDS_WITHIN);
    let new_runs = successor.runs() && weir.metrics().is_ok();
    let checks = vec![
        Check::new(
            "the streams were open when the new process took over",
            open == u64::from(plan.streams),
            format!("{open} of {}", plan.streams),
        ),
        Check::new(
            "no connection was refused and no request failed",
            plain.failed == 0 && plain.ok == plain.due,
            format!(
                "{} of {} complete, {:?}; {} found their idle connection closed and were sent again",
                plain.ok, plain.due, plain.errors, plain.stale_resent
            ),
        ),
        Check::new(
            "no stream was cut",
            streams.failed == 0 && streams.ok == u64::from(plan.streams),
            format!("{} of {} complete, {:?}", streams.ok, plan.streams, streams.errors),
        ),
        Check::new("the old process has ended", old_ended, old_ended.to_string()),
        Check::new("the new process serves", new_runs, new_runs.to_string()),
    ];
    Ok(Findings { plain, streams, checks })
}

fn loads(weir: &Weir, plan: &Plan) -> Result<(Load, Load), String> {
    let host = weir.address.to_string();
    let mut shape = Shape { tokens: STREAM_TOKENS + 1, ..Shape::new(Endpoint::Chat, true) };
    shape.headers.push(format!("x-mock-tokens: {STREAM_TOKENS}"));
    shape.headers.push("x-mock-itl-ms: 50".into());
    let streams = Load {
        pace: Pace::Open { per_second: f64::from(plan.streams) / 2.0 },
        duration: Duration::from_secs(2),
        connections: plan.streams as usize,
        validate: true,
        ..Load::new(weir.address, Arc::new(Mix::new(&[shape], &host, Some(STREAM_TOKENS))?))
    };
    let shape = Shape { body_bytes: 600, ..Shape::new(Endpoint::Chat, false) };
    let plain = Load {
        pace: Pace::Open { per_second: plan.rate },
        duration: DURATION,
        connections: 64,
        validate: true,
        progress: true,
        ..Load::new(weir.address, Arc::new(Mix::new(&[shape], &host, None)?))
    };
    Ok((streams, plain))
}
