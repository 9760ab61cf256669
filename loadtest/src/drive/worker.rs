//! One load thread: a clock that says what is due, and connections that send it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::LocalSet;

use super::mix::Prepared;
use super::{Load, Pace, Reading, Stats};
use crate::client::{Connection, Failure};
use crate::timer::{Deadline, Timer};

/// Most requests that wait for a connection; what is due beyond that is counted as not sent.
const BACKLOG_MAX: usize = 200_000;

/// Which part of the load a thread does.
#[derive(Debug)]
pub struct Part {
    /// Which thread.
    pub index: usize,
    /// Of how many.
    pub threads: usize,
    /// When the load begins.
    pub started: Instant,
}

/// A request that is due.
#[derive(Clone, Copy)]
struct Job {
    due: Instant,
    sequence: u64,
}

struct Worker {
    load: Load,
    part: Part,
    stats: Arc<Mutex<Stats>>,
    backlog: RefCell<VecDeque<Job>>,
    ready: Notify,
    /// Nothing more will be due.
    over: Cell<bool>,
    sequence: Cell<u64>,
}

/// Does one thread's part and returns when the last answer is in.
pub fn run(load: &Load, part: Part, stats: &Arc<Mutex<Stats>>) {
    if let Some(core) = load.cores.iter().cycle().nth(part.index) {
        weir_loadtest::cores::pin_thread(*core);
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return eprintln!("weir-loadtest: no runtime for load: {error}"),
    };
    let connections = (0..load.connections).filter(|n| n % part.threads == part.index).count();
    let worker = Rc::new(Worker {
        load: load.clone(),
        part,
        stats: Arc::clone(stats),
        backlog: RefCell::default(),
        ready: Notify::new(),
        over: Cell::new(false),
        sequence: Cell::new(0),
    });
    LocalSet::new().block_on(&runtime, async move {
        let senders: Vec<_> = (0..connections)
            .map(|_| {
                let worker = Rc::clone(&worker);
                tokio::task::spawn_local(async move { worker.send_all().await })
            })
            .collect();
        if let Pace::Open { per_second } = worker.load.pace {
            worker.keep_time(per_second).await;
        }
        for sender in senders {
            if sender.await.is_err() {
                eprintln!("weir-loadtest: a connection's task panicked");
            }
        }
    });
}

impl Worker {
    fn with_stats<T>(&self, change: impl FnOnce(&mut Stats) -> T) -> T {
        change(&mut self.stats.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn ends(&self) -> Instant {
        self.part.started + self.load.duration
    }

    /// Whether a request that was due at this time counts.
    fn counts(&self, due: Instant) -> bool {
        due >= self.part.started + self.load.warmup
    }

    /// Puts every request into the backlog at the time that the rate says, whatever the answers.
    async fn keep_time(&self, per_second: f64) {
        let mut timer = Timer::new();
        let mut sequence = self.part.index as u64;
        loop {
            let due = self.part.started + Duration::from_secs_f64(sequence as f64 / per_second);
            if due >= self.ends() {
                break;
            }
            timer.until(due).await;
            let mut backlog = self.backlog.borrow_mut();
            if self.counts(due) {
                self.with_stats(|stats| stats.due += 1);
            }
            if backlog.len() < BACKLOG_MAX {
                backlog.push_back(Job { due, sequence });
            } else {
                self.with_stats(|stats| stats.fail(Failure::NotSent));
            }
            drop(backlog);
            self.ready.notify_one();
            sequence += self.part.threads as u64;
        }
        self.over.set(true);
        self.ready.notify_waiters();
    }

    /// The next request for a free connection; none at the end.
    async fn next(&self) -> Option<Job> {
        if self.load.pace == Pace::Closed {
            let now = Instant::now();
            if now < self.part.started {
                tokio::time::sleep_until(self.part.started.into()).await;
            }
            if now >= self.ends() {
                return None;
            }
            let sequence = self.sequence.get();
            self.sequence.set(sequence + 1);
            let due = now.max(self.part.started);
            if self.counts(due) {
                self.with_stats(|stats| stats.due += 1);
            }
            return Some(Job { due, sequence });
        }
        loop {
            let notified = self.ready.notified();
            let (job, more) = {
                let mut backlog = self.backlog.borrow_mut();
                (backlog.pop_front(), !backlog.is_empty())
            };
            if job.is_some() {
                if more {
                    // Several may have come due at one turn of the clock; wake the next in line.
                    self.ready.notify_one();
                }
                return job;
            }
            if self.over.get() {
                return None;
            }
            notified.await;
        }
    }

    /// One connection's life: takes what is due until nothing more will be.
    async fn send_all(&self) {
        let mut connection = None;
        let mut reading = Reading::default();
        let mut deadline = Deadline::new();
        while let Some(job) = self.next().await {
            let kind = self.load.mix.pick(job.sequence);
            self.with_stats(|stats| stats.in_flight += 1);
            let sent = Instant::now();
            let exchange = self.exchange(&mut connection, &mut reading, kind);
            let result = deadline.within(job.due + self.load.timeout, exchange).await;
            let result = result.unwrap_or(Err(Failure::Timeout));
            let ended = Instant::now();
            if result.is_err() || !connection.as_ref().is_some_and(Connection::reusable) {
                connection = None;
            }
            let judged = result.and_then(|()| reading.end(kind, self.load.validate));
            self.book(job, kind, sent, ended, judged, &mut reading);
        }
    }

    fn book(
        &self,
        job: Job,
        kind: &Prepared,
        sent: Instant,
        ended: Instant,
        judged: Result<super::Answer, Failure>,
        reading: &mut Reading,
    ) {
        self.with_stats(|stats| {
            stats.in_flight -= 1;
            if !self.counts(job.due) {
                return;
            }
            let answer = reading.seen();
            stats.bytes_out += kind.wire.len() as u64;
            stats.body_bytes_in += answer.body_bytes;
            stats.frames += answer.frames;
            stats.tokens += answer.tokens;
            stats.streams_complete += u64::from(answer.terminal);
            reading.take_gaps(&mut stats.frame_gap);
            if let Some(first) = answer.first {
                stats.ttft.record(first.saturating_duration_since(job.due));
            }
            match judged {
                Ok(_) => {
                    let total = ended.saturating_duration_since(job.due);
                    stats.ok += 1;
                    stats.total.record(total);
                    if self.load.progress {
                        stats.recent.record(total);
                    }
                    stats.service.record(ended.saturating_duration_since(sent));
                }
                Err(failure) => stats.fail(failure),
            }
        });
    }

    /// Sends one request and reads its answer. A reused connection that turns out to have been
    /// closed is replaced once, as every client does (RFC 9112, 9.3.1); that is counted.
    async fn exchange(
        &self,
        connection: &mut Option<Connection>,
        reading: &mut Reading,
        kind: &Prepared,
    ) -> Result<(), Failure> {
        if connection.as_ref().is_some_and(Connection::closed_while_idle) {
            *connection = None;
        }
        loop {
            let open = if let Some(open) = connection {
                open
            } else {
                let opened = Connection::open(self.load.target).await;
                let opened = opened.map_err(|error| Failure::connecting(&error))?;
                self.with_stats(|stats| stats.connects += 1);
                connection.insert(opened)
            };
            reading.begin(kind.endpoint);
            let result = match open.send(&kind.wire).await {
                Ok(()) => open.receive(reading).await,
                Err(failure) => Err(failure),
            };
            match result {
                Err(Failure::Stale) => {
                    *connection = None;
                    self.with_stats(|stats| stats.stale_resent += 1);
                }
                result => return result,
            }
        }
    }
}
