//! Waiting for a concurrency slot: bounded, first come first served within a class, and by a deadline.
//!
//! Waiters do not race for a slot that becomes free: whoever frees it serves the queue, in order,
//! under one short lock, and hands finished leases over. So nobody is woken in vain, none is
//! passed over for a newcomer, and a wake-up cannot be lost: a waiter is first in the queue and
//! then looks once more, a slot is first free and then the queue is looked at.
//!
//! A rest or a cooldown that ends makes no noise, so each waiter also serves the queue every
//! [`LOOK_AGAIN`].

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering, fence};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::choose::{Blocked, Core, Pick};
use super::lease::Lease;
use crate::clock::{self, Duration, Instant};

/// How often a waiter looks for what has changed by the mere passing of time.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Why no target could be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SelectError {
    /// No target may be used: all were tried, rest, or are taken out.
    Exhausted {
        /// When the first may be used again, where that is known.
        retry_after: Option<Duration>,
    },
    /// Every slot is taken, and so is every place in the queue.
    QueueFull,
    /// Every slot was taken for as long as the request could wait.
    QueueTimeout,
}

type Served = Result<(Lease, Pick), SelectError>;

#[derive(Debug)]
struct Waiter {
    ticket: u64,
    core: Arc<Core>,
    pick: Pick,
    hand_over: oneshot::Sender<Served>,
}

/// Requests that wait for a slot of one pool.
#[derive(Debug)]
pub(super) struct Queue {
    /// Length of the list, to be read without its lock.
    waiting: AtomicUsize,
    list: Mutex<List>,
}

#[derive(Debug, Default)]
struct List {
    waiters: VecDeque<Waiter>,
    tickets: u64,
}

type HandOvers = Vec<(oneshot::Sender<Served>, Served)>;

impl Queue {
    pub fn new() -> Self {
        Self { waiting: AtomicUsize::new(0), list: Mutex::new(List::default()) }
    }

    /// Number of waiters.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    /// Gives what is free to those who wait, in order. A thorough look also finds those for whom
    /// no target is left; the other one ends at the first who finds all full.
    fn serve(&self, list: &mut List, thorough: bool, now: Instant) -> HandOvers {
        let mut served = Vec::new();
        let mut at = 0;
        while let Some(waiter) = list.waiters.get_mut(at) {
            let result = match waiter.core.acquire(&mut waiter.pick, now) {
                Ok(lease) => Ok(lease),
                Err(Blocked::Full) if thorough || !waiter.pick.tried.is_empty() => {
                    at += 1;
                    continue;
                }
                Err(Blocked::Full) => break,
                Err(Blocked::Exhausted(until)) => Err(exhausted(until, now)),
            };
            let Some(waiter) = list.waiters.remove(at) else { break };
            served.push((waiter.hand_over, result.map(|lease| (lease, waiter.pick))));
        }
        self.waiting.store(list.waiters.len(), Ordering::SeqCst);
        served
    }

    fn remove(&self, ticket: u64) -> bool {
        let mut list = self.list.lock();
        let at = list.waiters.iter().position(|waiter| waiter.ticket == ticket);
        let removed = at.and_then(|at| list.waiters.remove(at));
        self.waiting.store(list.waiters.len(), Ordering::SeqCst);
        drop(list);
        removed.is_some()
    }
}

fn exhausted(until: Option<Instant>, now: Instant) -> SelectError {
    let retry_after = until.map(|until| until.saturating_duration_since(now));
    SelectError::Exhausted { retry_after }
}

/// A lease that nobody takes any more goes back by being dropped, outside the lock.
fn hand_over(served: HandOvers) {
    for (waiter, result) in served {
        drop(waiter.send(result));
    }
}

/// Takes the waiter out of the queue when its future is dropped.
struct Place<'a> {
    queue: &'a Queue,
    ticket: Option<u64>,
}

