//! The measurements, each of one proxy for a few seconds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::contestant::{KEY, Target};
use super::search::{self, Point};
use crate::client::{Endpoint, Shape};
use crate::drive::{Load, Mix, Pace, Quantiles, Stats, Summary};
use crate::process::{CpuTime, cpu_time};

/// Tries at warming up.
const WARM_UPS_MAX: u32 = 3;
/// Tokens of an answer that does not stream: about 1 KB.
const ANSWER_TOKENS: u32 = 150;
/// Connections of streams at full speed, and tokens of each.
const FULL_SPEED: (usize, u32) = (16, 500);
/// Connections of streams at a pace, and tokens of each.
const PACED: (usize, u32) = (100, 200);
/// Tokens of a stream whose first one is timed.
const FIRST_TOKENS: u32 = 2;
/// Connections for each core, where one and two are compared.
const CORE_CONNECTIONS: usize = 64;
/// Connections of the search for a rate.
const FRONTIER_CONNECTIONS: usize = 256;
/// Bounds of the search for a rate, in milliseconds.
pub const BOUNDS_MS: [f64; 5] = [1.0, 5.0, 10.0, 50.0, 100.0];
/// Pace of the streams that are to be sustained.
pub const SUSTAINED_PACE: Duration = Duration::from_millis(20);
/// The number of these streams that is tried first.
const SUSTAINED_FIRST: usize = 128;
/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Longest wait in a search, where what fails is expected.
const SEARCH_TIMEOUT: Duration = Duration::from_secs(8);

/// Whole answers as fast as they come.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Work {
    /// Requests answered.
    pub requests: u64,
    /// Requests answered a second.
    pub per_second: f64,
    /// CPU time in user space for one request, in microseconds.
    pub user_us: f64,
    /// CPU time in the kernel for one request, in microseconds.
    pub system_us: f64,
}

/// Streams.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Streams {
    /// Frames received.
    pub frames: u64,
    /// Frames received a second.
    pub frames_per_second: f64,
    /// CPU time in user space for 100,000 frames, in milliseconds.
    pub user_ms: f64,
    /// CPU time in the kernel for 100,000 frames, in milliseconds.
    pub system_ms: f64,
    /// Median of the time between two frames, in microseconds.
    pub gap_p50_us: f64,
    /// 99 % of the times between two frames are shorter, in microseconds.
    pub gap_p99_us: f64,
}

/// One request at a time on one connection, in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Latency {
    /// Median.
    pub p50_us: f64,
    /// 99 % take less.
    pub p99_us: f64,
}

impl Latency {
    fn of(quantiles: Quantiles) -> Self {
        let us = |ns: u64| ns as f64 / 1e3;
        Self { p50_us: us(quantiles.p50_ns), p99_us: us(quantiles.p99_ns) }
    }
}

impl Work {
    /// What whole answers under this load cost.
    pub fn of(load: &Load, subject: Subject<'_>) -> Result<Self, String> {
        let measured = measure(load, subject)?;
        let per_request = 1e6 / measured.summary.ok as f64;
        Ok(Self {
            requests: measured.summary.ok,
            per_second: measured.summary.ok as f64 / measured.elapsed.as_secs_f64(),
            user_us: measured.cpu.user_s * per_request,
            system_us: measured.cpu.system_s * per_request,
        })
    }
}

impl Streams {
    /// What streams under this load cost, and the histograms behind it.
    pub fn of(load: &Load, subject: Subject<'_>) -> Result<(Self, Stats), String> {
        let Measured { summary, stats, cpu, elapsed } = measure(load, subject)?;
        let per_frames = 1e3 * 1e5 / summary.frames.max(1) as f64;
        let streams = Self {
            frames: summary.frames,
            frames_per_second: summary.frames as f64 / elapsed.as_secs_f64(),
            user_ms: cpu.user_s * per_frames,
            system_ms: cpu.system_s * per_frames,
            gap_p50_us: summary.frame_gap.p50_ns as f64 / 1e3,
            gap_p99_us: summary.frame_gap.p99_ns as f64 / 1e3,
        };
        Ok((streams, stats))
    }
}

