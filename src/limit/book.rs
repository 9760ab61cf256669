//! What one scope has used: counters of every kind that a rule of it asked for.

use smallvec::SmallVec;

use super::calendar::Budget;
use super::moment::Moment;
use super::rules::{Bounds, Kind, Rules, Span, Unit};
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
    /// It would fit, but not into what this process has claimed of a limit that others share.
    pub(super) unclaimed: bool,
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

/// How much was used of a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spent {
    pub(super) unit: &'static str,
    pub(super) used: u64,
    pub(super) budget: u64,
    pub(super) period_unix_s: Option<(i64, i64)>,
}

#[derive(Debug)]
struct Counter {
    /// What it counts, and its bounds as they were when it was used last.
    bounds: Bounds,
    tally: Tally,
    /// It was said in this period that a soft budget is used up.
    noted: bool,
    /// Where others share the limit.
    claimed: Option<Box<Claimed>>,
}

/// What is claimed of a limit that others share.
#[derive(Debug, Default)]
struct Claimed {
    /// Up to where this process may use it.
    here: u64,
    by_others: u64,
}

/// How much of a counter this process uses, for the claim of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    pub(super) used: u64,
    /// Up to where it may be used.
    pub(super) allowed: u64,
    /// Tells one period of a budget from the next.
    pub(super) begin_s: i64,
    /// How long what is used now counts.
    pub(super) ttl_ms: u64,
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
    /// Other processes use the same limits.
    shared: bool,
    /// The rules that counters were brought in line with last.
    rules: u64,
    /// The counters that these ask for, one bit each, and those of them that warn.
    asked: u32,
    warning: u32,
    /// Never taken out, so that entries of requests in flight stay right.
    counters: SmallVec<[Counter; 2]>,
}

impl Book {
    /// One whose limits other processes share.
    pub(super) fn shared() -> Self {
        Self { shared: true, ..Self::default() }
    }

    /// Brings the counters that the rules ask for up to the moment, and makes those that are new.
    pub(super) fn roll(&mut self, rules: &Rules, now: Moment) {
        self.move_to(rules, now);
        let now = self.now;
        self.counters.iter_mut().for_each(|counter| counter.roll(now));
    }

    /// The present is that moment, and the counters are those that the rules ask for.
    #[inline]
    fn move_to(&mut self, rules: &Rules, now: Moment) {
        self.now = self.now.max(now);
        if self.rules != rules.serial {
            self.adopt(rules);
        }
    }

    /// Brings the counters in line with rules that are not those of the last request.
    #[cold]
    fn adopt(&mut self, rules: &Rules) {
        (self.rules, self.asked, self.warning) = (rules.serial, 0, 0);
        for bounds in &rules.by_kind {
            let place = self.counters.iter().position(|counter| counter.kind() == bounds.kind);
            let place = place.unwrap_or_else(|| {
                self.counters.push(Counter {
                    bounds: *bounds,
                    tally: Tally::new(bounds.kind.span, rules, self.now),
                    noted: false,
                    claimed: self.shared.then(Box::default),
                });
                self.counters.len() - 1
            });
            let counter = &mut self.counters[place];
            if let Tally::Budget(budget) = &mut counter.tally {
                budget.move_to(&rules.zone);
            }
            counter.bounds = *bounds;
            self.asked |= 1 << place;
            self.warning |= u32::from(bounds.warn_at().is_some()) << place;
        }
    }

    /// Brings the counters up to the moment, and says whether all rules allow it; of those that do not,
    /// the one that takes longest.
    pub(super) fn check(&mut self, rules: &Rules, ask: &Ask, now: Moment) -> Result<(), Full> {
        self.move_to(rules, now);
        // An extension is of a request that is in flight.
        let full_house =
            rules.concurrent.is_some_and(|most| ask.requests > 0 && self.in_flight >= most);
        let (now, mut bits, mut fit) = (self.now, self.asked, !full_house);
        for counter in &mut self.counters {
            counter.roll(now);
            let fits = counter.claimed.is_none()
                && counter.need(ask) <= counter.bounds.most().unwrap_or(u64::MAX);
            fit &= fits || bits & 1 == 0;
            bits >>= 1;
        }
        // As nearly always.
        if fit {
            return Ok(());
        }
        self.full(rules, ask, full_house)
    }

