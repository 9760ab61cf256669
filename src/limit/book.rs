//! What one scope has used: counters of every kind that a rule of it asked for.

use smallvec::SmallVec;

use super::calendar::Budget;
use super::moment::Moment;
use super::rules::{Kind, Rule, Rules, Span, Unit};
use super::settings::WhenSpent;
use super::state::CounterState;
use super::window::Window;

/// What a request holds in a scope, by unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) requests: u64,
    pub(super) tokens: u64,
    pub(super) nano_usd: u64,
}

impl Ask {
    fn of(&self, unit: Unit) -> u64 {
        match unit {
            Unit::Requests => self.requests,
            Unit::Tokens => self.tokens,
            Unit::NanoUsd => self.nano_usd,
        }
    }

    fn with(&self, other: &Self, each: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            requests: each(self.requests, other.requests),
            tokens: each(self.tokens, other.tokens),
            nano_usd: each(self.nano_usd, other.nano_usd),
        }
    }

    pub(super) fn plus(&self, other: &Self) -> Self {
        self.with(other, u64::saturating_add)
    }

    /// What this is more than the other; nothing where it is less.
    pub(super) fn less(&self, other: &Self) -> Self {
        self.with(other, u64::saturating_sub)
    }

    pub(super) fn least(&self, other: &Self) -> Self {
        self.with(other, u64::min)
    }
}

/// Which counters of a scope a request was entered into, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// One bit a counter.
    counters: u32,
    at: Moment,
}

/// Why a scope does not admit a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full {
    /// The kind of the rule; `None` for requests at a time.
    pub(super) kind: Option<Kind>,
    pub(super) most: u64,
    /// When it will fit, if nothing is given back before. `None` where time alone does not help.
    pub(super) wait_ns: Option<u64>,
    /// The request alone asks for more than there ever is.
    pub(super) too_large: bool,
}

/// How much of a rule is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// The most that the rule allows.
    pub limit: u64,
    /// What is left of it.
    pub remaining: u64,
    /// When all of it is there again, if nothing more is used.
    pub reset_ns: u64,
}

#[derive(Debug)]
struct Counter {
    kind: Kind,
    tally: Tally,
    /// The least that a rule of its kind refuses at, and the least that one warns at, as they were
    /// when the counter was used last.
    most: Option<u64>,
    warn_at: Option<u64>,
    /// It was said in this period that a soft budget is used up.
    noted: bool,
}

#[derive(Debug)]
enum Tally {
    Window(Window),
    Budget(Budget),
}

/// What one scope has used.
#[derive(Debug, Default)]
pub(super) struct Book {
    /// The latest moment that was seen. Threads read the clock before they get here; what is entered
    /// is in order all the same.
    now: Moment,
    in_flight: u32,
    /// Never taken out, so that entries of requests in flight stay right.
    counters: SmallVec<[Counter; 2]>,
}

impl Book {
    /// Brings the counters that the rules ask for up to the moment, and makes those that are new.
    pub(super) fn roll(&mut self, rules: &Rules, now: Moment) {
        self.now = self.now.max(now);
        let now = self.now;
        for rule in &rules.each {
            let known = self.counters.iter_mut().find(|counter| counter.kind == rule.kind);
            let Some(counter) = known else {
                let tally = Tally::new(rule.kind.span, rules, now);
                let (most, warn_at) = rules.bounds(rule.kind);
                let counter = Counter { kind: rule.kind, tally, most, warn_at, noted: false };
                self.counters.push(counter);
                continue;
            };
            if let Tally::Budget(budget) = &mut counter.tally {
                budget.move_to(&rules.zone);
            }
            (counter.most, counter.warn_at) = rules.bounds(rule.kind);
        }
        for counter in &mut self.counters {
            counter.noted &= !counter.tally.roll(now);
        }
    }

