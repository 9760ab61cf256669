//! The ledger of record: from the end of a request to a row in the database, off the hot path.
//!
//! 1. [`Books::enter`] appends an entry to a buffer of its thread: no other work is done there.
//! 2. Every `ledger.sync`, or after `ledger.batch` records, the thread `weir-ledger` takes the buffers
//!    away, writes what they hold to the journal as one frame and brings it to the disk. From then on a
//!    record survives the process.
//! 3. About once a second it hands what waits to the database, which takes it in one transaction,
//!    together with how far it has read the journal.
//!
//! A database that is away leaves the journal to grow, up to `ledger.size`. A journal that cannot be
//! written leaves memory to fill, up to `ledger.memory`; a database that answers is then fed from
//! memory. Only when both are full are records lost, and counted. [`Standing`] says which of these
//! holds.

mod block;
mod direct;
mod frame;
mod insert;
mod journal;
mod keeper;
mod pending;
mod retain;
mod table;

#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use parking_lot::Mutex;

use super::Settings;
use super::entry::Encoder;
use super::record::Record;
use crate::clock::{Duration, Instant};
use crate::database::{Connection, Database, Error, Place};
use crate::telemetry::Sharded;

pub use crate::telemetry::{LedgerState as State, LiveLedger as Standing};

pub use block::{block_from, next_block};
pub use retain::{DAYS_FROM, HOURS_FROM, RECORDS_FROM, kept_from};
pub use table::{DAY_MS, HOUR_MS, MIGRATIONS, SUMS};

use keeper::Keeper;

/// Bytes of entries of one thread that may wait to be taken away.
const WAITING_BYTES_MAX: usize = 4 << 20;
/// With so many bytes of entries they are put to those that wait.
const FRESH_BYTES_MAX: usize = 16 << 10;
/// A thread tells the others of the records in its buffer at most this many at a time.
const STEP_MAX: u64 = 64;

/// Where finished requests are entered for the database.
pub struct Books {
    waiting: Sharded<Mutex<Waiting>>,
    /// Records in all buffers, each rounded down to a multiple of `step`.
    told: AtomicU64,
    step: u64,
    /// With so many of them the thread is woken: no more than `ledger.batch` wait then.
    wake_records: u64,
    asleep: AtomicBool,
    stopping: AtomicBool,
    lost: AtomicU64,
    /// Records of earlier processes that the database does not have yet; the greatest number until
    /// that is known.
    recovering: AtomicU64,
    standing: Mutex<Standing>,
    keeper: Mutex<Option<thread::Thread>>,
}

/// Whole entries, and how many.
///
/// Others read what waits, and by the time that a buffer comes back it is in no cache of this thread's. A
/// line that is not there takes as long as writing the rest of an entry, while many that follow one
/// another are fetched together. So an entry is written where the last one was, and many go from
/// there to those that wait.
#[derive(Default)]
struct Waiting {
    entries: Vec<u8>,
    /// Those behind them.
    fresh: Vec<u8>,
    count: u64,
    encoder: Encoder,
}

impl Waiting {
    /// Exchanges the buffer for an empty one. How many records are in it.
    fn take(&mut self, buffer: &mut Vec<u8>) -> u64 {
        self.gather();
        std::mem::swap(&mut self.entries, buffer);
        self.encoder.next_buffer();
        std::mem::take(&mut self.count)
    }

    fn enter(&mut self, record: &Record) {
        self.encoder.write(record, &mut self.fresh);
        self.count += 1;
        if self.fresh.len() >= FRESH_BYTES_MAX {
            self.gather();
        }
    }

    /// Puts the fresh entries to the others.
    fn gather(&mut self) {
        self.entries.extend_from_slice(&self.fresh);
        self.encoder.moves(self.fresh.len());
        self.fresh.clear();
    }
}

/// The thread. Dropping it stops it, after a short last chance to write what waits.
#[must_use = "dropping it stops the ledger"]
pub struct BooksThread {
    books: Arc<Books>,
    thread: Option<JoinHandle<()>>,
}

