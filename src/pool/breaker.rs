//! The circuit breaker of one target.
//!
//! *Signal*: the outcomes of attempts that the target is to blame for ([`Kind::blames_target`]).
//! What a client causes, and what is not known to be the target's doing (a cancelled request, a
//! 429, a refused key), is neither success nor failure: a client must not be able to take a target
//! away from everybody else.
//!
//! *Trip*: a number of failures in a row (an upstream that is gone is noticed within a few
//! requests, whatever the traffic), or a share of failures in a sliding window (one that fails
//! now and then, once there is enough traffic to tell).
//!
//! *Recovery*: after a cooldown a bounded number of real requests probe it, one at a time by
//! default; enough successes in a row close it, one failure opens it again for twice as long, to a
//! bound. The cooldown is drawn up to a tenth longer, so that replicas do not probe in step.
//! Outcomes of requests that began before the last change say nothing about the present and are
//! dropped.
//!
//! *Cold start*: closed, with an empty window.
//!
//! [`Kind::blames_target`]: crate::error::Kind::blames_target

use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use parking_lot::Mutex;

use super::settings::BreakerSettings;
use crate::clock::{AtomicInstant, Duration, Instant};

/// Parts the window is cut into; the oldest one leaves it at a time.
const WINDOW_PARTS: usize = 10;
/// The longest a cooldown is stretched, as a share of it.
const JITTER: f64 = 0.1;

/// What a breaker lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// Everything.
    Closed,
    /// A few probes.
    HalfOpen,
    /// Nothing.
    Open,
}

impl BreakerState {
    /// The name in metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            BreakerState::Closed => "closed",
            BreakerState::HalfOpen => "half_open",
            BreakerState::Open => "open",
        }
    }
}

/// How an attempt ended, as far as the breaker is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Success,
    Failure,
    Neutral,
}

/// Leave to send one request; goes back with its verdict, exactly once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Admission {
    generation: u32,
    pub probe: bool,
}

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Opened { cooldown: Duration },
    Closed,
}

/// Whether a request may be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    /// Yes.
    Closed,
    /// As a probe.
    Probe,
    /// Not before then; none when that depends on the probes under way.
    Shut(Option<Instant>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Closed,
    Open { until: Instant },
    HalfOpen { probing: u32, successes: u32 },
}

/// The state machine, without clock, lock or chance.
#[derive(Debug)]
struct Machine {
    phase: Phase,
    /// Counts phase changes; an admission of an older generation no longer counts.
    generation: u32,
    consecutive: u32,
    /// Times it opened since it was last closed.
    trips: u32,
    window: Window,
}

impl Machine {
    fn new() -> Self {
        Self {
            phase: Phase::Closed,
            generation: 0,
            consecutive: 0,
            trips: 0,
            window: Window::default(),
        }
    }

    fn admit(&mut self, settings: &BreakerSettings, now: Instant) -> Option<Admission> {
        match &mut self.phase {
            Phase::Closed => Some(Admission { generation: self.generation, probe: false }),
            Phase::Open { until } if now >= *until => {
                self.turn(Phase::HalfOpen { probing: 1, successes: 0 });
                Some(Admission { generation: self.generation, probe: true })
            }
            Phase::HalfOpen { probing, .. } if *probing < settings.half_open.max(1) => {
                *probing += 1;
                Some(Admission { generation: self.generation, probe: true })
            }
            Phase::Open { .. } | Phase::HalfOpen { .. } => None,
        }
    }

    fn record(
        &mut self,
        settings: &BreakerSettings,
        admission: Admission,
        verdict: Verdict,
        now: Instant,
        jitter: f64,
    ) -> Option<Change> {
        if admission.generation != self.generation {
            return None;
        }
        match &mut self.phase {
            Phase::Closed => match verdict {
                Verdict::Neutral => None,
                Verdict::Success => {
                    self.consecutive = 0;
                    self.window.add(settings, now, false);
                    None
                }
                Verdict::Failure => {
                    self.consecutive = self.consecutive.saturating_add(1);
                    self.window.add(settings, now, true);
                    self.tripped(settings).then(|| self.open(settings, now, jitter))
                }
            },
            Phase::HalfOpen { probing, successes } => {
                *probing = probing.saturating_sub(1);
                match verdict {
                    Verdict::Neutral => None,
                    Verdict::Failure => Some(self.open(settings, now, jitter)),
                    Verdict::Success => {
                        *successes += 1;
                        (*successes >= settings.close_after).then(|| {
                            self.turn(Phase::Closed);
                            self.trips = 0;
                            self.consecutive = 0;
                            self.window = Window::default();
                            Change::Closed
                        })
                    }
                }
            }
            Phase::Open { .. } => None,
        }
    }

    fn tripped(&self, settings: &BreakerSettings) -> bool {
        let in_a_row =
            settings.consecutive_failures > 0 && self.consecutive >= settings.consecutive_failures;
        let (failed, total) = self.window.sums();
        let share = settings.error_percent > 0
            && total >= u64::from(settings.min_requests.max(1))
            && failed * 100 >= total * u64::from(settings.error_percent);
        in_a_row || share
    }