impl Place<'_> {
    /// Whether the waiter was still in the queue.
    fn leave(&mut self) -> bool {
        self.ticket.take().is_some_and(|ticket| self.queue.remove(ticket))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Core {
    /// A lease without waiting. Nobody overtakes those who wait.
    pub fn try_select(self: &Arc<Self>, pick: &mut Pick, now: Instant) -> Result<Lease, Blocked> {
        if self.shared.queue.waiting() > 0 {
            return Err(self.outlook(pick, now));
        }
        let lease = self.acquire(pick, now)?;
        pick.chosen(lease.index() as u16);
        Ok(lease)
    }

    /// A lease, after waiting where all slots are taken.
    pub async fn select(
        self: &Arc<Self>,
        pick: &mut Pick,
        deadline: Instant,
    ) -> Result<Lease, SelectError> {
        let now = clock::now();
        match self.try_select(pick, now) {
            Ok(lease) => return Ok(lease),
            Err(Blocked::Exhausted(until)) => return Err(exhausted(until, now)),
            Err(Blocked::Full) => {}
        }
        let (lease, after) = self.wait(pick.clone(), deadline, now).await?;
        *pick = after;
        pick.chosen(lease.index() as u16);
        Ok(lease)
    }

    async fn wait(self: &Arc<Self>, pick: Pick, deadline: Instant, mut now: Instant) -> Served {
        let until = deadline.min(now + self.queue.wait.0);
        let (hand_over, mut mine) = oneshot::channel();
        let ticket = self.enqueue(pick, hand_over, now)?;
        let mut place = Place { queue: &self.shared.queue, ticket: Some(ticket) };
        loop {
            let wake = until.min(now + LOOK_AGAIN);
            tokio::select! {
                biased;
                served = &mut mine => {
                    place.ticket = None;
                    return served.unwrap_or(Err(SelectError::QueueTimeout));
                }
                () = tokio::time::sleep_until(wake.into()) => {}
            }
            now = clock::now();
            if now >= until {
                if place.leave() {
                    return Err(SelectError::QueueTimeout);
                }
                // Served this very moment; what was served is on its way.
                return mine.await.unwrap_or(Err(SelectError::QueueTimeout));
            }
            self.serve_queue(false, now);
        }
    }

    /// Joins the end of the queue, and serves it once: nothing that became free before is missed.
    fn enqueue(
        self: &Arc<Self>,
        pick: Pick,
        sender: oneshot::Sender<Served>,
        now: Instant,
    ) -> Result<u64, SelectError> {
        let queue = &self.shared.queue;
        let mut list = queue.list.lock();
        list.tickets += 1;
        let ticket = list.tickets;
        let class = pick.class;
        let waiter = Waiter { ticket, core: Arc::clone(self), pick, hand_over: sender };
        // Behind all of its own class and of those that go first.
        let ahead = list.waiters.iter().rposition(|other| other.pick.class <= class);
        list.waiters.insert(ahead.map_or(0, |at| at + 1), waiter);
        queue.waiting.store(list.waiters.len(), Ordering::SeqCst);
        fence(Ordering::SeqCst);
        let served = queue.serve(&mut list, false, now);
        // The last of the lowest class.
        let over = list.waiters.len() > self.queue.max as usize;
        let turned_away = if over { list.waiters.pop_back() } else { None };
        queue.waiting.store(list.waiters.len(), Ordering::SeqCst);
        drop(list);
        hand_over(served);
        match turned_away {
            Some(last) if last.ticket == ticket => Err(SelectError::QueueFull),
            Some(last) => {
                // One that is gone does not mind.
                let _ = last.hand_over.send(Err(SelectError::QueueFull));
                Ok(ticket)
            }
            None => Ok(ticket),
        }
    }

    /// To be called after a slot was freed; `thorough` after any other change.
    pub fn slot_freed(&self, thorough: bool, now: Instant) {
        fence(Ordering::SeqCst);
        if self.shared.queue.waiting() > 0 {
            self.serve_queue(thorough, now);
        }
    }

    fn serve_queue(&self, thorough: bool, now: Instant) {
        let queue = &self.shared.queue;
        let mut list = queue.list.lock();
        let served = queue.serve(&mut list, thorough, now);
        drop(list);
        hand_over(served);
    }
}
