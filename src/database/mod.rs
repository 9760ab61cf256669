//! The database of record: keys, audit log and ledger share one, which `storage` names. It is a
//! file (`SQLite`, embedded) or a `PostgreSQL` server; nothing is opened where neither is
//! configured.
//!
//! One thread owns the connection and everything reaches it through a bounded queue, so that a
//! database that is locked, full, slow or away can never stop a request: whoever hands work over
//! is told at once when there is no room ([`Database::submit`]) or waits without blocking a worker
//! ([`Database::call`]). How the database is doing ([`Health`]) is judged by that thread from what it
//! was told by the engine, and a call that is still running counts as well. After a failure it
//! connects again by itself.
//!
//! SQL is written once for both engines: parameters as `?1`, columns of the types `BIGINT`, `TEXT` and
//! `BYTEA`, sums cast to `BIGINT`. Tables belong to the rooms above, each of which brings its
//! own [`Migrations`].

mod connection;
mod error;
mod health;
mod migrate;
mod place;
mod postgres;
mod settings;
mod sqlite;
mod thread;
mod value;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};

use tokio::sync::oneshot;

use crate::telemetry::Metrics;

pub use connection::{Connection, Engine};
pub use error::{Error, Fault};
pub use health::{Reading, State};
pub use migrate::{Migration, Migrations};
pub use place::Place;
pub use settings::{Settings, Synchronous};
pub use value::{Row, Value};

use health::Health;
use thread::{Job, Keeper};

/// Pieces of work that may wait for the database.
const QUEUE_JOBS_MAX: usize = 256;

/// The way to the database.
#[derive(Clone)]
pub struct Database {
    jobs: SyncSender<Job>,
    health: Arc<Health>,
    place: Arc<Place>,
}

impl Database {
    /// Starts the thread that owns the connection, which brings the tables of these rooms up to date.
    /// A database that cannot be reached now is tried again; only what no waiting can mend is an
    /// error. The first attempt is over when this returns.
    ///
    /// # Errors
    ///
    /// A message for the operator.
    pub fn open(
        place: Place,
        rooms: &'static [&'static Migrations],
        metrics: Arc<Metrics>,
    ) -> Result<Self, String> {
        place.check()?;
        let place = Arc::new(place);
        let health = Arc::new(Health::new(place.slow()));
        let (jobs, queue) = sync_channel(QUEUE_JOBS_MAX);
        let mut keeper = Keeper::new(Arc::clone(&place), rooms, Arc::clone(&health), metrics);
        keeper.connect_first()?;
        keeper
            .start(queue)
            .map_err(|error| format!("the thread of the database cannot be started: {error}"))?;
        Ok(Self { jobs, health, place })
    }

    /// Hands work over. Never waits. The work is told when there is no connection.
    ///
    /// # Errors
    ///
    /// [`Fault::Busy`]: too much waits already.
    pub fn submit(
        &self,
        work: impl FnOnce(Result<&mut Connection, Error>) + Send + 'static,
    ) -> Result<(), Error> {
        self.jobs.try_send(Box::new(work)).map_err(|refused| match refused {
            TrySendError::Full(_) => Error::busy(),
            TrySendError::Disconnected(_) => Error::ended(),
        })
    }

    /// Has work done and waits for what comes of it.
    pub async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (answer, answered) = oneshot::channel();
        self.submit(move |connection| {
            // Whoever asked may have gone away meanwhile.
            let _ = answer.send(connection.and_then(work));
        })?;
        answered.await.unwrap_or_else(|_| Err(Error::ended()))
    }

    /// The same from a thread that may block: never from a worker.
    pub fn call_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (answer, answered) = oneshot::channel();
        self.submit(move |connection| {
            let _ = answer.send(connection.and_then(work));
        })?;
        answered.blocking_recv().unwrap_or_else(|_| Err(Error::ended()))
    }

    /// How it is doing. A change since the last look is logged.
    pub fn health(&self) -> Reading {
        self.health.look(&self.place)
    }

    /// Where it is: for a connection of one's own, such as a long reading needs.
    pub fn place(&self) -> &Arc<Place> {
        &self.place
    }
}
