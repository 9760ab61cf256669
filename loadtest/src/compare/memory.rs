//! Resident memory of every proxy, over the whole run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::Serialize;
use weir_loadtest::cores::pin_thread;

use crate::process::resident_bytes;

/// Time between two looks.
const INTERVAL: Duration = Duration::from_millis(500);
/// Most looks that are kept of each; of more the highest of several stands for them.
const KEPT: usize = 600;

/// Resident memory, in bytes.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Memory {
    /// Before the first request of a measurement.
    pub idle_bytes: u64,
    /// The most at any look.
    pub loaded_bytes: u64,
    /// After the last, with all connections closed.
    pub after_bytes: u64,
    /// `[seconds since the start, bytes]`.
    pub samples: Vec<[f64; 2]>,
}

/// A process, and `[seconds since the start, bytes]` at every look.
pub type Seen = (u32, Vec<[f64; 2]>);

/// A thread that looks.
#[derive(Debug)]
pub struct Watch {
    over: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Seen>>,
}

impl Watch {
    /// Begins to look at these processes, from this core.
    pub fn start(pids: Vec<u32>, core: usize) -> Result<Self, String> {
        let over = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&over);
        let thread = std::thread::Builder::new()
            .name("memory".into())
            .spawn(move || {
                pin_thread(core);
                look(&pids, &seen)
            })
            .map_err(|error| error.to_string())?;
        Ok(Self { over, thread })
    }

    /// Stops, and tells what was seen, for each process.
    pub fn finish(self) -> Vec<Seen> {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}

fn look(pids: &[u32], over: &AtomicBool) -> Vec<Seen> {
    let started = Instant::now();
    let mut seen = vec![Vec::new(); pids.len()];
    loop {
        for (pid, samples) in pids.iter().zip(&mut seen) {
            if let Some(bytes) = resident_bytes(*pid) {
                samples.push([started.elapsed().as_secs_f64(), bytes as f64]);
            }
        }
        if over.load(Ordering::Relaxed) {
            break;
        }
        std::thread::sleep(INTERVAL);
    }
    pids.iter().copied().zip(seen.iter().map(|samples| thin(samples, KEPT))).collect()
}

/// At most `kept` of these, each the highest of its stretch.
fn thin(samples: &[[f64; 2]], kept: usize) -> Vec<[f64; 2]> {
    let stretch = samples.len().div_ceil(kept).max(1);
    let highest = |samples: &[[f64; 2]]| {
        samples.iter().copied().max_by(|one, other| one[1].total_cmp(&other[1]))
    };
    samples.chunks(stretch).filter_map(highest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peaks_stay_when_samples_are_thinned() {
        let samples: Vec<[f64; 2]> =
            (0..1000).map(|n| [f64::from(n), if n == 500 { 9.0 } else { 1.0 }]).collect();
        let thinned = thin(&samples, 100);
        assert_eq!(thinned.len(), 100);
        assert!(thinned.contains(&[500.0, 9.0]));
        assert!(thin(&[], 10).is_empty());
    }

    #[test]
    fn own_memory_is_seen() {
        let watch = Watch::start(vec![std::process::id()], 0).expect("a thread");
        let seen = watch.finish();
        assert!(seen[0].1.first().is_some_and(|sample| sample[1] > 100_000.0));
    }
}
