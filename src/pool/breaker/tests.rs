use proptest::prelude::*;

use super::*;
use crate::config::Time;

fn settings() -> BreakerSettings {
    BreakerSettings {
        consecutive_failures: 3,
        error_percent: 50,
        min_requests: 10,
        window: Time::s(10),
        cooldown: Time::s(5),
        cooldown_max: Time::s(60),
        half_open: 1,
        close_after: 2,
    }
}

struct Bench {
    settings: BreakerSettings,
    breaker: Breaker,
    now: Instant,
}

impl Bench {
    fn new(settings: BreakerSettings) -> Self {
        Self { settings, breaker: Breaker::new(), now: Instant::now() }
    }

    fn send(&self, verdict: Verdict) -> Option<Change> {
        let admission = self.breaker.admit(&self.settings, self.now).expect("admitted");
        self.breaker.record(&self.settings, admission, verdict, self.now)
    }

    fn trip(&self) {
        for _ in 0..self.settings.consecutive_failures {
            self.send(Verdict::Failure);
        }
        assert_eq!(self.breaker.state(self.now), BreakerState::Open);
    }

    /// Goes on to when the cooldown, stretched or not, is over.
    fn cool(&mut self) -> Duration {
        let until = self.breaker.open_until(self.now).expect("open");
        let cooldown = until - self.now;
        self.now = until;
        cooldown
    }
}

#[test]
fn failures_in_a_row_open_it_and_a_success_between_does_not() {
    let bench = Bench::new(settings());
    for verdict in [Verdict::Failure, Verdict::Failure, Verdict::Success, Verdict::Failure] {
        assert_eq!(bench.send(verdict), None);
    }
    assert_eq!(bench.send(Verdict::Failure), None);
    assert!(matches!(bench.send(Verdict::Failure), Some(Change::Opened { .. })));
    assert!(bench.breaker.admit(&bench.settings, bench.now).is_none());
    assert!(matches!(bench.breaker.gate(&bench.settings, bench.now), Gate::Shut(Some(_))));
}

#[test]
fn a_share_of_failures_opens_it_once_there_is_enough_traffic() {
    let bench = Bench::new(BreakerSettings { consecutive_failures: 0, ..settings() });
    for at in 0..9 {
        assert_eq!(bench.send([Verdict::Failure, Verdict::Success][at % 2]), None, "{at}");
    }
    assert!(matches!(bench.send(Verdict::Failure), Some(Change::Opened { .. })));
}

#[test]
fn old_failures_leave_the_window() {
    let mut bench = Bench::new(BreakerSettings { consecutive_failures: 0, ..settings() });
    for _ in 0..9 {
        assert_eq!(bench.send(Verdict::Failure), None);
    }
    bench.now += Duration::from_secs(11);
    for _ in 0..9 {
        assert_eq!(bench.send(Verdict::Failure), None);
    }
    assert!(bench.send(Verdict::Failure).is_some());
}

#[test]
fn both_signals_can_be_turned_off() {
    let bench =
        Bench::new(BreakerSettings { consecutive_failures: 0, error_percent: 0, ..settings() });
    assert!((0..1000).all(|_| bench.send(Verdict::Failure).is_none()));
}

#[test]
fn one_probe_at_a_time_then_closed_after_enough_successes() {
    let mut bench = Bench::new(settings());
    bench.trip();
    bench.cool();
    assert_eq!(bench.breaker.gate(&bench.settings, bench.now), Gate::Probe);
    let probe = bench.breaker.admit(&bench.settings, bench.now).expect("a probe");
    assert!(probe.probe);
    assert!(bench.breaker.admit(&bench.settings, bench.now).is_none());
    assert_eq!(bench.breaker.gate(&bench.settings, bench.now), Gate::Shut(None));
    assert_eq!(bench.breaker.record(&bench.settings, probe, Verdict::Success, bench.now), None);
    assert_eq!(bench.breaker.state(bench.now), BreakerState::HalfOpen);
    assert_eq!(bench.send(Verdict::Success), Some(Change::Closed));
    assert_eq!(bench.breaker.state(bench.now), BreakerState::Closed);
}

#[test]
fn a_cancelled_probe_makes_room_for_the_next() {
    let mut bench = Bench::new(settings());
    bench.trip();
    bench.cool();
    for _ in 0..5 {
        assert_eq!(bench.send(Verdict::Neutral), None);
        assert_eq!(bench.breaker.state(bench.now), BreakerState::HalfOpen);
    }
    assert_eq!(bench.send(Verdict::Success), None);
    assert_eq!(bench.send(Verdict::Success), Some(Change::Closed));
}

#[test]
fn the_cooldown_doubles_to_its_bound_and_starts_again_after_closing() {
    let mut bench = Bench::new(settings());
    bench.trip();
    for seconds in [5, 10, 20, 40, 60, 60] {
        let cooldown = bench.cool().as_secs_f64();
        let (least, most) = (f64::from(seconds), f64::from(seconds) * (1.0 + JITTER));
        assert!((least - 0.001..=most + 0.001).contains(&cooldown), "{cooldown} for {seconds}");
        bench.send(Verdict::Failure);
    }
    bench.cool();
    bench.send(Verdict::Success);
    bench.send(Verdict::Success);
    bench.trip();
    assert!(bench.cool() < Duration::from_millis(5501));
}