    #[cold]
    fn full(&self, rules: &Rules, ask: &Ask, full_house: bool) -> Result<(), Full> {
        let mut worst: Option<Full> = None;
        let mut full = |full: Full| {
            let longer = |worst: &Full| full.later_than(worst);
            if worst.as_ref().is_none_or(longer) {
                worst = Some(full);
            }
        };
        if let Some(most) = rules.concurrent.filter(|_| full_house) {
            let most = most.into();
            full(Full { kind: None, most, wait_ns: None, too_large: false, unclaimed: false });
        }
        for counter in self.asked() {
            let bounds = &counter.bounds;
            let (Some(most), asked) = (bounds.most(), ask.of(bounds.kind.unit)) else { continue };
            if asked == 0 && ask.requests == 0 {
                continue;
            }
            let need = counter.need(ask);
            let over = need.saturating_sub(most);
            let unclaimed = over == 0 && counter.allowed().is_some_and(|allowed| need > allowed);
            if over > 0 || unclaimed {
                let too_large = asked > most;
                // When others give something back is not known.
                let known = !too_large && !unclaimed;
                let wait_ns = known.then(|| counter.tally.freed_in_ns(self.now, over)).flatten();
                full(Full { kind: Some(bounds.kind), most, wait_ns, too_large, unclaimed });
            }
        }
        worst.map_or(Ok(()), Err)
    }

    /// Enters what was used of the budgets whose period began at that moment.
    pub(super) fn open(&mut self, rules: &Rules, now: Moment, begin_s: i64, used: &Ask) {
        self.roll(rules, now);
        self.each_of(self.asked, |counter| {
            let Counter { bounds, tally: Tally::Budget(budget), noted, .. } = counter else {
                return;
            };
            if budget.begin_s() == begin_s {
                budget.add(used.of(bounds.kind.unit));
                // It was said before the restart.
                *noted |= bounds.warn_at().is_some_and(|most| budget.used() >= most);
            }
        });
    }

    /// Enters a request, or an extension of one.
    pub(super) fn enter(&mut self, ask: &Ask) -> Entry {
        let now = self.now;
        self.in_flight += u32::from(ask.requests > 0);
        let counters = self.asked;
        self.each_of(counters, |counter| counter.tally.add(now, ask.of(counter.kind().unit)));
        Entry { counters, at: now }
    }

    /// Takes a part of what was entered back, from its own moment.
    pub(super) fn take_back(&mut self, entry: Entry, back: &Ask, now: Moment) {
        self.now = self.now.max(now);
        let now = self.now;
        self.each_of(entry.counters, |counter| {
            let amount = back.of(counter.kind().unit);
            if amount > 0 {
                counter.tally.roll(now);
                counter.tally.take_back(entry.at, amount);
            }
        });
    }

