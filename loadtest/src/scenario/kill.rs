//! One of two upstreams dies in the middle of the load; no request may notice.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::json;

use super::Check;
use crate::client::{Endpoint, Shape};
use crate::drive::{Load, Mix, Pace, Summary};
use crate::process::Signal;
use crate::stand::{Config, Settings, Upstream, Weir};
use crate::units;

/// The load, and when the upstream dies: in the middle of it.
#[derive(Clone, Debug, clap::Args)]
pub struct Plan {
    /// Requests a second.
    #[arg(long, default_value_t = 2000.0)]
    rate: f64,
    /// How long.
    #[arg(long, default_value = "60s", value_parser = units::duration)]
    duration: Duration,
    /// Most connections.
    #[arg(long, default_value_t = 256)]
    connections: usize,
    /// What is asked, not streaming: an answer that has begun cannot be taken back.
    #[arg(long, value_enum, default_value_t = Endpoint::Chat)]
    endpoint: Endpoint,
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct Findings {
    /// What the clients saw.
    pub load: Summary,
    /// Attempts in weir's metrics.
    pub attempts: std::collections::BTreeMap<String, f64>,
    /// What must hold.
    pub checks: Vec<Check>,
}

/// Runs the load and kills one upstream with SIGKILL halfway.
pub fn run(settings: &Settings, plan: &Plan) -> Result<Findings, String> {
    let workspace = settings.workspace()?;
    let flags = ["--tokens", "16", "--ttft", "5ms"];
    let doomed = Upstream::start(&workspace, "doomed", &flags, &[])?;
    let other = Upstream::start(&workspace, "other", &flags, &[])?;
    let config = Config::new()
        .upstream("doomed", doomed.address)
        .upstream("other", other.address)
        .pool("both", &["doomed", "other"], false, true, &json!({ "strategy": "least_busy" }));
    let weir = Weir::start(settings, &workspace, &config, false, &[])?;
    let before = weir.metrics()?;
    let shapes = [Shape { body_bytes: 600, ..Shape::new(plan.endpoint, false) }];
    let mix = Arc::new(Mix::new(&shapes, &weir.address.to_string(), None)?);
    let load = Load {
        pace: Pace::Open { per_second: plan.rate },
        duration: plan.duration,
        connections: plan.connections,
        validate: true,
        progress: true,
        ..Load::new(weir.address, mix)
    };
    let running = load.start();
    let half = plan.duration / 2;
    let killer = std::thread::spawn(move || {
        std::thread::sleep(half);
        let killed = doomed.child.signal(Signal::KILL);
        (doomed, killed)
    });
    let summary = running.finish();
    let (doomed, killed) = killer.join().map_err(|_| "the killing thread panicked".to_owned())?;
    killed.map_err(|error| format!("SIGKILL: {error}"))?;
    drop(doomed);
    let attempts = weir.metrics()?.grown(&before, &["weir_attempts_total"]);
    let asked = plan.rate * plan.duration.as_secs_f64();
    let checks = vec![
        Check::new("no request is lost", summary.failed == 0, format!("{:?}", summary.errors)),
        Check::new(
            "every request that was due was answered",
            summary.ok == summary.due,
            format!("{} of {}", summary.ok, summary.due),
        ),
        Check::new(
            "the load was as asked",
            summary.due as f64 >= asked * 0.999,
            format!("{} of {asked:.0} requests were due", summary.due),
        ),
        Check::new(
            "both upstreams had a part",
            attempts.keys().any(|key| key.contains("doomed") && key.contains("\"ok\"")),
            format!("{attempts:?}"),
        ),
    ];
    Ok(Findings { load: summary, attempts, checks })
}