    /// Whether all rules allow it; of those that do not, the one that takes longest.
    pub(super) fn check(&self, rules: &Rules, ask: &Ask) -> Result<(), Full> {
        let mut worst: Option<Full> = None;
        let mut full = |full: Full| {
            let longer = |worst: &Full| full.later_than(worst);
            if worst.as_ref().is_none_or(longer) {
                worst = Some(full);
            }
        };
        // An extension is of a request that is in flight.
        let full_house =
            rules.concurrent.filter(|most| ask.requests > 0 && self.in_flight >= *most);
        if let Some(most) = full_house {
            full(Full { kind: None, most: most.into(), wait_ns: None, too_large: false });
        }
        for rule in rules.each.iter().filter(|rule| rule.when_spent == WhenSpent::Refuse) {
            let (Some(tally), asked) = (self.tally(rule.kind), ask.of(rule.kind.unit)) else {
                continue;
            };
            if asked == 0 && ask.requests == 0 {
                continue;
            }
            // A request that asks for nothing fits until there is nothing left at all.
            let over = tally.used().saturating_add(asked.max(1)).saturating_sub(rule.most);
            if over > 0 {
                let too_large = asked > rule.most;
                let wait_ns = (!too_large).then(|| tally.freed_in_ns(self.now, over));
                let kind = Some(rule.kind);
                full(Full { kind, most: rule.most, wait_ns: wait_ns.flatten(), too_large });
            }
        }
        worst.map_or(Ok(()), Err)
    }

    /// Enters a request, or an extension of one.
    pub(super) fn enter(&mut self, rules: &Rules, ask: &Ask) -> Entry {
        let now = self.now;
        self.in_flight += u32::from(ask.requests > 0);
        let mut counters = 0;
        for (at, counter) in self.counters.iter_mut().enumerate() {
            if rules.each.iter().any(|rule| rule.kind == counter.kind) {
                counter.tally.add(now, ask.of(counter.kind.unit));
                counters |= 1 << at;
            }
        }
        Entry { counters, at: now }
    }

    /// Takes a part of what was entered back, from its own moment.
    pub(super) fn take_back(&mut self, entry: Entry, back: &Ask, now: Moment) {
        self.now = self.now.max(now);
        let now = self.now;
        self.each_of(entry, |counter| {
            counter.tally.roll(now);
            counter.tally.take_back(entry.at, back.of(counter.kind.unit));
        });
    }

    /// A request is over. What it used beyond all that it held is charged now.
    pub(super) fn leave(&mut self, entry: Entry, more: &Ask) {
        self.in_flight = self.in_flight.saturating_sub(1);
        let now = self.now;
        self.each_of(entry, |counter| counter.tally.add(now, more.of(counter.kind.unit)));
    }

    fn each_of(&mut self, entry: Entry, mut change: impl FnMut(&mut Counter)) {
        let counters = self.counters.iter_mut().enumerate();
        counters
            .filter(|(at, _)| entry.counters & (1 << at) != 0)
            .for_each(|(_, counter)| change(counter));
    }

    /// Of the rules of a unit in a window, the one of which least is left.
    pub(super) fn tightest(&self, rules: &Rules, unit: Unit) -> Option<Level> {
        let in_window =
            |rule: &&Rule| rule.kind.unit == unit && matches!(rule.kind.span, Span::Last(..));
        let level = |rule: &Rule| {
            let Tally::Window(window) = self.tally(rule.kind)? else { return None };
            let remaining = rule.most.saturating_sub(window.used());
            let reset_ns = window.empty_in_ns(self.now.ns);
            Some(Level { limit: rule.most, remaining, reset_ns })
        };
        rules.each.iter().filter(in_window).filter_map(level).min_by_key(|level| level.remaining)
    }