    /// A request is over. What it used beyond all that it held is charged now.
    pub(super) fn leave(&mut self, entry: Entry, more: &Ask) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if *more == Ask::default() {
            return;
        }
        let now = self.now;
        self.each_of(entry.counters, |counter| {
            counter.tally.add(now, more.of(counter.kind().unit));
        });
    }

    fn each_of(&mut self, mut bits: u32, mut change: impl FnMut(&mut Counter)) {
        for counter in &mut self.counters {
            if bits & 1 != 0 {
                change(counter);
            }
            bits >>= 1;
        }
    }

    /// Of the rules on requests in a window, and of those on tokens, the one of which least is left,
    /// if that is less than what was found before.
    pub(super) fn tighten(&self, requests: &mut Option<Level>, tokens: &mut Option<Level>) {
        for counter in self.asked() {
            let (Tally::Window(window), Some(limit)) = (&counter.tally, counter.bounds.most())
            else {
                continue;
            };
            let tightest = match counter.kind().unit {
                Unit::Requests => &mut *requests,
                Unit::Tokens => &mut *tokens,
                Unit::NanoUsd => continue,
            };
            let remaining = limit.saturating_sub(counter.used_by_all());
            if tightest.is_none_or(|level| remaining < level.remaining) {
                let reset_ns = window.empty_in_ns(self.now.ns);
                *tightest = Some(Level { limit, remaining, reset_ns });
            }
        }
    }

    /// The soft budgets that are used up, and whether that is new in this period.
    pub(super) fn overspent(&mut self) -> SmallVec<[(Kind, bool); 2]> {
        let mut overspent = SmallVec::new();
        if self.warning == 0 {
            return overspent;
        }
        self.each_of(self.warning, |counter| {
            let warn_at = counter.bounds.warn_at();
            if warn_at.is_some_and(|most| counter.used_by_all() >= most) {
                let new = !std::mem::replace(&mut counter.noted, true);
                overspent.push((counter.kind(), new));
            }
        });
        overspent
    }

    /// The pool that requests go to, of the largest budget that is used up.
    pub(super) fn diverted<'a>(&self, rules: &'a Rules) -> Option<&'a str> {
        let diverting = rules.each.iter().filter(|rule| {
            let counter = self.counter(rule.kind).filter(|_| rule.pool().is_some());
            counter.is_some_and(|counter| counter.used_by_all() >= rule.most)
        });
        diverting.max_by_key(|rule| rule.most)?.pool()
    }

    /// How much was used of a soft budget, of how much, and its period.
    pub(super) fn spent(&self, kind: Kind) -> Option<Spent> {
        let counter = self.counter(kind)?;
        let Tally::Budget(budget) = &counter.tally else { return None };
        Some(Spent {
            unit: kind.unit.as_str(),
            used: counter.used_by_all(),
            budget: counter.bounds.warn_at().unwrap_or_default(),
            period_unix_s: budget.period(),
        })
    }

    /// The kinds of which more has to be claimed for a request, and up to where.
    pub(super) fn lacking(&self, rules: &Rules, ask: &Ask) -> impl Iterator<Item = (Kind, u64)> {
        self.counters.iter().filter_map(|counter| {
            let kind = counter.kind();
            let asked = ask.of(kind.unit);
            let need = counter.need(ask);
            let lacks = counter.allowed().is_some_and(|allowed| need > allowed);
            let asks = asked > 0 || ask.requests > 0;
            (asks && lacks && need <= rules.most(kind)?).then_some((kind, need))
        })
    }

    /// How much of a counter is used here.
    pub(super) fn share(&mut self, kind: Kind, now: Moment) -> Option<Share> {
        self.now = self.now.max(now);
        let now = self.now;
        let counter = self.counter_mut(kind)?;
        counter.roll(now);
        let (begin_s, ttl_ms) = counter.tally.lasts(now);
        let (used, allowed) = (counter.tally.used(), counter.allowed().unwrap_or(0));
        Some(Share { used, allowed, begin_s, ttl_ms })
    }

    /// What is used, and up to where it may be used until the claim of it is known: no further than
    /// `want`, unless more is used.
    pub(super) fn before_claim(&mut self, kind: Kind, want: u64) -> Option<(u64, u64)> {
        let counter = self.counter_mut(kind)?;
        let used = counter.tally.used();
        let want = want.max(used);
        if let Some(claimed) = &mut counter.claimed {
            claimed.here = claimed.here.min(want);
        }
        Some((used, want))
    }

    /// What is claimed here, and by others, of a period.
    pub(super) fn claimed(&mut self, kind: Kind, here: u64, by_others: u64, begin_s: i64) {
        let now = self.now;
        let Some(counter) = self.counter_mut(kind) else { return };
        if counter.tally.lasts(now).0 == begin_s {
            counter.claimed = Some(Box::new(Claimed { here, by_others }));
        }
    }

    /// What was used, for operators, and how many requests are in flight.
    pub(super) fn state(&mut self, now: Moment) -> (u32, Vec<CounterState>) {
        self.now = self.now.max(now);
        let now = self.now;
        let state = |counter: &mut Counter| {
            counter.roll(now);
            let used = counter.used_by_all();
            let (period, forecast) = match &counter.tally {
                Tally::Window(_) => (None, None),
                Tally::Budget(budget) => (budget.period(), budget.forecast(used, now.unix_s)),
            };
            CounterState {
                limit: counter.kind().words(),
                unit: counter.kind().unit.as_str(),
                used,
                most: counter.bounds.most(),
                warn_at: counter.bounds.warn_at(),
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
        self.counter(kind).map_or(0, |counter| counter.tally.used())
    }

    fn counter(&self, kind: Kind) -> Option<&Counter> {
        self.counters.iter().find(|counter| counter.kind() == kind)
    }

    fn counter_mut(&mut self, kind: Kind) -> Option<&mut Counter> {
        self.counters.iter_mut().find(|counter| counter.kind() == kind)
    }

    /// The counters that the rules ask for.
    fn asked(&self) -> impl Iterator<Item = &Counter> {
        let mut bits = self.asked;
        self.counters.iter().filter(move |_| {
            let asked = bits & 1 != 0;
            bits >>= 1;
            asked
        })
    }
}

impl Full {
    /// Whether this one takes longer to pass than the other.
    pub(super) fn later_than(&self, other: &Self) -> bool {
        let rank = |full: &Self| (full.too_large, full.kind.is_some(), full.wait_ns.is_none());
        (rank(self), self.wait_ns) > (rank(other), other.wait_ns)
    }
}

impl Counter {
    fn kind(&self) -> Kind {
        self.bounds.kind
    }

    /// What would be used with a request, or an extension of one. One that asks for nothing fits until
    /// there is nothing left at all.
    fn need(&self, ask: &Ask) -> u64 {
        self.tally.used().saturating_add(ask.of(self.bounds.kind.unit).max(1))
    }

    /// Up to where this process may use it, where others share the limit.
    fn allowed(&self) -> Option<u64> {
        self.claimed.as_ref().map(|claimed| claimed.here)
    }

    /// With what others claim of it.
    fn used_by_all(&self) -> u64 {
        let others = self.claimed.as_ref().map_or(0, |claimed| claimed.by_others);
        self.tally.used().saturating_add(others)
    }

    fn roll(&mut self, now: Moment) {
        if self.tally.roll(now) {
            self.noted = false;
            if let Some(claimed) = &mut self.claimed {
                **claimed = Claimed::default();
            }
        }
    }
}

impl Tally {
    /// When its period began, and for how long what is used now counts, in milliseconds.
    fn lasts(&self, now: Moment) -> (i64, u64) {
        /// Longer than any clock is wrong, and than any process is silent.
        const SLACK_MS: u64 = 10_000;
        const FOR_EVER_MS: u64 = 400 * 86_400_000;
        match self {
            Tally::Window(window) => (0, window.length_ms() + SLACK_MS),
            Tally::Budget(budget) => match (budget.period(), budget.ends_in_s(now.unix_s)) {
                (Some((begin, _)), Some(left_s)) => (begin, left_s * 1000 + SLACK_MS),
                _ => (0, FOR_EVER_MS),
            },
        }
    }

    fn new(span: Span, rules: &Rules, now: Moment) -> Self {
        match span {
            Span::Last(length) => Tally::Window(Window::new(length.ns())),
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
