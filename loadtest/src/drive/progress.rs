//! A line every second on standard error.

use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::stats::{Latencies, Stats};
use crate::units::show_ns;

/// Prints what happened since its last line.
#[derive(Debug)]
pub struct Printer {
    terminal: bool,
    ok: u64,
    frames: u64,
}

impl Printer {
    /// Overwrites its line on a terminal, writes a new one elsewhere.
    pub fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), ok: 0, frames: 0 }
    }

    /// Prints one line.
    pub fn line(&mut self, elapsed: Duration, shared: &[Arc<Mutex<Stats>>]) {
        let mut recent = Latencies::default();
        let (mut ok, mut failed, mut frames, mut in_flight) = (0, 0, 0, 0);
        for stats in shared {
            let mut stats = stats.lock().unwrap_or_else(PoisonError::into_inner);
            ok += stats.ok;
            failed += stats.failed();
            frames += stats.frames;
            in_flight += stats.in_flight;
            recent.merge(&stats.recent);
            stats.recent.clear();
        }
        let text = format!(
            "{:>5}s  {:>7} ok/s  {:>8} frames/s  {in_flight:>5} open  p50 {:>8}  p99 {:>8}  failed {failed}",
            elapsed.as_secs(),
            ok - self.ok,
            frames - self.frames,
            show_ns(recent.at(0.5)),
            show_ns(recent.at(0.99)),
        );
        (self.ok, self.frames) = (ok, frames);
        let mut stderr = std::io::stderr().lock();
        // Progress that cannot be shown is no reason to stop the load.
        let _ = if self.terminal {
            write!(stderr, "\r\x1b[2K{text}").and_then(|()| stderr.flush())
        } else {
            writeln!(stderr, "{text}")
        };
    }

    /// Ends the line on a terminal.
    pub fn close(self) {
        if self.terminal {
            eprintln!();
        }
    }
}
