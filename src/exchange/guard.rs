//! Keeps a stream within what its request holds.
//!
//! Where a limit on tokens or money refuses, a client never gets a token that is not held. A frame is
//! counted before it is forwarded; when the hold does not cover it, the hold is extended by a step, by
//! less if there is less, and if there is nothing left the stream ends in front of that frame, as if
//! its answer had reached its greatest length. What the upstream had sent beyond that is thrown away,
//! and the connection closed, so that it stops.
//!
//! Counting each frame would cost more than forwarding it. A text has no more tokens than bytes, so
//! that nothing is counted while the bytes that came since the last count are covered by what is held.

use crate::limit::Assumptions;
use crate::meter::Counters;

use super::settle::Settlement;

/// A stream's hold gets longer by no less than one part in so many of what it is.
const STEP_SHARE: u64 = 4;

/// What of the answer is held, and what the client has of it.
pub(super) struct Guard {
    /// Tokens of the answer that are held.
    held: u64,
    /// Tokens that the client has, when they were counted last.
    given: u64,
    /// Bytes of text at the last count.
    bytes: u64,
    step: u64,
}

impl Guard {
    /// Where the request is under limits that refuse.
    pub(super) fn of(settlement: &Settlement<'_>, assumptions: Assumptions) -> Option<Self> {
        let held = settlement.answer_held()?;
        Some(Self { held, given: 0, bytes: 0, step: assumptions.step })
    }

    /// Tokens that the client has.
    pub(super) fn given(&self) -> u64 {
        self.given
    }

    /// Whether a run of frames of so many bytes may be forwarded without looking at each. Extends the
    /// hold ahead of need.
    pub(super) async fn covers(
        &mut self,
        run_bytes: usize,
        counters: &mut Counters,
        settlement: &mut Settlement<'_>,
    ) -> bool {
        let needed = run_bytes as u64;
        if self.left(counters) >= needed {
            return true;
        }
        self.count(counters);
        if self.held.saturating_sub(self.given) < self.step / 2 {
            self.extend(1, settlement).await;
        }
        self.left(counters) >= needed
    }

    /// Whether all that came is surely held, without counting it.
    pub(super) fn covered(&self, counters: &Counters) -> bool {
        self.given + (counters.bytes() - self.bytes) <= self.held
    }

    /// Whether all that came may be forwarded. Extends the hold if it has to be.
    pub(super) async fn passes(
        &mut self,
        counters: &mut Counters,
        settlement: &mut Settlement<'_>,
    ) -> bool {
        let total = counters.total().tokens;
        if total > self.held {
            self.extend(total - self.held, settlement).await;
        }
        if total > self.held {
            return false;
        }
        (self.given, self.bytes) = (total, counters.bytes());
        true
    }

    /// Tokens that are surely still held.
    fn left(&self, counters: &Counters) -> u64 {
        let since = counters.bytes() - self.bytes;
        self.held.saturating_sub(self.given).saturating_sub(since)
    }

    fn count(&mut self, counters: &mut Counters) {
        (self.given, self.bytes) = (counters.total().tokens, counters.bytes());
    }

    /// Holds a step more, or as much of it as there is, if that is not less than `least`.
    async fn extend(&mut self, least: u64, settlement: &mut Settlement<'_>) {
        let mut more = self.step.max(self.held / STEP_SHARE).max(least);
        while !settlement.extend(more).await {
            if more == least {
                return;
            }
            more = (more / 2).max(least);
        }
        self.held += more;
    }
}