    /// The soft budgets that are used up, and whether that is new in this period.
    pub(super) fn overspent<'a>(
        &'a mut self,
        rules: &'a Rules,
    ) -> impl Iterator<Item = (Kind, bool)> + 'a {
        let asked = |counter: &Counter| rules.each.iter().any(|rule| rule.kind == counter.kind);
        let counters = self.counters.iter_mut().filter(move |counter| asked(counter));
        counters
            .filter(|counter| counter.warn_at.is_some_and(|most| counter.tally.used() >= most))
            .map(|counter| (counter.kind, !std::mem::replace(&mut counter.noted, true)))
    }

    /// What was used, for operators, and how many requests are in flight.
    pub(super) fn state(&mut self, now: Moment) -> (u32, Vec<CounterState>) {
        self.now = self.now.max(now);
        let now = self.now;
        let state = |counter: &mut Counter| {
            counter.noted &= !counter.tally.roll(now);
            let used = counter.tally.used();
            let (period, forecast) = match &counter.tally {
                Tally::Window(_) => (None, None),
                Tally::Budget(budget) => (budget.period(), budget.forecast(now.unix_s)),
            };
            CounterState {
                limit: counter.kind.words(),
                unit: counter.kind.unit.as_str(),
                used,
                most: counter.most,
                warn_at: counter.warn_at,
                period_begin_unix_s: period.map(|(begin, _)| begin),
                period_end_unix_s: period.map(|(_, end)| end),
                forecast,
            }
        };
        (self.in_flight, self.counters.iter_mut().map(state).collect())
    }

    /// Whether forgetting the scope changes nothing.
    pub(super) fn is_neutral(&mut self, now: Moment) -> bool {
        self.now = self.now.max(now);
        let now = self.now;
        self.counters.iter_mut().for_each(|counter| {
            counter.tally.roll(now);
        });
        self.in_flight == 0 && self.counters.iter().all(|counter| counter.tally.used() == 0)
    }

    #[cfg(test)]
    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight
    }

    #[cfg(test)]
    pub(super) fn used(&self, kind: Kind) -> u64 {
        self.tally(kind).map_or(0, Tally::used)
    }

    fn tally(&self, kind: Kind) -> Option<&Tally> {
        self.counters.iter().find(|counter| counter.kind == kind).map(|counter| &counter.tally)
    }
}

impl Full {
    /// Whether this one takes longer to pass than the other.
    pub(super) fn later_than(&self, other: &Self) -> bool {
        let rank = |full: &Self| (full.too_large, full.kind.is_some(), full.wait_ns.is_none());
        (rank(self), self.wait_ns) > (rank(other), other.wait_ns)
    }
}

impl Tally {
    fn new(span: Span, rules: &Rules, now: Moment) -> Self {
        match span {
            Span::Last(length_ns, _) => Tally::Window(Window::new(length_ns)),
            Span::Calendar(period) => Tally::Budget(Budget::new(period, &rules.zone, now.unix_s)),
        }
    }

    /// True when a new period has begun.
    fn roll(&mut self, now: Moment) -> bool {
        match self {
            Tally::Window(window) => {
                window.roll(now.ns);
                false
            }
            Tally::Budget(budget) => budget.roll(now.unix_s),
        }
    }

    fn used(&self) -> u64 {
        match self {
            Tally::Window(window) => window.used(),
            Tally::Budget(budget) => budget.used(),
        }
    }

    fn add(&mut self, now: Moment, amount: u64) {
        match self {
            _ if amount == 0 => {}
            Tally::Window(window) => window.add(now.ns, amount),
            Tally::Budget(budget) => budget.add(amount),
        }
    }

    fn take_back(&mut self, at: Moment, amount: u64) {
        match self {
            _ if amount == 0 => {}
            Tally::Window(window) => window.take_back(at.ns, amount),
            Tally::Budget(budget) => budget.take_back(at.unix_s, amount),
        }
    }

    fn freed_in_ns(&self, now: Moment, amount: u64) -> Option<u64> {
        match self {
            Tally::Window(window) => Some(window.freed_in_ns(now.ns, amount)),
            Tally::Budget(budget) => {
                budget.ends_in_s(now.unix_s).map(|s| s.saturating_mul(1_000_000_000))
            }
        }
    }
}