/// A run of load, with the CPU time that the proxy spent meanwhile.
#[derive(Debug)]
pub struct Measured {
    /// What came of it.
    pub summary: Summary,
    /// The histograms behind it.
    pub stats: Stats,
    cpu: CpuTime,
    elapsed: Duration,
}

/// What is measured: a target, and the process whose time counts; none of the upstream itself.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Where requests go.
    pub target: &'a Target,
    /// The proxy's process.
    pub pid: Option<u32>,
}

/// How everything is measured.
#[derive(Clone, Copy, Debug)]
pub struct Bench {
    /// Length of one measurement.
    pub length: Duration,
    /// Length of one step of a search for a rate.
    pub step: Duration,
    /// Tries for each bound of such a search.
    pub tries: u32,
    /// Length of the streams that are to be sustained.
    pub hold: Duration,
    /// Core of the load.
    pub core: usize,
}

impl Bench {
    /// Opens connections, fills caches, loads vocabularies. Who has just started on a busy machine
    /// gets another try.
    pub fn warm_up(&self, subject: Subject<'_>, streams: bool) -> Result<(), String> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.warm_up_once(subject, streams) {
                Err(_) if tries < WARM_UPS_MAX => {}
                result => return result,
            }
        }
    }

    fn warm_up_once(&self, subject: Subject<'_>, streams: bool) -> Result<(), String> {
        let short = Bench { length: Duration::from_millis(500), ..*self };
        short.requests(subject, 64)?;
        if streams { short.full_speed(subject).map(drop) } else { Ok(()) }
    }

    /// Lets a proxy find out that the upstream has begun anew. What fails here is no matter.
    pub fn settle(&self, target: &Target) -> Result<(), String> {
        let length = Duration::from_millis(150);
        let load = self.load(target, false, 1, 16)?;
        drop(Load { duration: length, timeout: SEARCH_TIMEOUT, ..load }.run());
        Ok(())
    }

    /// Answers that do not stream, as fast as they come.
    pub fn requests(&self, subject: Subject<'_>, connections: usize) -> Result<Work, String> {
        Work::of(&self.load(subject.target, false, ANSWER_TOKENS, connections)?, subject)
    }

    /// The same, with load on these cores.
    pub fn requests_on(&self, subject: Subject<'_>, cores: &[usize]) -> Result<Work, String> {
        let connections = CORE_CONNECTIONS * cores.len();
        let load = self.load(subject.target, false, ANSWER_TOKENS, connections)?;
        Work::of(&Load { threads: cores.len(), cores: cores.to_vec(), ..load }, subject)
    }

    /// Streams as fast as they come.
    pub fn full_speed(&self, subject: Subject<'_>) -> Result<(Streams, Stats), String> {
        self.streams(subject, FULL_SPEED)
    }

    /// Streams at the pace of the upstream.
    pub fn paced(&self, subject: Subject<'_>) -> Result<(Streams, Stats), String> {
        self.streams(subject, PACED)
    }

    fn streams(
        &self,
        subject: Subject<'_>,
        (connections, tokens): (usize, u32),
    ) -> Result<(Streams, Stats), String> {
        Streams::of(&self.load(subject.target, true, tokens, connections)?, subject)
    }

    /// One request at a time, to the end of its answer.
    pub fn latency(&self, subject: Subject<'_>) -> Result<(Latency, Stats), String> {
        let whole = measure(&self.load(subject.target, false, ANSWER_TOKENS, 1)?, subject)?;
        Ok((Latency::of(whole.summary.total), whole.stats))
    }

    /// One stream at a time, to its first token. At a pace: an upstream that writes all of a stream at once
    /// keeps the core from the load that waits for its first token there.
    pub fn first_token(&self, subject: Subject<'_>) -> Result<(Latency, Stats), String> {
        let first = measure(&self.load(subject.target, true, FIRST_TOKENS, 1)?, subject)?;
        Ok((Latency::of(first.summary.ttft), first.stats))
    }

    /// The highest rate whose 99 % quantile stays under each bound.
    pub fn frontier(&self, target: &Target) -> Result<Vec<Point>, String> {
        let load = self.load(target, false, ANSWER_TOKENS, FRONTIER_CONNECTIONS)?;
        let closed = Load { duration: self.step, connections: 64, ..load.clone() };
        let started = Instant::now();
        let most = complete(closed.run())?.ok as f64 / started.elapsed().as_secs_f64();
        let probe = |per_second: f64| {
            let step = Load {
                pace: Pace::Open { per_second },
                duration: self.step,
                warmup: self.step / 5,
                timeout: SEARCH_TIMEOUT,
                ..load.clone()
            };
            let summary = step.run();
            let whole = summary.failed == 0 && summary.ok > 0;
            if whole { summary.total.p99_ns as f64 / 1e6 } else { f64::INFINITY }
        };
        Ok(search::frontier(&BOUNDS_MS, most * 1.1, self.tries, probe))
    }

    /// The most streams, up to a limit, whose every frame arrives and arrives in time: hardly any
    /// gap is twice the pace, and streams take hardly longer than they should. They begin one after
    /// the other over a third of their length, because a thousand clients do not connect at once.
    pub fn sustained(&self, target: &Target, limit: usize) -> Result<usize, String> {
        let tokens = (self.hold.as_secs_f64() / SUSTAINED_PACE.as_secs_f64()).max(8.0) as u32;
        let nominal_ns = SUSTAINED_PACE.as_nanos() as f64 * f64::from(tokens);
        let pace_ns = SUSTAINED_PACE.as_nanos() as u64;
        let duration = self.hold / 3;
        let load = self.load(target, true, tokens, 1)?;
        Ok(search::most(SUSTAINED_FIRST, limit, |connections| {
            let per_second = connections as f64 / duration.as_secs_f64();
            let load = Load {
                connections,
                duration,
                pace: Pace::Open { per_second },
                timeout: self.hold * 2,
                ..load.clone()
            };
            let summary = load.run();
            summary.failed == 0
                && summary.ok + 1 >= connections as u64
                && summary.frame_gap.p99_ns < 2 * pace_ns
                && (summary.service.p50_ns as f64) < nominal_ns * 1.05
        }))
    }

    /// A closed loop, to be changed.
    fn load(
        &self,
        target: &Target,
        stream: bool,
        tokens: u32,
        connections: usize,
    ) -> Result<Load, String> {
        let shape = Shape {
            tokens,
            body_bytes: 615,
            key: Some(KEY.into()),
            headers: target.headers.clone(),
            ..Shape::new(Endpoint::Chat, stream)
        };
        let frames = stream.then_some(tokens);
        let mix = Arc::new(Mix::new(&[shape], &target.address.to_string(), frames)?);
        Ok(Load {
            duration: self.length,
            cores: vec![self.core],
            validate: stream,
            connections,
            timeout: TIMEOUT,
            ..Load::new(target.address, mix)
        })
    }
}

/// Runs a load and takes the CPU time that the proxy spent meanwhile.
fn measure(load: &Load, subject: Subject<'_>) -> Result<Measured, String> {
    let spent = || match subject.pid {
        Some(pid) => cpu_time(pid).ok_or("it has ended"),
        None => Ok(CpuTime::default()),
    };
    let before = spent()?;
    let started = Instant::now();
    let stats = load.start().finish_stats();
    let elapsed = started.elapsed();
    let cpu = spent()?.since(before);
    let summary = complete(Summary::new(load, &stats))?;
    Ok(Measured { summary, stats, cpu, elapsed })
}

/// A proxy that fails requests is not measured.
fn complete(summary: Summary) -> Result<Summary, String> {
    if summary.failed == 0 && summary.ok > 0 {
        Ok(summary)
    } else {
        Err(format!("{} requests ok, {} failed: {:?}", summary.ok, summary.failed, summary.errors))
    }
}
