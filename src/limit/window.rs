//! What was used in the last second, minute, hour or day, to within a fraction of that time.
//!
//! A window that begins anew every minute lets twice the limit through around its border, and a
//! bucket that refills lets its whole content through beside what it gains. Here every amount counts
//! from the moment it was admitted until a whole window later, so that no stretch of that length ever
//! holds more than the limit. Amounts are kept by slots, [`SLOTS`] to a window, and leave with the end
//! of their slot's last moment: up to one slot late, never early. A steady stream gets
//! `SLOTS / (SLOTS + 1)` of its limit, 99.2 %.

use std::collections::VecDeque;

/// Slots in a window.
const SLOTS: u64 = 128;

/// Amounts of the last while.
///
/// What nearly every request needs lies here, and not behind a pointer: the slot of now, and when the
/// oldest amount leaves.
#[derive(Debug)]
pub(super) struct Window {
    slot_ns: u64,
    sum: u64,
    /// Nothing leaves before; [`NEVER`] where there is nothing.
    leaves_ns: u64,
    /// The latest slot in which something was used.
    last: Step,
    /// Earlier ones, ascending; at most `SLOTS` of them.
    earlier: VecDeque<Step>,
}

/// No moment.
const NEVER: u64 = u64::MAX;

#[derive(Clone, Copy, Debug)]
struct Step {
    slot: u64,
    amount: u64,
}

impl Window {
    pub(super) fn new(length_ns: u64) -> Self {
        let last = Step { slot: 0, amount: 0 };
        Self {
            slot_ns: length_ns / SLOTS,
            sum: 0,
            leaves_ns: NEVER,
            last,
            earlier: VecDeque::new(),
        }
    }

    /// For how long an amount stays at most, in milliseconds.
    pub(super) fn length_ms(&self) -> u64 {
        self.slot_ns * (SLOTS + 1) / 1_000_000
    }

    /// Forgets what is older than the window. To be called before anything is read or added.
    pub(super) fn roll(&mut self, now_ns: u64) {
        if now_ns >= self.leaves_ns {
            self.forget(now_ns);
        }
    }

    #[cold]
    fn forget(&mut self, now_ns: u64) {
        while let Some(step) = self.earlier.front().filter(|step| self.leaves_at(step) <= now_ns) {
            self.sum = self.sum.saturating_sub(step.amount);
            self.earlier.pop_front();
        }
        if self.leaves_at(&self.last) <= now_ns {
            self.sum = self.sum.saturating_sub(self.last.amount);
            self.last.amount = 0;
        }
        self.leaves_ns = match self.earlier.front() {
            Some(step) => self.leaves_at(step),
            None if self.last.amount > 0 => self.leaves_at(&self.last),
            None => NEVER,
        };
    }

    pub(super) fn used(&self) -> u64 {
        self.sum
    }

    /// Time never runs backwards between two calls.
    pub(super) fn add(&mut self, now_ns: u64, amount: u64) {
        self.sum = self.sum.saturating_add(amount);
        if !self.is_last(now_ns) {
            self.begin(now_ns / self.slot_ns);
        } else if self.last.amount == 0 {
            self.leaves_ns = self.leaves_ns.min(self.leaves_at(&self.last));
        }
        self.last.amount = self.last.amount.saturating_add(amount);
    }

    /// Begins a slot.
    fn begin(&mut self, slot: u64) {
        if self.last.amount > 0 {
            self.earlier.push_back(self.last);
        }
        self.last = Step { slot, amount: 0 };
        self.leaves_ns = self.leaves_ns.min(self.leaves_at(&self.last));
    }

    /// Takes back a part of what was added at `at_ns`, unless that has left by itself.
    pub(super) fn take_back(&mut self, at_ns: u64, amount: u64) {
        // As nearly always.
        if self.is_last(at_ns) {
            let taken = amount.min(self.last.amount);
            self.last.amount -= taken;
            self.sum = self.sum.saturating_sub(taken);
        } else {
            self.take_back_earlier(at_ns, amount);
        }
    }

