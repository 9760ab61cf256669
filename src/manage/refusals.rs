//! Refused requests on their way into the audit log, bounded: nobody can fill it at will.
//!
//! Sixty are entered at once and one a second from then on; how many there were beyond that is entered
//! when there is room again. What administrators are refused and what policies refuse callers are
//! counted apart: a flood of the one does not hide the other. What callers are refused waits here for
//! whoever writes it, because no request waits for the database.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::{Audited, Error, Office};
use crate::clock::{self, Instant};

/// Entered in one go, and how fast there is room again.
const REFUSALS_MAX: u32 = 60;
const REFUSAL_EVERY: Duration = Duration::from_secs(1);

/// Refused requests of both kinds.
#[derive(Debug, Default)]
pub struct Refusals {
    administrators: Room,
    callers: Room,
    waiting: Mutex<VecDeque<Audited>>,
}

/// How many more may be entered, and how many could not.
#[derive(Debug)]
struct Room {
    left: Mutex<(u32, Instant)>,
    /// The audit log does not tell of these yet.
    unrecorded: AtomicU64,
}

impl Default for Room {
    fn default() -> Self {
        Self { left: Mutex::new((REFUSALS_MAX, clock::now())), unrecorded: AtomicU64::new(0) }
    }
}

impl Room {
    /// Takes the place of one. Without one it is counted.
    fn take(&self) -> bool {
        let some = self.has_one();
        if !some {
            self.unrecorded.fetch_add(1, Ordering::Relaxed);
        }
        some
    }

    fn has_one(&self) -> bool {
        let mut left = self.left.lock();
        let (room, since) = &mut *left;
        let now = clock::now();
        let regained = now.saturating_duration_since(*since).as_secs() / REFUSAL_EVERY.as_secs();
        if regained > 0 {
            *room = room.saturating_add(regained.min(u64::from(REFUSALS_MAX)) as u32);
            *room = (*room).min(REFUSALS_MAX);
            *since = now;
        }
        let some = *room > 0;
        *room = room.saturating_sub(1);
        some
    }

    /// Enters how many had no place, when there is one for that.
    async fn tell(&self, office: &Office, whose: &'static str) -> Result<(), Error> {
        if self.unrecorded.load(Ordering::Relaxed) == 0 || !self.has_one() {
            return Ok(());
        }
        let requests = self.unrecorded.swap(0, Ordering::Relaxed);
        let told = office.unrecorded(requests, whose).await;
        if told.is_err() {
            self.unrecorded.fetch_add(requests, Ordering::Relaxed);
        }
        told
    }
}

impl Refusals {
    /// Whether one more refused request of an administrator may be entered. One that may not is counted.
    pub fn may_enter(&self) -> bool {
        self.administrators.take()
    }

    /// Has what a caller was refused entered soon. Never waits for the database.
    pub fn enter_soon(&self, entry: impl FnOnce() -> Audited) {
        if self.callers.take() {
            let mut waiting = self.waiting.lock();
            // The database may be away for long.
            if waiting.len() < REFUSALS_MAX as usize {
                return waiting.push_back(entry());
            }
            self.callers.unrecorded.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes what waits. What the database does not take waits on.
    pub async fn write(&self, office: &Office) -> Result<(), Error> {
        loop {
            let Some(entry) = self.waiting.lock().pop_front() else { break };
            if let Err(error) = office.refused(entry.clone()).await {
                self.waiting.lock().push_front(entry);
                return Err(error);
            }
        }
        self.administrators.tell(office, "administrators").await?;
        self.callers.tell(office, "callers").await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manage::Outcome;

    fn entry(number: u32) -> Audited {
        Audited {
            actor: format!("acme/{number}"),
            role: "caller".into(),
            action: "policy.refuse".into(),
            subject: String::new(),
            outcome: Outcome::Refused,
            detail: serde_json::Value::Null,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_callers_is_bounded_and_leaves_room_for_administrators() {
        let refusals = Refusals::default();
        for number in 0..1000 {
            refusals.enter_soon(|| entry(number));
        }
        assert_eq!(refusals.waiting.lock().len(), 60);
        assert_eq!(refusals.callers.unrecorded.load(Ordering::Relaxed), 940);
        assert!((0..60).all(|_| refusals.may_enter()) && !refusals.may_enter());
        // Time alone makes room in the rate, not among those that wait.
        tokio::time::advance(Duration::from_secs(5)).await;
        refusals.enter_soon(|| entry(1000));
        assert_eq!(refusals.waiting.lock().len(), 60);
        assert_eq!(refusals.callers.unrecorded.load(Ordering::Relaxed), 941);
    }
}
