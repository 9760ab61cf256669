//! Load at a constant rate, and what came of it.
//!
//! The load is open-loop: arrivals follow the clock, not the answers, and latencies are measured
//! from the moment a request was due. A server that stalls therefore shows the stall in every
//! request that was due meanwhile, instead of silently being asked less (coordinated omission).
//! The closed loop (`Pace::Closed`) is for CPU measurements only, where latency means nothing.

mod exchange;
mod mix;
mod progress;
mod stats;
mod worker;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

pub use exchange::{Answer, Reading};
pub use mix::Mix;
pub use stats::{Quantiles, Stats};

/// When requests are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// This many a second, by the clock.
    Open {
        /// Requests a second.
        per_second: f64,
    },
    /// On every connection, the next as soon as the last was answered.
    Closed,
}

/// One run of load.
#[derive(Clone, Debug)]
pub struct Load {
    /// Where it goes.
    pub target: SocketAddr,
    /// What is sent.
    pub mix: Arc<Mix>,
    /// When it is sent.
    pub pace: Pace,
    /// For how long requests are sent. Answers may take `timeout` longer.
    pub duration: Duration,
    /// The first part of `duration`, which is not counted.
    pub warmup: Duration,
    /// Most connections.
    pub connections: usize,
    /// Threads, each with its own runtime.
    pub threads: usize,
    /// Cores that the threads stay on, one after the other; none: wherever the system puts them.
    pub cores: Vec<usize>,
    /// Longest time from a request being due to the end of its answer.
    pub timeout: Duration,
    /// Check that every answer is complete and well-formed.
    pub validate: bool,
    /// Print a line every second.
    pub progress: bool,
}

impl Load {
    /// A closed loop on one connection for a second; meant to be changed.
    pub fn new(target: SocketAddr, mix: Arc<Mix>) -> Self {
        Self {
            target,
            mix,
            pace: Pace::Closed,
            duration: Duration::from_secs(1),
            warmup: Duration::ZERO,
            connections: 1,
            threads: 1,
            cores: Vec::new(),
            timeout: Duration::from_secs(60),
            validate: false,
            progress: false,
        }
    }

    /// Runs to the end.
    pub fn run(&self) -> Summary {
        self.start().finish()
    }

    /// Starts the threads and returns at once.
    pub fn start(&self) -> Running {
        let threads = self.threads.clamp(1, self.connections.max(1));
        let started = Instant::now() + Duration::from_millis(5);
        let mut shared = Vec::new();
        let mut workers = Vec::new();
        for index in 0..threads {
            let stats = Arc::new(Mutex::new(Stats::default()));
            shared.push(Arc::clone(&stats));
            let part = worker::Part { index, threads, started };
            let load = self.clone();
            let spawned = std::thread::Builder::new()
                .name(format!("load-{index}"))
                .spawn(move || worker::run(&load, part, &stats));
            match spawned {
                Ok(worker) => workers.push(worker),
                Err(error) => eprintln!("weir-loadtest: no thread for load: {error}"),
            }
        }
        Running { load: self.clone(), started, shared, workers }
    }
}

/// A run under way.
#[derive(Debug)]
pub struct Running {
    load: Load,
    started: Instant,
    shared: Vec<Arc<Mutex<Stats>>>,
    workers: Vec<std::thread::JoinHandle<()>>,
}

impl Running {
    /// What was counted so far.
    pub fn stats(&self) -> Stats {
        let mut total = Stats::default();
        for stats in &self.shared {
            total.merge(&stats.lock().unwrap_or_else(PoisonError::into_inner));
        }
        total
    }

    /// Waits for the end, with a line every second if that was asked for.
    pub fn finish(self) -> Summary {
        let load = self.load.clone();
        Summary::new(&load, &self.finish_stats())
    }

    /// Waits for the end; the bare counters, to be added to those of other runs.
    pub fn finish_stats(self) -> Stats {
        let mut printer = self.load.progress.then(progress::Printer::new);
        // The first line covers whatever has passed when this is called late.
        let mut next = Instant::now().max(self.started) + Duration::from_secs(1);
        while !self.workers.iter().all(std::thread::JoinHandle::is_finished) {
            std::thread::sleep(Duration::from_millis(20));
            if Instant::now() >= next {
                next += Duration::from_secs(1);
                if let Some(printer) = &mut printer {
                    printer.line(self.started.elapsed(), &self.shared);
                }
            }
        }
        for worker in self.workers {
            if worker.join().is_err() {
                eprintln!("weir-loadtest: a load thread panicked");
            }
        }
        if let Some(printer) = printer {
            printer.close();
        }
        let mut total = Stats::default();
        for stats in &self.shared {
            total.merge(&stats.lock().unwrap_or_else(PoisonError::into_inner));
        }
        total
    }
}

/// What a run came to.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// `open` or `closed`.
    pub pace: &'static str,
    /// Requests a second that were asked for.
    pub rate_asked: Option<f64>,
    /// Seconds that were counted.
    pub seconds: f64,
    /// Most connections.
    pub connections: usize,
    /// Requests that were due.
    pub due: u64,
    /// Requests answered in full with 2xx.
    pub ok: u64,
    /// Requests that failed.
    pub failed: u64,
    /// Failures by kind.
    pub errors: std::collections::BTreeMap<String, u64>,
    /// Answers in full a second.
    pub ok_per_second: f64,
    /// Tokens received.
    pub tokens: u64,
    /// Tokens a second.
    pub tokens_per_second: f64,
    /// Frames received.
    pub frames: u64,
    /// Frames a second.
    pub frames_per_second: f64,
    /// Streams that ended with their terminal event.
    pub streams_complete: u64,
    /// Bytes of bodies received.
    pub body_bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// Connections opened.
    pub connects: u64,
    /// Requests sent again because a reused connection had been closed before any answer.
    pub stale_resent: u64,
    /// From the moment a request was due to its first token: the first frame with content (or the first byte
    /// of its body).
    pub ttft: Quantiles,
    /// Between two frames of a stream.
    pub frame_gap: Quantiles,
    /// From the moment a request was due to the end of its answer.
    pub total: Quantiles,
    /// From the moment a request was sent to the end of its answer; the difference to `total` is
    /// the time it waited for a connection.
    pub service: Quantiles,
}

impl Summary {
    /// From counters, which may be of several runs of the same load.
    pub fn new(load: &Load, stats: &Stats) -> Self {
        let seconds = load.duration.saturating_sub(load.warmup).as_secs_f64();
        let per_second = |count: u64| if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
        let rate_asked = match load.pace {
            Pace::Open { per_second } => Some(per_second),
            Pace::Closed => None,
        };
        Self {
            pace: if rate_asked.is_some() { "open" } else { "closed" },
            rate_asked,
            seconds,
            connections: load.connections,
            due: stats.due,
            ok: stats.ok,
            failed: stats.failed(),
            errors: stats.errors.iter().map(|(kind, count)| (kind.to_string(), *count)).collect(),
            ok_per_second: per_second(stats.ok),
            tokens: stats.tokens,
            tokens_per_second: per_second(stats.tokens),
            frames: stats.frames,
            frames_per_second: per_second(stats.frames),
            streams_complete: stats.streams_complete,
            body_bytes_in: stats.body_bytes_in,
            bytes_out: stats.bytes_out,
            connects: stats.connects,
            stale_resent: stats.stale_resent,
            ttft: stats.ttft.quantiles(),
            frame_gap: stats.frame_gap.quantiles(),
            total: stats.total.quantiles(),
            service: stats.service.quantiles(),
        }
    }
}
