//! How late an event loop runs.
//!
//! A worker that spends long in one turn delays every other stream on it, and no request's own
//! timing says so. The sampler sleeps a fixed time and records by how much it overslept. tokio's
//! timer wheel counts whole milliseconds, so an idle loop already reads up to one.

use std::sync::Arc;

use super::cell::Histogram;
use crate::clock::{Duration, Instant};

const PERIOD: Duration = Duration::from_millis(100);

/// A sampler for one worker; made by [`super::Metrics::event_loop`].
pub struct Loop {
    lag: Arc<Histogram>,
}

impl Loop {
    pub(super) fn new(lag: Arc<Histogram>) -> Self {
        Self { lag }
    }

    /// Samples until dropped. To be spawned on the worker itself.
    pub async fn run(self) {
        loop {
            self.sample().await;
        }
    }

    async fn sample(&self) {
        let due = Instant::now() + PERIOD;
        tokio::time::sleep_until(due.into()).await;
        self.lag.observe(u64::try_from(due.elapsed().as_nanos()).unwrap_or(u64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::super::Metrics;
    use super::*;

    #[tokio::test]
    async fn a_blocked_loop_is_seen() {
        let metrics = Metrics::new();
        let sampler = metrics.event_loop(3);
        let sample = async { sampler.sample().await };
        let block = async {
            tokio::task::yield_now().await;
            std::thread::sleep(PERIOD + Duration::from_millis(60));
        };
        tokio::join!(sample, block);
        let lag = metrics.loop_lag.with(["3"], Arc::clone).read();
        assert_eq!(lag.count, 1);
        assert!(lag.sum >= 0.05, "{} s", lag.sum);
    }
}