#[test]
fn a_late_outcome_of_the_past_changes_nothing() {
    let mut bench = Bench::new(settings());
    let old = bench.breaker.admit(&bench.settings, bench.now).expect("admitted");
    bench.trip();
    bench.cool();
    let probe = bench.breaker.admit(&bench.settings, bench.now).expect("a probe");
    assert_eq!(bench.breaker.record(&bench.settings, old, Verdict::Failure, bench.now), None);
    assert_eq!(bench.breaker.record(&bench.settings, old, Verdict::Success, bench.now), None);
    bench.breaker.record(&bench.settings, probe, Verdict::Success, bench.now);
    assert_eq!(bench.send(Verdict::Success), Some(Change::Closed));
}

/// The rules as a person would tell them: a list of what happened, and no cleverness.
#[derive(Debug)]
struct Model {
    /// Outcomes since it was last closed: when, and whether it failed.
    seen: Vec<(Duration, bool)>,
    open_until: Option<Duration>,
    probing: u32,
    good_probes: u32,
    trips: u32,
    era: u32,
}

impl Model {
    fn admit(&mut self, settings: &BreakerSettings, now: Duration) -> Option<(u32, bool)> {
        match self.open_until {
            None => Some((self.era, false)),
            Some(until) if now < until => None,
            Some(_) if self.probing >= settings.half_open => None,
            Some(_) => {
                if self.probing == 0 && self.good_probes == 0 {
                    // The first probe begins a new era unless one was cancelled before it.
                    self.era += u32::from(self.era % 3 == 1);
                }
                self.probing += 1;
                Some((self.era, true))
            }
        }
    }

    fn record(
        &mut self,
        settings: &BreakerSettings,
        admission: (u32, bool),
        verdict: Verdict,
        now: Duration,
    ) {
        if admission.0 != self.era {
            return;
        }
        if self.open_until.is_some() {
            self.probing -= 1;
            match verdict {
                Verdict::Neutral => {}
                Verdict::Failure => self.open(settings, now),
                Verdict::Success => {
                    self.good_probes += 1;
                    if self.good_probes >= settings.close_after {
                        *self = Self { era: self.era / 3 * 3 + 3, ..Self::new() };
                    }
                }
            }
            return;
        }
        if verdict == Verdict::Neutral {
            return;
        }
        self.seen.push((now, verdict == Verdict::Failure));
        let in_a_row = self.seen.iter().rev().take_while(|(_, failed)| *failed).count() as u32;
        if verdict == Verdict::Failure && in_a_row >= settings.consecutive_failures {
            self.open(settings, now);
        }
    }

    fn open(&mut self, settings: &BreakerSettings, now: Duration) {
        let cooldown = settings.cooldown.0 * 2u32.pow(self.trips.min(10));
        let trips = self.trips + 1;
        // Eras count in threes: closed, open, half open.
        let era = self.era / 3 * 3 + if self.era.is_multiple_of(3) { 1 } else { 4 };
        *self = Self {
            open_until: Some(now + cooldown.min(settings.cooldown_max.0)),
            trips,
            era,
            ..Self::new()
        };
    }

    fn new() -> Self {
        Self { seen: Vec::new(), open_until: None, probing: 0, good_probes: 0, trips: 0, era: 0 }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    Begin,
    End(usize, Verdict),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let verdict =
        prop_oneof![Just(Verdict::Success), Just(Verdict::Failure), Just(Verdict::Neutral)];
    let step = prop_oneof![
        (0u64..8_000).prop_map(Step::Wait),
        Just(Step::Begin),
        Just(Step::Begin),
        (0usize..8, verdict).prop_map(|(which, verdict)| Step::End(which, verdict)),
    ];
    proptest::collection::vec(step, 0..200)
}

proptest! {
    #[test]
    fn the_machine_follows_the_rules(
        steps in steps(),
        consecutive_failures in 1u32..5,
        half_open in 1u32..4,
        close_after in 1u32..4,
    ) {
        // The window has its own tests; a model of it would repeat the code.
        let settings = BreakerSettings {
            consecutive_failures, half_open, close_after, error_percent: 0, ..settings()
        };
        let origin = Instant::now();
        let (mut machine, mut model) = (Machine::new(), Model::new());
        let mut now = Duration::ZERO;
        let mut under_way = Vec::new();
        for step in steps {
            match step {
                Step::Wait(ms) => now += Duration::from_millis(ms),
                Step::Begin => {
                    let ours = machine.admit(&settings, origin + now);
                    let theirs = model.admit(&settings, now);
                    prop_assert_eq!(ours.map(|a| a.probe), theirs.map(|(_, probe)| probe));
                    under_way.extend(ours.zip(theirs));
                }
                Step::End(which, verdict) if !under_way.is_empty() => {
                    let (ours, theirs) = under_way.swap_remove(which % under_way.len());
                    machine.record(&settings, ours, verdict, origin + now, 0.0);
                    model.record(&settings, theirs, verdict, now);
                }
                Step::End(..) => {}
            }
            prop_assert_eq!(matches!(machine.phase, Phase::Closed), model.open_until.is_none());
            if let Phase::HalfOpen { probing, .. } = machine.phase {
                prop_assert!(probing <= half_open);
                prop_assert_eq!(probing, model.probing);
            }
        }
    }
}
