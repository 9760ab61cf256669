//! weir beside nginx and `HAProxy`: CPU per request and per frame, and the latency they add.
//!
//! Every proxy runs on one core; upstream and load share another. All stay up for the whole run and
//! are measured in turns, round after round, so that a drift of the machine hits all alike; the
//! median of the rounds counts. CPU time is what the kernel books for the process, its threads and
//! its children, which stays steady where throughput does not.

mod contestant;
mod measure;
mod table;

use std::time::Duration;

use serde::Serialize;

use contestant::Contestant;
pub use contestant::Name;
use measure::Bench;
pub use measure::{Latency, Streams, Work};
pub use table::render;

use crate::process::resident_bytes;
use crate::stand::{Settings, Upstream};
use crate::units;

/// What is measured, and for how long.
#[derive(Clone, Debug, clap::Args)]
pub struct Plan {
    /// Rounds; each measures everything once for every proxy.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Length of one measurement.
    #[arg(long, default_value = "4s", value_parser = units::duration)]
    length: Duration,
    /// Who takes part; by default all that are installed. The first is what the others are
    /// compared with.
    #[arg(long = "with", value_enum, default_values_t = [Name::Nginx, Name::Haproxy, Name::Weir])]
    with: Vec<Name>,
    /// Core of the proxy.
    #[arg(long, default_value_t = 0)]
    proxy_core: usize,
    /// Core of the upstream and the load.
    #[arg(long, default_value_t = 1)]
    load_core: usize,
    /// Connections of the closed loop.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Requests a second at which latency is measured.
    #[arg(long, default_value_t = 500.0)]
    latency_rate: f64,
}

/// One round of one proxy.
#[derive(Clone, Debug, Serialize)]
pub struct Round {
    /// Answers of about 1 KB as fast as they come.
    pub requests: Work,
    /// Streams as fast as they come.
    pub full_speed: Streams,
    /// Streams at a pace of 5 ms a frame.
    pub paced: Streams,
    /// Latency at a low rate.
    pub latency: Latency,
}

/// One proxy.
#[derive(Clone, Debug, Serialize)]
pub struct Proxy {
    /// Who it is.
    pub name: Name,
    /// What it says of itself.
    pub version: String,
    /// Its rounds.
    pub rounds: Vec<Round>,
    /// Resident memory before the first round.
    pub resident_idle_bytes: u64,
    /// Resident memory after the last.
    pub resident_after_bytes: u64,
}

/// Everything.
#[derive(Clone, Debug, Serialize)]
pub struct Findings {
    /// Connections of the closed loop.
    pub connections: usize,
    /// Requests a second at which latency was measured.
    pub latency_rate: f64,
    /// Latency without any proxy, by round.
    pub direct: Vec<Latency>,
    /// The proxies.
    pub proxies: Vec<Proxy>,
}

/// Measures everything, round after round.
pub fn run(settings: &Settings, plan: &Plan) -> Result<Findings, String> {
    let workspace = settings.workspace()?;
    let flags = ["--tokens", "150"];
    let upstream = Upstream::start(&workspace, "upstream", &flags, Some(plan.load_core))?;
    let mut running = Vec::new();
    for &name in &plan.with {
        match Contestant::start(name, settings, &workspace, &upstream, plan.proxy_core)? {
            Some(contestant) => running.push(contestant),
            None => eprintln!("{} is not installed and left out", name.as_str()),
        }
    }
    let bench = Bench {
        length: plan.length,
        core: plan.load_core,
        connections: plan.connections,
        latency_rate: plan.latency_rate,
    };
    let mut proxies: Vec<Proxy> = running
        .iter()
        .map(|contestant| Proxy {
            name: contestant.name,
            version: contestant.version.clone(),
            rounds: Vec::new(),
            resident_idle_bytes: resident_bytes(contestant.pid()).unwrap_or_default(),
            resident_after_bytes: 0,
        })
        .collect();
    for contestant in &running {
        bench.warm_up(contestant)?;
    }
    let mut direct = Vec::new();
    for round in 0..plan.rounds {
        eprintln!("round {} of {}", round + 1, plan.rounds);
        direct.push(bench.latency(upstream.address)?);
        // Another one begins each round.
        for turn in 0..running.len() {
            let index = (turn + round as usize) % running.len();
            proxies[index].rounds.push(bench.round(&running[index])?);
        }
    }
    for (proxy, contestant) in proxies.iter_mut().zip(&running) {
        proxy.resident_after_bytes = resident_bytes(contestant.pid()).unwrap_or_default();
    }
    Ok(Findings { connections: plan.connections, latency_rate: plan.latency_rate, direct, proxies })
}
