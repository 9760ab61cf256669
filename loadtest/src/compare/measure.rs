//! The measurements.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::Round;
use super::contestant::{Contestant, KEY};
use crate::client::{Endpoint, Shape};
use crate::drive::{Load, Mix, Pace, Summary};
use crate::process::{CpuTime, cpu_time};

/// Connections of streams at full speed.
const FULL_SPEED_STREAMS: usize = 16;
/// Streams at a pace.
const PACED_STREAMS: usize = 100;

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
}

/// From the moment a request is due to the end of its answer, in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Latency {
    /// Median.
    pub p50_us: f64,
    /// 99 %.
    pub p99_us: f64,
}

/// How everything is measured.
#[derive(Clone, Copy, Debug)]
pub struct Bench {
    /// Length of one measurement.
    pub length: Duration,
    /// Core of the load.
    pub core: usize,
    /// Connections of the closed loop.
    pub connections: usize,
    /// Requests a second at which latency is measured.
    pub latency_rate: f64,
}

impl Bench {
    /// Opens connections, fills caches, loads vocabularies.
    pub fn warm_up(&self, contestant: &Contestant) -> Result<(), String> {
        let short = Bench { length: Duration::from_secs(1), ..*self };
        short.round(contestant).map(drop)
    }

    /// Everything once.
    pub fn round(&self, contestant: &Contestant) -> Result<Round, String> {
        Ok(Round {
            requests: self.requests(contestant)?,
            full_speed: self.streams(contestant, FULL_SPEED_STREAMS, &["x-mock-tokens: 500"])?,
            paced: self.streams(
                contestant,
                PACED_STREAMS,
                &["x-mock-tokens: 300", "x-mock-itl-ms: 5"],
            )?,
            latency: self.latency(contestant.address)?,
        })
    }

    fn requests(&self, contestant: &Contestant) -> Result<Work, String> {
        let load =
            Load { connections: self.connections, ..self.load(contestant.address, false, &[])? };
        let (summary, cpu) = measured(&load, contestant)?;
        let per_request = 1e6 / summary.ok as f64;
        Ok(Work {
            requests: summary.ok,
            per_second: summary.ok_per_second,
            user_us: cpu.user_s * per_request,
            system_us: cpu.system_s * per_request,
        })
    }

    fn streams(
        &self,
        contestant: &Contestant,
        connections: usize,
        headers: &[&str],
    ) -> Result<Streams, String> {
        let load = Load { connections, ..self.load(contestant.address, true, headers)? };
        let (summary, cpu) = measured(&load, contestant)?;
        let per_frames = 1e3 * 1e5 / summary.frames as f64;
        Ok(Streams {
            frames: summary.frames,
            frames_per_second: summary.frames_per_second,
            user_ms: cpu.user_s * per_frames,
            system_ms: cpu.system_s * per_frames,
        })
    }

    /// Latency at a low rate.
    pub fn latency(&self, address: SocketAddr) -> Result<Latency, String> {
        let load = Load {
            connections: 16,
            pace: Pace::Open { per_second: self.latency_rate },
            ..self.load(address, false, &[])?
        };
        let summary = complete(load.run())?;
        Ok(Latency {
            p50_us: summary.total.p50_ns as f64 / 1e3,
            p99_us: summary.total.p99_ns as f64 / 1e3,
        })
    }

    fn load(&self, address: SocketAddr, stream: bool, headers: &[&str]) -> Result<Load, String> {
        let mut shape = Shape {
            tokens: 10_000,
            body_bytes: 615,
            key: Some(KEY.into()),
            ..Shape::new(Endpoint::Chat, stream)
        };
        shape.headers.extend(headers.iter().map(|&header| header.to_owned()));
        let mix = Arc::new(Mix::new(&[shape], &address.to_string(), None)?);
        Ok(Load {
            duration: self.length,
            core: Some(self.core),
            validate: stream,
            ..Load::new(address, mix)
        })
    }
}

/// Runs a load and takes the CPU time that the proxy spent meanwhile.
fn measured(load: &Load, contestant: &Contestant) -> Result<(Summary, CpuTime), String> {
    let name = contestant.name.as_str();
    let gone = || format!("{name} has ended");
    let before = cpu_time(contestant.pid()).ok_or_else(gone)?;
    let summary = complete(load.run()).map_err(|error| format!("{name}: {error}"))?;
    let after = cpu_time(contestant.pid()).ok_or_else(gone)?;
    Ok((summary, after.since(before)))
}

/// A proxy that fails requests is not measured.
fn complete(summary: Summary) -> Result<Summary, String> {
    if summary.failed == 0 && summary.ok > 0 {
        Ok(summary)
    } else {
        Err(format!("{} ok, {} failed: {:?}", summary.ok, summary.failed, summary.errors))
    }
}