impl Books {
    /// Takes over what an earlier process has left in the journal and starts the thread.
    ///
    /// # Errors
    ///
    /// The thread cannot be started, or there is no place for a journal.
    pub fn start(
        database: &Database,
        settings: &Settings,
    ) -> Result<(Arc<Self>, BooksThread), String> {
        let root = folder(database.place(), settings)?;
        let waiting = Sharded::new(Mutex::default);
        let shards = waiting.iter().count() as u64;
        let batch = u64::from(settings.batch);
        let step = (batch / (8 * shards)).clamp(1, STEP_MAX);
        let books = Arc::new(Self {
            waiting,
            told: AtomicU64::new(0),
            step,
            wake_records: batch.saturating_sub(shards * (step - 1)).max(1),
            asleep: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            lost: AtomicU64::new(0),
            recovering: AtomicU64::new(u64::MAX),
            standing: Mutex::default(),
            keeper: Mutex::new(None),
        });
        let keeper = Keeper::new(Arc::clone(&books), database.clone(), settings.clone(), root);
        let thread = thread::Builder::new()
            .name("weir-ledger".into())
            .spawn(move || keeper.run())
            .map_err(|error| format!("the thread of the ledger cannot be started: {error}"))?;
        *books.keeper.lock() = Some(thread.thread().clone());
        let thread = BooksThread { books: Arc::clone(&books), thread: Some(thread) };
        Ok((books, thread))
    }

    /// Enters a request that is over.
    pub fn enter(&self, record: &Record) {
        let told = {
            // Held by others for no longer than it takes to put the fresh ones to it and exchange it.
            let mut waiting = self.waiting.own().lock();
            if waiting.entries.len() >= WAITING_BYTES_MAX {
                self.lost.fetch_add(1, Ordering::Relaxed);
                return;
            }
            waiting.enter(record);
            if !waiting.count.is_multiple_of(self.step) {
                return;
            }
            self.told.fetch_add(self.step, Ordering::Relaxed) + self.step
        };
        if told >= self.wake_records && self.asleep.swap(false, Ordering::AcqRel) {
            self.wake();
        }
    }

    /// Takes what waits in one of the buffers, and leaves an empty one. How many records that is.
    fn take(&self, waiting: &Mutex<Waiting>, buffer: &mut Vec<u8>) -> u64 {
        let mut waiting = waiting.lock();
        let count = waiting.take(buffer);
        self.told.fetch_sub(count - count % self.step, Ordering::Relaxed);
        count
    }

    /// How it stands.
    pub fn standing(&self) -> Standing {
        let mut standing = self.standing.lock().clone();
        standing.lost = self.lost.load(Ordering::Relaxed);
        standing
    }

    /// Whether the database has all records of earlier processes that a journal had.
    pub fn has_recovered(&self) -> bool {
        self.recovering.load(Ordering::Acquire) == 0
    }

    #[cold]
    fn wake(&self) {
        if let Some(keeper) = &*self.keeper.lock() {
            keeper.unpark();
        }
    }
}

/// Where the journal is.
///
/// # Errors
///
/// The setting that is missing.
pub fn folder(place: &Place, settings: &Settings) -> Result<PathBuf, String> {
    if let Some(folder) = &settings.journal {
        return Ok(folder.clone());
    }
    let Some(path) = place.path() else {
        return Err(
            "ledger.journal: with `storage.url` the journal needs a folder of its own".into()
        );
    };
    let mut name = path.as_os_str().to_owned();
    name.push(".journal");
    Ok(name.into())
}

/// The journals in a folder.
pub fn journals(root: &Path) -> io::Result<Vec<PathBuf>> {
    journal::folders(root)
}

/// The number of a journal's first record that the database does not have.
pub fn applied(connection: &mut Connection, journal: &str) -> Result<u64, Error> {
    Ok(table::known_journal(connection, journal)?.map_or(0, |(_, before)| before))
}

/// Records of a journal from this number on, and batches that were not written to their end. `None`
/// if a process holds it. Nothing of it is changed.
pub fn waiting(journal: &Path, before: u64) -> io::Result<Option<(u64, u64)>> {
    let bounds = journal::Bounds { bytes_max: 0, reserve_bytes: 0 };
    let taken = journal::Journal::take_over(journal, bounds)?;
    Ok(taken.map(|(_held, taken)| {
        let waits = taken.frames.iter().filter(|placed| placed.before() > before);
        (waits.map(|placed| placed.count).sum(), taken.torn)
    }))
}

impl BooksThread {
    /// Writes what waits and stops. What the database does not take within `patience` stays in the
    /// journal. False if the thread did not come to its end.
    pub fn stop(mut self, patience: Duration) -> bool {
        self.finish(patience)
    }

    fn finish(&mut self, patience: Duration) -> bool {
        let Some(thread) = self.thread.take() else { return true };
        self.books.stopping.store(true, Ordering::Release);
        let give_up = Instant::now() + patience;
        while !thread.is_finished() {
            if Instant::now() >= give_up {
                return false;
            }
            self.books.wake();
            thread::sleep(Duration::from_millis(1));
        }
        thread.join().is_ok()
    }
}

impl Drop for BooksThread {
    fn drop(&mut self) {
        self.finish(Duration::from_secs(1));
    }
}
