//! How many extra requests (retries, hedges) a pool may make.
//!
//! *Signal*: requests and extras of the last while, counted in ten slices. *Trip*: when extras
//! reach a percentage of the requests plus a minimum a second, the next is refused: retries must
//! not multiply the load of an upstream that is failing because of load. *Recovery*: slices leave
//! the window. *Cold start*: the minimum alone, for the whole window, so that the first failures
//! of a quiet pool are retried.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::{Duration, Instant};

const SLICES: usize = 10;
const COUNT_BITS: u32 = 24;
const COUNT_MAX: u64 = (1 << COUNT_BITS) - 1;
const EXTRA: u64 = 1;
const REQUEST: u64 = 1 << COUNT_BITS;

/// A sliding count. Each slice packs its number (16 bits), requests (24) and extras (24), so that
/// one atomic operation counts.
#[derive(Debug)]
pub(super) struct Budget {
    slices: [AtomicU64; SLICES],
    origin: Instant,
    slice: Duration,
}

impl Budget {
    /// A budget over ten slices of this length.
    pub fn new(slice: Duration, now: Instant) -> Self {
        Self { slices: Default::default(), origin: now, slice }
    }

    /// Counts a request.
    pub fn note_request(&self, now: Instant) {
        self.add(self.number(now), REQUEST);
    }

    /// Takes leave for one extra. Never allows more than the bound, whatever the number of
    /// threads; at the bound two that ask at once may both be refused.
    pub fn take(&self, percent: u32, min_per_second: u32, now: Instant) -> bool {
        let number = self.number(now);
        self.add(number, EXTRA);
        let (requests, extras) = self.sums(number);
        let window_s = self.slice.as_secs_f64() * SLICES as f64;
        let bound = (requests * u64::from(percent) / 100)
            .saturating_add((f64::from(min_per_second) * window_s) as u64);
        if extras <= bound {
            return true;
        }
        self.undo(number);
        false
    }

    fn number(&self, now: Instant) -> u64 {
        let passed = now.saturating_duration_since(self.origin).as_nanos() / self.slice.as_nanos();
        // Zero marks a slice that was never used; numbers wrap together with it.
        (passed % 0xffff) as u64 + 1
    }

    fn add(&self, number: u64, what: u64) {
        let cell = &self.slices[(number % SLICES as u64) as usize];
        let _ = cell.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |old| {
            if old >> (2 * COUNT_BITS) != number {
                return Some(number << (2 * COUNT_BITS) | what);
            }
            let count = if what == EXTRA { old } else { old >> COUNT_BITS } & COUNT_MAX;
            (count < COUNT_MAX).then_some(old + what)
        });
    }

    fn undo(&self, number: u64) {
        let cell = &self.slices[(number % SLICES as u64) as usize];
        let _ = cell.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |old| {
            (old >> (2 * COUNT_BITS) == number && old & COUNT_MAX > 0).then(|| old - EXTRA)
        });
    }

    fn sums(&self, newest: u64) -> (u64, u64) {
        self.slices.iter().fold((0, 0), |(requests, extras), cell| {
            let cell = cell.load(Ordering::Relaxed);
            let age = (newest + 0xffff - (cell >> (2 * COUNT_BITS))) % 0xffff;
            if cell == 0 || age >= SLICES as u64 {
                return (requests, extras);
            }
            (requests + (cell >> COUNT_BITS & COUNT_MAX), extras + (cell & COUNT_MAX))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_percentage_of_the_requests_and_a_minimum() {
        let now = Instant::now();
        let budget = Budget::new(SECOND, now);
        assert_eq!((0..50).filter(|_| budget.take(20, 2, now)).count(), 20);
        for _ in 0..100 {
            budget.note_request(now);
        }
        assert_eq!((0..50).filter(|_| budget.take(20, 2, now)).count(), 20);
        let later = now + 11 * SECOND;
        assert_eq!((0..50).filter(|_| budget.take(20, 2, later)).count(), 20);
        assert_eq!((0..50).filter(|_| budget.take(20, 0, later + 20 * SECOND)).count(), 0);
    }

    #[test]
    fn many_threads_never_pass_the_bound() {
        let now = Instant::now();
        let budget = Budget::new(SECOND, now);
        (0..1000).for_each(|_| budget.note_request(now));
        let taken: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..500).filter(|_| budget.take(20, 0, now)).count()))
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
        });
        assert!(taken <= 200, "{taken}");
        assert!(taken >= 150, "{taken}");
    }

    proptest! {
        #[test]
        fn agrees_with_a_list_of_what_happened(
            steps in proptest::collection::vec((0u64..3000, any::<bool>()), 0..300),
            percent in 0u32..50,
        ) {
            let origin = Instant::now();
            let budget = Budget::new(SECOND, origin);
            let mut at_ms = 0;
            let (mut requests, mut extras) = (Vec::new(), Vec::new());
            for (wait_ms, extra) in steps {
                at_ms += wait_ms;
                let now = origin + Duration::from_millis(at_ms);
                let slice = at_ms / 1000;
                if extra {
                    let recent = |list: &Vec<u64>| {
                        list.iter().filter(|at| slice - **at < SLICES as u64).count() as u64
                    };
                    let allowed =
                        recent(&extras) < recent(&requests) * u64::from(percent) / 100 + 10;
                    prop_assert_eq!(budget.take(percent, 1, now), allowed);
                    if allowed { extras.push(slice); }
                } else {
                    budget.note_request(now);
                    requests.push(slice);
                }
            }
        }
    }
}
