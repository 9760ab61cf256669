//! The ledger as administrators read it while weir runs.
//!
//! Whatever is asked runs on a thread and a connection of its own, so that neither a worker nor the
//! database's one thread, which enters records and follows keys, ever waits for it. Few may read at a
//! time; who comes then waits for a turn, and not for ever. Files go out in parts, each read to its end
//! before it is handed on: a client that reads slowly keeps no snapshot of the database open.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc};

use super::export::{Export, Failed, Form, copy};
use super::query::{Cell, Column, Mark, Part};
use super::reconcile::{self, Comparison, Reconciled};
use super::select::Selection;
use crate::database::{Connection, Error, Fault, Place};

/// Questions that are answered at a time.
const READERS_MAX: usize = 2;
/// How long one waits for its turn.
const TURN_WITHIN: Duration = Duration::from_secs(10);
/// A part of a file is handed on when it has so many bytes.
const PART_BYTES: usize = 2 << 20;
/// Parts that wait for the client.
const PARTS_MAX: usize = 2;

/// The way to what is kept.
#[derive(Clone)]
pub struct Archive {
    place: Arc<Place>,
    turns: Arc<Semaphore>,
}

/// A page of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rows {
    /// What its columns are.
    pub columns: Vec<Column>,
    /// Its rows.
    pub rows: Vec<Vec<Cell>>,
    /// After which the next page begins; none where this is the last.
    pub next: Option<Mark>,
}

/// A file, in parts.
#[derive(Debug)]
pub struct Parts {
    first: Option<Bytes>,
    rest: mpsc::Receiver<Result<Bytes, Error>>,
}

impl Parts {
    /// The next part; none after the last. After an error the file is not whole.
    pub async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        match self.first.take() {
            Some(first) => Some(Ok(first)),
            None => self.rest.recv().await,
        }
    }
}

impl Archive {
    /// Of the database at this place.
    pub fn new(place: Arc<Place>) -> Self {
        Self { place, turns: Arc::new(Semaphore::new(READERS_MAX)) }
    }

    /// So many rows of an answer.
    pub async fn page(
        &self,
        selection: Selection,
        after: Option<Mark>,
        rows: u32,
    ) -> Result<Rows, Error> {
        self.read(move |connection| page(connection, &selection, after, rows)).await
    }

    /// The whole answer as a file.
    pub async fn export(&self, selection: Selection, form: Form) -> Result<Parts, Error> {
        let (parts, mut written) = mpsc::channel(PARTS_MAX);
        let failed = parts.clone();
        let reading = self.start(move |connection| {
            let done = connection.and_then(|mut connection| {
                let out = Gathered { parts, waiting: Vec::new() };
                write(&mut connection, &selection, form, out)
            });
            if let Err(error) = done {
                // Nobody is there to be told where the client has gone.
                let _ = failed.blocking_send(Err(error));
            }
        });
        reading.await?;
        let first = written.recv().await.transpose()?;
        Ok(Parts { first, rest: written })
    }

    /// Compares the ledger with what a provider says was used. The inner error is what is wrong with
    /// that.
    pub async fn reconcile(
        &self,
        export: Vec<u8>,
        comparison: Comparison,
    ) -> Result<Result<Reconciled, String>, Error> {
        self.read(move |connection| match reconcile::Export::read(&*export) {
            Ok(export) => export.reconcile(connection, &comparison).map(Ok),
            Err(why) => Ok(Err(why)),
        })
        .await
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (answer, answered) = tokio::sync::oneshot::channel();
        self.start(move |connection| {
            let _ = answer.send(connection.and_then(|mut connection| work(&mut connection)));
        })
        .await?;
        let ended = || Error::new(Fault::Away, "the reading has ended without an answer");
        answered.await.unwrap_or_else(|_| Err(ended()))
    }

    /// Starts work on a thread of its own, when it is its turn.
    async fn start(
        &self,
        work: impl FnOnce(Result<Connection, Error>) + Send + 'static,
    ) -> Result<(), Error> {
        let turn = Arc::clone(&self.turns).acquire_owned();
        let turn = tokio::time::timeout(TURN_WITHIN, turn).await.ok().and_then(Result::ok);
        let busy = || Error::new(Fault::Busy, "too much is being asked of the ledger already");
        let turn = turn.ok_or_else(busy)?;
        let place = Arc::clone(&self.place);
        tokio::task::spawn_blocking(move || {
            work(Connection::open(&place));
            drop(turn);
        });
        Ok(())
    }
}

fn page(
    connection: &mut Connection,
    selection: &Selection,
    after: Option<Mark>,
    limit: u32,
) -> Result<Rows, Error> {
    // One row more than asked for shows whether there is a next page.
    let part = Part { after, limit: Some(u64::from(limit) + 1) };
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    selection.ask(connection, part, &mut |cells| {
        rows.push(cells.to_vec());
        Ok(())
    })?;
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let before = match after {
        Some(Mark::Sums(rows)) => rows,
        _ => 0,
    };
    let last = rows.last().filter(|_| more);
    let next = last.and_then(|last| match selection.by {
        None => Mark::of_record(last),
        Some(_) => Some(Mark::Sums(before.saturating_add(rows.len() as u64))),
    });
    Ok(Rows { columns: selection.columns(), rows, next })
}

fn write(
    connection: &mut Connection,
    selection: &Selection,
    form: Form,
    out: Gathered,
) -> Result<(), Error> {
    let gone = |error: io::Error| Error::new(Fault::Other, error.to_string());
    let mut export = Export::begin(out, form, &selection.columns()).map_err(gone)?;
    copy(connection, selection, None, &mut export).map_err(|failed| match failed {
        Failed::Out(error) => gone(error),
        Failed::Database(error) => error,
    })?;
    export.end().map(drop).map_err(gone)
}

/// Gathers a part of the file and hands it on.
struct Gathered {
    parts: mpsc::Sender<Result<Bytes, Error>>,
    waiting: Vec<u8>,
}

impl Write for Gathered {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.waiting.extend_from_slice(bytes);
        if self.waiting.len() >= PART_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let part = Bytes::from(std::mem::take(&mut self.waiting));
        self.parts.blocking_send(Ok(part)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