    fn open(&mut self, settings: &BreakerSettings, now: Instant, jitter: f64) -> Change {
        let doubled = settings.cooldown.0.saturating_mul(1 << self.trips.min(20));
        let cooldown =
            doubled.min(settings.cooldown_max.0).mul_f64(1.0 + JITTER * jitter.clamp(0.0, 1.0));
        self.trips = self.trips.saturating_add(1);
        self.turn(Phase::Open { until: now + cooldown });
        Change::Opened { cooldown }
    }

    fn turn(&mut self, phase: Phase) {
        self.phase = phase;
        self.generation = self.generation.wrapping_add(1);
    }
}

/// Outcomes of the last while, in parts.
#[derive(Debug, Default)]
struct Window {
    parts: [Part; WINDOW_PARTS],
    newest: usize,
    /// When the newest part began.
    began: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Part {
    failed: u32,
    total: u32,
}

impl Window {
    fn add(&mut self, settings: &BreakerSettings, now: Instant, failed: bool) {
        self.advance(settings, now);
        let part = &mut self.parts[self.newest];
        part.failed = part.failed.saturating_add(u32::from(failed));
        part.total = part.total.saturating_add(1);
    }

    fn advance(&mut self, settings: &BreakerSettings, now: Instant) {
        let length = (settings.window.0 / WINDOW_PARTS as u32).max(Duration::from_millis(1));
        let began = *self.began.get_or_insert(now);
        let passed = now.saturating_duration_since(began).as_nanos() / length.as_nanos();
        for _ in 0..passed.min(WINDOW_PARTS as u128) {
            self.newest = (self.newest + 1) % WINDOW_PARTS;
            self.parts[self.newest] = Part::default();
        }
        if passed >= WINDOW_PARTS as u128 {
            self.began = Some(now);
        } else {
            self.began = Some(began + length * passed as u32);
        }
    }

    fn sums(&self) -> (u64, u64) {
        self.parts.iter().fold((0, 0), |(failed, total), part| {
            (failed + u64::from(part.failed), total + u64::from(part.total))
        })
    }
}

/// The machine behind a short lock, with a copy of its phase for those who only look.
#[derive(Debug)]
pub(super) struct Breaker {
    machine: Mutex<Machine>,
    state: AtomicU8,
    generation: AtomicU32,
    until: AtomicInstant,
    /// Probes under way, while half open.
    probing: AtomicU32,
}

const CLOSED: u8 = 0;
const OPEN: u8 = 1;
const HALF_OPEN: u8 = 2;

impl Breaker {
    pub fn new() -> Self {
        Self {
            machine: Mutex::new(Machine::new()),
            state: AtomicU8::new(CLOSED),
            generation: AtomicU32::new(0),
            until: AtomicInstant::none(),
            probing: AtomicU32::new(0),
        }
    }

    /// Whether a request may be sent. A glance: [`Breaker::admit`] decides.
    pub fn gate(&self, settings: &BreakerSettings, now: Instant) -> Gate {
        match self.state.load(Ordering::SeqCst) {
            CLOSED => Gate::Closed,
            OPEN => match self.until.after(now) {
                Some(until) => Gate::Shut(Some(until)),
                None => Gate::Probe,
            },
            _ if self.probing.load(Ordering::SeqCst) < settings.half_open.max(1) => Gate::Probe,
            _ => Gate::Shut(None),
        }
    }

    /// Takes leave for one request.
    pub fn admit(&self, settings: &BreakerSettings, now: Instant) -> Option<Admission> {
        // Read first: a change in between makes the admission an old one, whose outcome is dropped.
        let generation = self.generation.load(Ordering::SeqCst);
        if self.state.load(Ordering::SeqCst) == CLOSED {
            return Some(Admission { generation, probe: false });
        }
        let mut machine = self.machine.lock();
        let admission = machine.admit(settings, now);
        self.publish(&machine);
        admission
    }

    /// Gives leave back, with what came of it.
    pub fn record(
        &self,
        settings: &BreakerSettings,
        admission: Admission,
        verdict: Verdict,
        now: Instant,
    ) -> Option<Change> {
        if verdict == Verdict::Neutral && !admission.probe {
            return None;
        }
        let jitter = if verdict == Verdict::Failure { rand::random() } else { 0.0 };
        let mut machine = self.machine.lock();
        let change = machine.record(settings, admission, verdict, now, jitter);
        if change.is_some() || admission.probe {
            self.publish(&machine);
        }
        change
    }

    /// What it lets through now.
    pub fn state(&self, now: Instant) -> BreakerState {
        match self.state.load(Ordering::SeqCst) {
            CLOSED => BreakerState::Closed,
            OPEN if self.until.after(now).is_some() => BreakerState::Open,
            _ => BreakerState::HalfOpen,
        }
    }

    /// When it may be probed, while open.
    pub fn open_until(&self, now: Instant) -> Option<Instant> {
        (self.state.load(Ordering::SeqCst) == OPEN).then(|| self.until.after(now)).flatten()
    }

    fn publish(&self, machine: &Machine) {
        self.generation.store(machine.generation, Ordering::SeqCst);
        let state = match machine.phase {
            Phase::Closed => CLOSED,
            Phase::Open { until } => {
                self.until.set(Some(until));
                OPEN
            }
            Phase::HalfOpen { probing, .. } => {
                self.probing.store(probing, Ordering::SeqCst);
                HALF_OPEN
            }
        };
        self.state.store(state, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests;
