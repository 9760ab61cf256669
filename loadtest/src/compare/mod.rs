//! weir beside nginx, `HAProxy`, Envoy and the LLM gateways that are installed.
//!
//! Every proxy runs on one core; upstream and load share another. All stay up for the whole run and
//! are measured in turns, round after round, another one first each time, so that a drift of the
//! machine hits all alike; medians count. CPU time is what the kernel books for the process, its
//! threads and its children, which stays steady where throughput does not.
//!
//! weir has on what a gateway is there for (a key, 1,000 routes, token accounting, metrics, an access
//! log); what each of the others does is said beside it.

mod contestant;
mod cores;
mod figures;
mod measure;
mod memory;
mod page;
mod peer;
mod run;
mod search;
mod stage;
mod syscalls;
mod table;

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;

pub use contestant::Target;
use figures::Curve;
pub use figures::Spread;
pub use measure::{Latency, Streams, Subject, Work};
pub use memory::Memory;
pub use page::page;
pub use peer::Name;
pub use run::run;
pub use search::Point;
pub use table::render;

use crate::report::machine::Machine;
use crate::units;

/// Most streams that are tried at a pace of 20 ms in a quick run.
const QUICK_STREAMS: usize = 512;

/// A part of the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// CPU per request at 64 and at 256 connections, not streaming.
    Requests,
    /// CPU per 100,000 frames at full speed and at a pace of 5 ms, and the gaps between frames.
    Streams,
    /// Latency with one request at a time, and time to first token.
    Latency,
    /// Throughput under bounds of latency.
    Frontier,
    /// Streams that can be sustained at a pace of 20 ms.
    Sustained,
    /// Resident memory.
    Memory,
    /// System calls per request and per frame, where `perf` can count them.
    Syscalls,
    /// Requests a second on one core and on two, each shared with load and upstream.
    Cores,
}

impl Part {
    /// Every part.
    pub const ALL: [Part; 8] = [
        Part::Requests,
        Part::Streams,
        Part::Latency,
        Part::Frontier,
        Part::Sustained,
        Part::Memory,
        Part::Syscalls,
        Part::Cores,
    ];
}

/// What is measured, and for how long.
#[derive(Clone, Debug, clap::Args)]
pub struct Plan {
    /// Rounds; each measures everything once for every proxy. Searches (throughput under a bound,
    /// streams sustained) are made in the first two of them only.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Length of one measurement.
    #[arg(long, default_value = "2s", value_parser = units::duration)]
    length: Duration,
    /// Two rounds of short measurements: a look, or a check that everything works.
    #[arg(long, conflicts_with_all = ["rounds", "length"])]
    quick: bool,
    /// Parts to measure; by default all. May be repeated.
    #[arg(long = "part", value_enum, default_values_t = Part::ALL)]
    parts: Vec<Part>,
    /// Who takes part; by default all that are installed. The first is what the others are
    /// compared with. May be repeated.
    #[arg(long = "with", value_enum, default_values_t = Name::DEFAULT)]
    with: Vec<Name>,
    /// A directory in which programs are looked for before the path. May be repeated.
    #[arg(long, value_name = "DIR")]
    programs: Vec<PathBuf>,
    /// Core of the proxy.
    #[arg(long, default_value_t = 0)]
    proxy_core: usize,
    /// Core of the upstream and the load.
    #[arg(long, default_value_t = 1)]
    load_core: usize,
    /// Connections of the closed loop. May be repeated.
    #[arg(long, default_values_t = [64, 256])]
    connections: Vec<usize>,
    /// Most streams that are tried at a pace of 20 ms.
    #[arg(long, default_value_t = 4096)]
    streams_max: usize,
}

impl Plan {
    fn rounds(&self) -> u32 {
        if self.quick { 2 } else { self.rounds }
    }

    fn length(&self) -> Duration {
        if self.quick { Duration::from_secs(1) } else { self.length }
    }

    fn streams_max(&self) -> usize {
        if self.quick { self.streams_max.min(QUICK_STREAMS) } else { self.streams_max }
    }

    fn has(&self, part: Part) -> bool {
        self.parts.contains(&part)
    }

    /// Whether a search is made in this round, counted from 0.
    fn searches(&self, part: Part, round: u32) -> bool {
        let most = if self.quick { 1 } else { 2 };
        self.has(part) && round < most
    }
}

/// Closed loops on a number of connections.
#[derive(Clone, Debug, Serialize)]
pub struct Requests {
    /// Connections.
    pub connections: usize,
    /// Its rounds.
    pub rounds: Vec<Work>,
}

/// Distributions over all rounds, as `[share, microseconds]`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Curves {
    /// One request at a time, to the end of the answer.
    pub whole: Curve,
    /// One request at a time, to the first token.
    pub first: Curve,
    /// Between two frames at full speed.
    pub gap_full_speed: Curve,
    /// Between two frames at a pace of 5 ms.
    pub gap_paced: Curve,
}

/// Closed loops of a proxy on some cores.
#[derive(Clone, Debug, Serialize)]
pub struct Cores {
    /// How many.
    pub count: usize,
    /// Whether load and upstream are on them as well.
    pub shared: bool,
    /// Its rounds.
    pub rounds: Vec<Work>,
}

/// System calls.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Syscalls {
    /// For one request that does not stream, on 64 connections.
    pub request: f64,
    /// For one frame at full speed.
    pub frame_full_speed: f64,
    /// For one frame at a pace of 5 ms.
    pub frame_paced: f64,
}

/// Everything that was measured of one proxy.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Proxy {
    /// Who it is.
    pub name: String,
    /// What it says of itself.
    pub version: String,
    /// What it does with each request.
    pub does: String,
    /// Closed loops, by number of connections.
    pub requests: Vec<Requests>,
    /// Streams at full speed, by round.
    pub full_speed: Vec<Streams>,
    /// Streams at a pace of 5 ms, by round.
    pub paced: Vec<Streams>,
    /// One request at a time, by round.
    pub latency: Vec<Latency>,
    /// One stream at a time, to its first token, by round.
    pub first_token: Vec<Latency>,
    /// Throughput under bounds of latency, by round.
    pub frontier: Vec<Vec<Point>>,
    /// Streams sustained, by round.
    pub sustained: Vec<usize>,
    /// Resident memory.
    pub memory: Memory,
    /// System calls, where they could be counted.
    pub syscalls: Option<Syscalls>,
    /// The same requests on one core and on two, where it can be told how many workers to run.
    pub cores: Vec<Cores>,
    /// Distributions.
    pub curves: Curves,
}

/// Somebody who did not take part.
#[derive(Clone, Debug, Serialize)]
pub struct LeftOut {
    /// Who.
    pub name: &'static str,
    /// Why.
    pub why: String,
}

/// Everything.
#[derive(Clone, Debug, Serialize)]
pub struct Findings {
    /// What it was measured on.
    pub machine: Machine,
    /// Rounds.
    pub rounds: u32,
    /// Length of one measurement, in seconds.
    pub length_s: f64,
    /// Core of the proxy.
    pub proxy_core: usize,
    /// Core of upstream and load.
    pub load_core: usize,
    /// How long it all took, in seconds.
    pub took_s: f64,
    /// The upstream without any proxy: what the load itself can do.
    pub direct: Proxy,
    /// The proxies.
    pub proxies: Vec<Proxy>,
    /// Who did not take part.
    pub left_out: Vec<LeftOut>,
    /// What else there is to say.
    pub notes: Vec<String>,
}
