//! What weir keeps of its own answers: responses that a client goes on from by their id, where the
//! provider keeps none.
//!
//! They are in an embedded database, in memory or in a file, which only the thread `weir-store`
//! touches. Everything goes through one bounded queue, in order: what was handed over to be kept is
//! found by whoever asks after that. Handing over never waits; when the queue is full, the response is
//! not kept, which is counted and logged. Each response belongs to the caller that it was given to,
//! and nobody else finds it.

mod database;
mod settings;
mod thread;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::telemetry::Metrics;
use thread::Job;

pub use settings::Settings;

/// Requests that may wait for the database.
const QUEUE_JOBS_MAX: usize = 1024;
/// Bytes of responses that may wait to be kept.
const QUEUE_BYTES_MAX: u64 = 64 << 20;
/// Turns of one conversation that are followed back.
const TURNS_MAX: usize = 1024;

/// A response to keep.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Whose it is.
    pub owner: Arc<str>,
    /// What it is called.
    pub id: Box<str>,
    /// The response that it continues.
    pub previous: Option<Box<str>>,
    /// What was asked: the elements of a JSON array.
    pub input: Bytes,
    /// The response itself, a JSON object.
    pub response: Bytes,
}

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// What was asked: the elements of a JSON array.
    pub input: Bytes,
    /// What was answered, a JSON object.
    pub response: Bytes,
}

/// Why nothing can be said of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// Too much waits for the database.
    Busy,
    /// The conversation is longer than what may be taken at once.
    TooLong,
    /// The database failed; the log says how.
    Failed,
}

/// The way to the database.
pub struct Store {
    jobs: mpsc::Sender<Job>,
    metrics: Arc<Metrics>,
    /// Something was kept at some time: until then nobody needs to ask.
    used: AtomicBool,
    waiting_bytes: Arc<AtomicU64>,
}

impl Store {
    /// Opens the database and starts its thread.
    ///
    /// # Errors
    ///
    /// A message for the operator.
    pub fn open(path: Option<&PathBuf>, metrics: Arc<Metrics>) -> Result<Arc<Self>, String> {
        let database = match path {
            Some(path) => Some(database::Database::open(Some(path)).map_err(|error| {
                format!("responses cannot be kept in {}: {error}", path.display())
            })?),
            None => None,
        };
        let used = AtomicBool::new(database.as_ref().is_some_and(|known| !known.is_empty()));
        let waiting_bytes = Arc::new(AtomicU64::new(0));
        let (jobs, queue) = mpsc::channel(QUEUE_JOBS_MAX);
        thread::start(database, queue, Arc::clone(&waiting_bytes))
            .map_err(|error| format!("the thread of the store cannot be started: {error}"))?;
        Ok(Arc::new(Self { jobs, metrics, used, waiting_bytes }))
    }

    /// Whether something was kept at some time: until then nobody needs to ask.
    pub fn is_used(&self) -> bool {
        self.used.load(Ordering::Acquire)
    }

    /// Hands a response over to be kept. Never waits.
    pub fn keep(&self, kept: Kept, settings: &Settings) {
        let bytes = (kept.input.len() + kept.response.len()) as u64;
        if bytes > settings.size.0 {
            return self.lost("larger than all that may be kept");
        }
        if self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed) > QUEUE_BYTES_MAX {
            self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
            return self.lost("too much waits to be kept");
        }
        self.used.store(true, Ordering::Release);
        let expires_s = crate::clock::unix_ms() / 1000 + settings.expiry.0.as_secs();
        let job = Job::Keep { kept: Box::new(kept), expires_s, bytes_max: settings.size.0 };
        if self.jobs.try_send(job).is_err() {
            self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.lost("too much waits to be kept");
        }
    }

    fn lost(&self, why: &str) {
        self.metrics.log_dropped("responses", 1);
        log::warn!("a response was not kept: {why}");
    }

    /// The turns of the conversation that ends with a response, the oldest first, if the caller has
    /// such a response and all of those before it.
    pub async fn conversation(
        &self,
        owner: &Arc<str>,
        id: &str,
        bytes_max: u64,
    ) -> Result<Option<Vec<Turn>>, StoreError> {
        if !self.is_used() {
            return Ok(None);
        }
        let (owner, id) = (Arc::clone(owner), id.into());
        self.ask(|answer| Job::Conversation { owner, id, bytes_max, answer }).await
    }

    /// One response.
    pub async fn response(&self, owner: &Arc<str>, id: &str) -> Result<Option<Turn>, StoreError> {
        if !self.is_used() {
            return Ok(None);
        }
        let (owner, id) = (Arc::clone(owner), id.into());
        self.ask(|answer| Job::Response { owner, id, answer }).await
    }

    /// Forgets a response. False if the caller has no such response.
    pub async fn delete(&self, owner: &Arc<str>, id: &str) -> Result<bool, StoreError> {
        if !self.is_used() {
            return Ok(false);
        }
        let (owner, id) = (Arc::clone(owner), id.into());
        self.ask(|answer| Job::Delete { owner, id, answer }).await
    }

    /// Waits until everything that was handed over is kept. To be called before the process ends.
    pub async fn written(&self) -> Result<(), StoreError> {
        self.ask(|answer| Job::Reached { answer }).await
    }

    async fn ask<T>(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Job,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.jobs.try_send(job(answer)).map_err(|_| StoreError::Busy)?;
        answered.await.unwrap_or(Err(StoreError::Failed))
    }
}

#[cfg(test)]
mod tests;
