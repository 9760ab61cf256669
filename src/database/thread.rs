//! The thread that owns the connection.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use super::connection::Shown;
use super::health::Health;
use super::migrate::{Migrations, migrate};
use super::{Connection, Engine, Error, Fault, Place};
use crate::clock::Instant;
use crate::telemetry::Metrics;

/// Work for the thread. It is told when there is no connection.
pub(super) type Job = Box<dyn FnOnce(Result<&mut Connection, Error>) + Send>;

/// Between two attempts to connect; work that comes in between is told of the last one.
const CONNECT_EVERY: Duration = Duration::from_secs(1);
/// How often an idle thread looks whether it still is connected.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What the thread has.
pub(super) struct Keeper {
    place: Arc<Place>,
    rooms: &'static [&'static Migrations],
    health: Arc<Health>,
    metrics: Arc<Metrics>,
    connection: Option<Connection>,
    /// Why there is no connection, and since when that is known.
    refused: Option<(Instant, Error)>,
    /// What went wrong last, until something goes well.
    trouble: Option<Fault>,
}

impl Keeper {
    pub(super) fn new(
        place: Arc<Place>,
        rooms: &'static [&'static Migrations],
        health: Arc<Health>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { place, rooms, health, metrics, connection: None, refused: None, trouble: None }
    }

    /// The first attempt, on the caller's thread: what no waiting can mend ends the start.
    pub(super) fn connect_first(&mut self) -> Result<(), String> {
        match self.connect() {
            Ok(()) => log::info!("storage: {}", self.place),
            Err(error)
                if matches!(error.fault, Fault::Other | Fault::Corrupt | Fault::Constraint) =>
            {
                return Err(format!("storage: {}: {error}", self.place));
            }
            Err(_) => drop(self.health.look(&self.place)),
        }
        Ok(())
    }

    /// Runs until the other ends of the queue are gone, and then what still waits.
    pub(super) fn start(self, queue: Receiver<Job>) -> io::Result<()> {
        std::thread::Builder::new()
            .name("weir-database".into())
            .spawn(move || self.work(&queue))
            .map(drop)
    }

    fn work(mut self, queue: &Receiver<Job>) {
        loop {
            match queue.recv_timeout(LOOK_EVERY) {
                Ok(job) => self.run(job),
                Err(RecvTimeoutError::Timeout) => self.look(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn run(&mut self, job: Job) {
        let began = Instant::now();
        self.health.begins(began);
        match self.connected() {
            Ok(()) => {
                if let Some(connection) = &mut self.connection {
                    job(Ok(connection));
                }
                self.judge(began);
            }
            Err(error) => job(Err(error)),
        }
        self.health.ends();
    }

    /// What a piece of work has shown.
    fn judge(&mut self, began: Instant) {
        let Some(connection) = &mut self.connection else { return };
        match connection.shown() {
            Shown::Nothing => {}
            Shown::Well => self.well(began),
            Shown::Failed(error) => {
                // A file is opened anew as well: what failed may be another file by now.
                if error.fault == Fault::Away || connection.is_closed() {
                    self.connection = None;
                }
                self.failed(&error);
            }
        }
    }

    fn well(&mut self, began: Instant) {
        self.trouble = None;
        self.health.well(began.elapsed());
    }

    fn failed(&mut self, error: &Error) {
        self.trouble = Some(error.fault);
        self.metrics.storage_error(error.fault.as_str());
        self.health.away(error.message.clone());
    }

    /// Makes a connection where there is none, but not too often.
    fn connected(&mut self) -> Result<(), Error> {
        if self.connection.as_ref().is_some_and(Connection::is_closed) {
            self.connection = None;
        }
        if self.connection.is_some() {
            return Ok(());
        }
        if let Some((at, error)) = &self.refused
            && at.elapsed() < CONNECT_EVERY
        {
            return Err(error.clone());
        }
        self.connect()
    }

    fn connect(&mut self) -> Result<(), Error> {
        let began = Instant::now();
        let opened = Connection::open(&self.place)
            .and_then(|mut connection| migrate(&mut connection, self.rooms).map(|()| connection));
        match opened {
            Ok(mut connection) => {
                let _ = connection.shown();
                self.connection = Some(connection);
                self.refused = None;
                self.well(began);
                Ok(())
            }
            Err(error) => {
                self.failed(&error);
                self.refused = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    /// Nothing was asked for a while: whether a server is still there, and whether what stood in the
    /// way of the last work still does. What only writing can tell, the next work will.
    fn look(&mut self) {
        if self.connected().is_err() {
            return;
        }
        let server = self.place.engine() == Engine::Postgres;
        let telling = match self.trouble {
            None => server,
            Some(Fault::Locked | Fault::Timeout | Fault::Away) => true,
            Some(_) => false,
        };
        if let Some(connection) = self.connection.as_mut().filter(|_| telling) {
            let began = Instant::now();
            self.health.begins(began);
            // Its outcome shows on the connection.
            let _ = connection.batch(if server { "SELECT 1" } else { "BEGIN IMMEDIATE; ROLLBACK" });
            self.judge(began);
            self.health.ends();
        }
    }
}
