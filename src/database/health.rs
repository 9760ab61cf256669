//! How the database is doing.

use std::time::Duration;

use parking_lot::Mutex;

use super::Place;
use crate::clock::{self, AtomicInstant, Instant};

/// How it is doing, in one word; the number is the metric's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Well.
    #[default]
    Ok,
    /// It answers, but later than `storage.slow`.
    Slow,
    /// It cannot be used.
    Away,
}

impl State {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Slow => "slow",
            State::Away => "away",
        }
    }
}

/// What a look shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// In one word.
    pub state: State,
    /// Why it is not well; empty when it is.
    pub reason: String,
    /// Since when it is as it is.
    pub since_unix_ms: u64,
}

/// The state as the thread sees it, and since when it has been busy with the present piece of work.
pub(super) struct Health {
    slow: Duration,
    busy_since: AtomicInstant,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    now: Reading,
    announced: State,
}

impl Health {
    pub(super) fn new(slow: Duration) -> Self {
        let now = Reading { since_unix_ms: clock::unix_ms(), ..Reading::default() };
        let known = Mutex::new(Known { now, announced: State::Ok });
        Self { slow, busy_since: AtomicInstant::none(), known }
    }

    /// A piece of work begins.
    pub(super) fn begins(&self, at: Instant) {
        self.busy_since.set(Some(at));
    }

    /// It is over.
    pub(super) fn ends(&self) {
        self.busy_since.set(None);
    }

    /// A piece of work went well and took so long.
    pub(super) fn well(&self, took: Duration) {
        if took < self.slow {
            self.becomes(State::Ok, String::new());
        } else {
            self.becomes(State::Slow, format!("a call took {:.1} s", took.as_secs_f64()));
        }
    }

    /// It cannot be used.
    pub(super) fn away(&self, reason: String) {
        self.becomes(State::Away, reason);
    }

    fn becomes(&self, state: State, reason: String) {
        let mut known = self.known.lock();
        if known.now.state != state {
            known.now.since_unix_ms = clock::unix_ms();
            known.now.state = state;
        }
        known.now.reason = reason;
    }

    /// What holds now; said in the log where it is another state than was said last.
    pub(super) fn look(&self, place: &Place) -> Reading {
        let busy = self.busy_since.get().map(Instant::elapsed);
        let mut known = self.known.lock();
        if let Some(busy) = busy.filter(|busy| *busy >= self.slow)
            && known.now.state == State::Ok
        {
            let began = clock::unix_ms().saturating_sub(busy.as_millis() as u64);
            known.now = Reading { state: State::Slow, reason: String::new(), since_unix_ms: began };
        }
        if let Some(busy) = busy.filter(|_| known.now.state == State::Slow) {
            known.now.reason = format!("a call has been running for {:.1} s", busy.as_secs_f64());
        }
        let now = known.now.clone();
        if now.state != known.announced {
            known.announced = now.state;
            match now.state {
                State::Ok => log::info!("storage: {place} is well again"),
                State::Slow => log::warn!("storage: {place} is slow: {}", now.reason),
                State::Away => log::error!("storage: {place} cannot be used: {}", now.reason),
            }
        }
        now
    }
}
