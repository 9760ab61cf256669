//! The latest few of something that tends to come again.
//!
//! A client's requests begin alike, a provider's answers begin and end alike. Whoever remembers the
//! last few has the next one for the price of a comparison.

/// How many are remembered.
const ALL_MAX: usize = 8;
/// So many in a row that were not known, and only one of [`SELDOM`] is remembered from there on:
/// where each is new, remembering is a waste.
const MISSES_MAX: u32 = 4 * ALL_MAX as u32;
/// How often it is tried all the same.
const SELDOM: u32 = 64;

/// The latest few, and which of them came last.
#[derive(Debug)]
pub(crate) struct Lately<T> {
    all: Vec<T>,
    last: usize,
    /// Where the next new one goes.
    next: usize,
    misses: u32,
}

impl<T> Lately<T> {
    /// None yet.
    pub(crate) const fn new() -> Self {
        Self { all: Vec::new(), last: 0, next: 0, misses: 0 }
    }

    /// The first that fits, and that came last if it does.
    #[inline]
    pub(crate) fn find<R>(&mut self, mut fits: impl FnMut(&T) -> Option<R>) -> Option<R> {
        let mut found = self.all.get(self.last).and_then(&mut fits);
        if found.is_none() {
            let others = self.all.iter().enumerate().filter(|(at, _)| *at != self.last);
            let mut others = others.filter_map(|(at, one)| Some((at, fits(one)?)));
            let (at, other) = others.next()?;
            (self.last, found) = (at, Some(other));
        }
        self.misses = 0;
        found
    }

    /// Remembers one that was not found, in place of the oldest.
    pub(crate) fn add(&mut self, one: impl FnOnce() -> Option<T>) {
        self.misses = self.misses.saturating_add(1);
        if self.misses > MISSES_MAX && !self.misses.is_multiple_of(SELDOM) {
            return;
        }
        let Some(one) = one() else { return };
        self.last = self.next;
        self.next = (self.next + 1) % ALL_MAX;
        match self.all.get_mut(self.last) {
            Some(oldest) => *oldest = one,
            None => self.all.push(one),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(lately: &mut Lately<u32>, sought: u32) -> bool {
        lately.find(|one| (*one == sought).then_some(())).is_some()
    }

    #[test]
    fn the_latest_are_found() {
        let mut lately = Lately::new();
        assert!(!find(&mut lately, 0));
        for one in 0..20 {
            lately.add(|| Some(one));
            assert!(find(&mut lately, one));
        }
        let known: Vec<_> = (0..20).filter(|one| find(&mut lately, *one)).collect();
        assert_eq!(known, (12..20).collect::<Vec<_>>());
        lately.add(|| None);
        lately.add(|| Some(20));
        assert!(find(&mut lately, 20) && !find(&mut lately, 12) && find(&mut lately, 13));
    }

    #[test]
    fn what_is_always_new_is_seldom_remembered() {
        let mut lately = Lately::new();
        let mut made = 0;
        for one in 0..1000 {
            assert!(!find(&mut lately, one));
            lately.add(|| {
                made += 1;
                Some(one)
            });
        }
        assert_eq!(made, MISSES_MAX + 1000 / SELDOM);
        let last = 1000 / SELDOM * SELDOM - 1;
        assert!(find(&mut lately, last));
        lately.add(|| Some(1));
        assert!(find(&mut lately, 1), "once something comes again, all is remembered");
    }
}
