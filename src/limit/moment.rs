//! A moment on both clocks: windows run on the one that never jumps, periods on the calendar's.

use crate::clock::{self, Instant};

/// A moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Moment {
    /// Nanoseconds since the process began.
    pub(super) ns: u64,
    /// Seconds since the Unix epoch, up to a tick of the kernel behind: a period may begin some
    /// milliseconds late.
    pub(super) unix_s: i64,
}

impl Moment {
    pub(super) fn now() -> Self {
        Self::at(Instant::now())
    }

    /// The present, where the clock that never jumps was read just now.
    pub(super) fn at(now: Instant) -> Self {
        Self { ns: clock::running_ns(now), unix_s: clock::unix_s().cast_signed() }
    }

    /// The later one, on each clock.
    pub(super) fn max(self, other: Self) -> Self {
        Self { ns: self.ns.max(other.ns), unix_s: self.unix_s.max(other.unix_s) }
    }
}