    fn take_back_earlier(&mut self, at_ns: u64, amount: u64) {
        let slot = at_ns / self.slot_ns;
        let found = self.earlier.binary_search_by_key(&slot, |step| step.slot);
        let Some(step) = found.ok().and_then(|found| self.earlier.get_mut(found)) else { return };
        let taken = amount.min(step.amount);
        step.amount -= taken;
        self.sum = self.sum.saturating_sub(taken);
        while self.earlier.back().is_some_and(|step| step.amount == 0) {
            self.earlier.pop_back();
        }
    }

    /// How long until so much has left, if nothing is taken back before.
    pub(super) fn freed_in_ns(&self, now_ns: u64, amount: u64) -> u64 {
        let mut left = amount;
        for step in self.earlier.iter().chain([&self.last]) {
            if step.amount >= left {
                return self.leaves_at(step).saturating_sub(now_ns);
            }
            left -= step.amount;
        }
        self.empty_in_ns(now_ns)
    }

    /// How long until the window is as if nothing had ever been used.
    pub(super) fn empty_in_ns(&self, now_ns: u64) -> u64 {
        let latest = if self.last.amount > 0 { Some(&self.last) } else { self.earlier.back() };
        latest.map_or(0, |step| self.leaves_at(step).saturating_sub(now_ns))
    }

    /// Whether a moment is in the latest slot.
    fn is_last(&self, at_ns: u64) -> bool {
        at_ns.checked_sub(self.last.slot * self.slot_ns).is_some_and(|into| into < self.slot_ns)
    }

    /// When what was used in a slot does not count any more.
    fn leaves_at(&self, step: &Step) -> u64 {
        (step.slot + SLOTS + 1) * self.slot_ns
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LENGTH_NS: u64 = 60_000_000_000;

    #[test]
    fn an_amount_stays_for_a_window_and_leaves_within_a_slot_more() {
        let mut window = Window::new(LENGTH_NS);
        window.add(1_000, 7);
        window.roll(LENGTH_NS);
        assert_eq!(window.used(), 7);
        let wait = window.freed_in_ns(LENGTH_NS, 1);
        assert!(wait > 0 && wait <= LENGTH_NS / SLOTS);
        window.roll(LENGTH_NS + wait - 1);
        assert_eq!(window.used(), 7);
        window.roll(LENGTH_NS + wait);
        assert_eq!((window.used(), window.empty_in_ns(LENGTH_NS + wait)), (0, 0));
    }

    #[test]
    fn what_is_taken_back_is_taken_from_its_own_moment() {
        let mut window = Window::new(LENGTH_NS);
        window.add(0, 10);
        window.add(LENGTH_NS / 2, 5);
        window.take_back(0, 4);
        assert_eq!(window.used(), 11);
        let gone = LENGTH_NS + LENGTH_NS / SLOTS;
        assert_eq!(window.freed_in_ns(LENGTH_NS / 2, 6), gone - LENGTH_NS / 2);
        window.roll(gone);
        assert_eq!(window.used(), 5);
        window.take_back(0, 3);
        assert_eq!(window.used(), 5, "what has left is not taken twice");
    }

    proptest! {
        /// Whatever was added, no stretch of a window's length holds more than the window said.
        #[test]
        fn never_less_than_the_exact_sum(
            steps in prop::collection::vec((0u64..5_000_000_000, 1u64..100), 1..200),
        ) {
            let mut window = Window::new(LENGTH_NS);
            let (mut now, mut log) = (0u64, Vec::new());
            for (gap, amount) in steps {
                now += gap;
                window.roll(now);
                let exact = |length: u64| -> u64 {
                    log.iter().filter(|(at, _)| at + length > now).map(|(_, amount)| *amount).sum()
                };
                prop_assert!(window.used() >= exact(LENGTH_NS));
                prop_assert!(window.used() <= exact(LENGTH_NS + LENGTH_NS / SLOTS));
                window.add(now, amount);
                log.push((now, amount));
            }
        }
    }
}
