//! The thread that brings records to the journal and on to the database.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use super::State;
use super::journal::{self, Bounds, Journal, Placed, Taken};
use super::pending::{BATCH_BYTES_MAX, Left, PENDING_MAX, Pending, join};
use super::retain::Retention;
use super::table::{self, Batch, Entered, Frame, Table};
use super::{Books, Settings};
use crate::clock::{self, Duration, Instant};
use crate::database::{self, Database};

/// How often the database is given what waits, unless much does.
const APPLY_EVERY: Duration = Duration::from_secs(1);
/// With so many records waiting it is not waited for.
const APPLY_RECORDS: u64 = BATCH_RECORDS_MAX;
/// Most records of one transaction.
const BATCH_RECORDS_MAX: u64 = 16 * 1024;
/// After a failure, how long until the next attempt.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Entries that stay in memory although the journal has them.
const CACHED_BYTES_MAX: usize = 8 << 20;
/// Empty buffers that are kept while there is much to do, and the most bytes of one and of all: what
/// waits for the database under load.
const SPARES_MAX: usize = 128;
const SPARE_BYTES_MAX: usize = 1 << 20;
const SPARES_BYTES_MAX: usize = 8 << 20;
/// The same while nothing waits.
const SPARES_IDLE_MAX: usize = 2;
/// How often is looked for journals that nobody holds, and for space that the reserve lacks.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How far numbers go on after a journal was taken over while the database could not say how far it
/// had read: beyond anything that it may have been given without the journal.
const UNKNOWN_RECORDS: u64 = 1 << 32;
/// How long a stop waits for the database.
const STOP_PATIENCE: Duration = Duration::from_secs(3);
/// Least time between two reports of the same trouble.
const SAY_EVERY: Duration = Duration::from_secs(30);

/// What comes back from the database's thread.
struct Outcome {
    batch: Batch,
    table: Table,
    result: Result<Entered, database::Error>,
}

pub(super) struct Keeper {
    books: Arc<Books>,
    database: Database,
    settings: Settings,
    root: PathBuf,
    journal: Option<Journal>,
    /// What the own journal is called, or will be.
    name: Arc<str>,
    /// Number of the next record.
    next: u64,
    /// Number of the first record of this process.
    own: u64,
    pending: VecDeque<Pending>,
    /// Empty buffers: made and let go over and over, each would be grown anew to its size.
    spares: Vec<Vec<u8>>,
    left: Vec<Left>,
    /// Journals that could not be taken over, which was said.
    refused: HashSet<PathBuf>,
    /// Away while the database works with it.
    table: Option<Table>,
    outcomes: (Sender<Outcome>, Receiver<Outcome>),
    retention: Retention,
    applied: Option<Instant>,
    retry: Option<Instant>,
    looked: Option<Instant>,
    journal_trouble: Option<String>,
    database_trouble: Option<String>,
    said: Option<Instant>,
}

impl Keeper {
    pub(super) fn new(
        books: Arc<Books>,
        database: Database,
        settings: Settings,
        root: PathBuf,
    ) -> Self {
        Self {
            books,
            retention: Retention::new(&settings),
            database,
            settings,
            root,
            journal: None,
            name: format!("{:016x}", rand::random::<u64>()).into(),
            next: 0,
            own: 0,
            pending: VecDeque::new(),
            spares: Vec::new(),
            left: Vec::new(),
            refused: HashSet::new(),
            table: Some(Table::default()),
            outcomes: channel(),
            applied: None,
            retry: None,
            looked: None,
            journal_trouble: None,
            database_trouble: None,
            said: None,
        }
    }

    pub(super) fn run(mut self) {
        self.take_over();
        let mut give_up = None;
        loop {
            // Read before the buffers are, so that what was entered before the stop is written.
            let stopping = self.books.stopping.load(Ordering::Acquire);
            self.look();
            self.collect();
            self.write();
            self.take_outcomes();
            self.apply(stopping);
            self.retire();
            self.report();
            if stopping {
                let give_up = *give_up.get_or_insert_with(|| Instant::now() + STOP_PATIENCE);
                let done = self.pending.is_empty() && self.table.is_some();
                if done || Instant::now() >= give_up {
                    return self.end();
                }
                thread::park_timeout(Duration::from_millis(5));
                continue;
            }
            self.books.asleep.store(true, Ordering::Release);
            thread::park_timeout(self.settings.sync.0);
            self.books.asleep.store(false, Ordering::Release);
        }
    }

    fn bounds(&self) -> Bounds {
        Bounds { bytes_max: self.settings.size.0, reserve_bytes: self.settings.reserve.0 }
    }

    /// Journals that nobody holds: the first one is gone on with, the others are only emptied.
    fn take_over(&mut self) {
        let folders = match journal::folders(&self.root) {
            Ok(folders) => folders,
            Err(error) => {
                self.journal_trouble = Some(format!("{}: {error}", self.root.display()));
                return;
            }
        };
        for folder in folders {
            match Journal::take_over(&folder, self.bounds()) {
                Ok(None) => {}
                Ok(Some((journal, found))) => self.found(journal, &found),
                Err(error) => {
                    if self.refused.insert(folder.clone()) {
                        let name = folder.display();
                        log::error!("ledger: the journal {name} cannot be taken over: {error}");
                    }
                }
            }
        }
    }

    fn found(&mut self, mut journal: Journal, found: &Taken) {
        let name = journal.name.clone();
        let known = self.database.call_blocking(move |connection| {
            table::known_journal(connection, &name).map(|known| known.map_or(0, |(_, at)| at))
        });
        let before = known.as_ref().copied().unwrap_or_default();
        let waits = |placed: &&Placed| placed.before() > before;
        let frames: VecDeque<Placed> = found.frames.iter().filter(waits).copied().collect();
        let records: u64 = frames.iter().map(|placed| placed.count).sum();
        let (torn, torn_records) = (found.torn, found.torn_records);
        let at_most = if known.is_ok() { "" } else { "at most " };
        let name = &journal.name;
        if records > 0 {
            log::info!("ledger: {at_most}{records} records taken over from the journal {name}");
        }
        if torn > 0 {
            log::warn!(
                "ledger: {torn} batch of the journal {name} was not written to its end: up to \
                 {torn_records} records of it are lost"
            );
        }
        {
            let mut standing = self.books.standing.lock();
            standing.recovered += records;
            standing.torn += torn;
        }
        if self.journal.is_some() {
            self.left.push(Left { journal, frames });
            return;
        }
        journal.skip_to(match known {
            Ok(known) => known,
            Err(_) => journal.next() + UNKNOWN_RECORDS,
        });
        self.name = journal.name.as_str().into();
        self.next = journal.next();
        self.own = self.next;
        self.journal = Some(journal);
        self.pending.extend(frames.into_iter().map(|placed| Pending {
            first: placed.first,
            count: placed.count,
            entries: None,
            bytes: placed.bytes(),
            placed: Some(placed),
        }));
    }

    /// Now and then: a journal where there is none, space for the reserve, and what others left.
    fn look(&mut self) {
        let soon = self.journal.is_none() || self.journal_trouble.is_some();
        let every = if soon { RETRY_AFTER } else { LOOK_EVERY };
        if self.looked.is_some_and(|looked| looked.elapsed() < every) {
            return;
        }
        let first = self.looked.replace(Instant::now()).is_none();
        if self.journal.is_none() {
            match Journal::create(&self.root, self.name.to_string(), self.bounds()) {
                Ok(journal) => self.journal = Some(journal),
                Err(error) => {
                    self.journal_trouble = Some(format!("{}: {error}", self.root.display()));
                    return;
                }
            }
        }
        if let Some(journal) = &mut self.journal
            && let Err(error) = journal.reserve()
            && first
        {
            log::warn!("ledger: the journal cannot take its reserve in advance: {error}");
        }
        if !first {
            self.take_over();
        }
    }

    /// Takes the buffers away, unless memory is full.
    fn collect(&mut self) {
        let books = Arc::clone(&self.books);
        let before = self.next;
        for waiting in books.waiting.iter() {
            if self.memory_bytes() >= self.settings.memory.as_usize() {
                return;
            }
            let mut entries = self.spares.pop().unwrap_or_default();
            let count = books.take(waiting, &mut entries);
            if count == 0 {
                self.spare(entries);
                continue;
            }
            // One frame a tick, so that the disk is asked once.
            let joined = self.pending.back_mut().filter(|last| {
                last.placed.is_none() && last.bytes + entries.len() <= BATCH_BYTES_MAX
            });
            match joined
                .and_then(|last| Some((last.entries.as_mut()?, &mut last.count, &mut last.bytes)))
            {
                Some((into, frame_count, bytes)) => {
                    into.extend_from_slice(&entries);
                    *bytes = into.len();
                    *frame_count += count;
                    self.spare(entries);
                }
                None => self.pending.push_back(Pending {
                    first: self.next,
                    count,
                    bytes: entries.len(),
                    entries: Some(entries),
                    placed: None,
                }),
            }
            self.next += count;
        }
        if self.next == before && self.pending.is_empty() {
            self.spares.truncate(SPARES_IDLE_MAX);
        }
    }

    /// Keeps a buffer for what comes, unless there are enough.
    fn spare(&mut self, mut buffer: Vec<u8>) {
        let kept: usize = self.spares.iter().map(Vec::capacity).sum();
        let fits = buffer.capacity() <= SPARE_BYTES_MAX.min(SPARES_BYTES_MAX.saturating_sub(kept));
        if self.spares.len() < SPARES_MAX && fits {
            buffer.clear();
            self.spares.push(buffer);
        }
    }

    /// Bytes of entries in memory.
    fn memory_bytes(&self) -> usize {
        self.pending.iter().map(|pending| pending.entries.as_ref().map_or(0, Vec::len)).sum()
    }

    /// Writes to the journal what is not in it.
    fn write(&mut self) {
        let Some(journal) = &mut self.journal else { return };
        let mut result = Ok(());
        for pending in self.pending.iter_mut().filter(|pending| pending.placed.is_none()) {
            // The database has it just now; it comes back if it is not taken.
            let Some(entries) = &pending.entries else { break };
            match journal.append(pending.first, pending.count, entries) {
                Ok(placed) => pending.placed = Some(placed),
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
        self.journal_trouble =
            result.and_then(|()| journal.sync()).err().map(|error| error.to_string());
        // What the journal has need not be in memory: the newest are needed last.
        let mut cached = 0;
        for pending in &mut self.pending {
            cached += pending.entries.as_ref().map_or(0, Vec::len);
            if cached > CACHED_BYTES_MAX && pending.placed.is_some() {
                pending.entries = None;
            }
        }
        if self.pending.len() > PENDING_MAX {
            self.pending = join(std::mem::take(&mut self.pending));
        }
    }

    /// Hands what waits to the database, the oldest first.
    fn apply(&mut self, at_once: bool) {
        let waiting: u64 = self.pending.iter().map(|pending| pending.count).sum();
        let left = !self.left.is_empty();
        if self.table.is_none() || (waiting == 0 && !left) {
            return;
        }
        if self.retry.is_some_and(|retry| Instant::now() < retry) {
            return;
        }
        let due = self.applied.is_none_or(|applied| applied.elapsed() >= APPLY_EVERY);
        if !(due || at_once || waiting >= APPLY_RECORDS || left) {
            return;
        }
        let batch = match self.batch() {
            Ok(Some(batch)) => batch,
            Ok(None) => return,
            Err(error) => {
                self.journal_trouble = Some(error.to_string());
                self.retry = Some(Instant::now() + RETRY_AFTER);
                return;
            }
        };
        self.hand_over(batch);
    }

    fn hand_over(&mut self, batch: Batch) {
        let Some(mut table) = self.table.take() else { return };
        let (outcomes, keeper) = (self.outcomes.0.clone(), thread::current());
        // Only what cannot be handed over at all is dropped here, and it can be read again.
        let slot = Arc::new(parking_lot::Mutex::new(Some(batch)));
        let theirs = Arc::clone(&slot);
        let refused = self.database.submit(move |connection| {
            let Some(batch) = theirs.lock().take() else { return };
            let result = connection.and_then(|connection| table.enter(connection, &batch));
            let _ = outcomes.send(Outcome { batch, table, result });
            keeper.unpark();
        });
        self.applied = Some(Instant::now());
        if let Err(error) = refused
            && let Some(batch) = slot.lock().take()
        {
            self.table = Some(Table::default());
            self.not_taken(batch, &error);
        }
    }

    /// The oldest frames of one journal.
    fn batch(&mut self) -> io::Result<Option<Batch>> {
        while let Some(left) = self.left.first() {
            if left.frames.is_empty() {
                self.left.remove(0).journal.remove()?;
                continue;
            }
            return left.batch().map(Some);
        }
        let mut frames: Vec<Frame> = Vec::new();
        let (mut records, mut bytes) = (0, 0);
        let mut failed = None;
        for pending in &mut self.pending {
            let entries = match (pending.entries.take(), pending.placed, &self.journal) {
                (Some(entries), ..) => Ok(entries),
                (None, Some(placed), Some(journal)) => journal.read(placed),
                _ => break,
            };
            let entries = match entries {
                Ok(entries) => entries,
                Err(error) => {
                    failed = Some((pending.first, pending.count, error));
                    break;
                }
            };
            records += pending.count;
            bytes += entries.len();
            frames.push(Frame { first: pending.first, count: pending.count, entries });
            if records >= BATCH_RECORDS_MAX || bytes >= BATCH_BYTES_MAX {
                break;
            }
        }
        match failed {
            Some((first, count, error)) if frames.is_empty() => {
                Err(self.unreadable(first, count, error))
            }
            _ => {
                let some = !frames.is_empty();
                Ok(some.then(|| Batch { journal: Arc::clone(&self.name), frames }))
            }
        }
    }

    /// A frame that can never be read again does not stand in the way of the others.
    fn unreadable(&mut self, first: u64, count: u64, error: io::Error) -> io::Error {
        if error.kind() == io::ErrorKind::InvalidData {
            log::error!("ledger: {count} records are lost: {error}");
            self.books.lost.fetch_add(count, Ordering::Relaxed);
            self.pending.retain(|pending| pending.first != first);
        }
        error
    }

    fn take_outcomes(&mut self) {
        while let Ok(Outcome { batch, table, result }) = self.outcomes.1.try_recv() {
            self.table = Some(table);
            match result {
                Ok(entered) => self.entered(batch, entered),
                Err(error) => self.not_taken(batch, &error),
            }
        }
    }

    fn entered(&mut self, batch: Batch, entered: Entered) {
        (self.retry, self.database_trouble) = (None, None);
        let records: u64 = batch.frames.iter().map(|frame| frame.count).sum();
        self.books.standing.lock().entered += records;
        if entered.unreadable > 0 {
            log::error!("ledger: {} records could not be read back", entered.unreadable);
        }
        if *batch.journal != *self.name {
            if let Some(left) =
                self.left.iter_mut().find(|left| *left.journal.name == *batch.journal)
            {
                left.frames.retain(|placed| placed.first >= entered.before);
            }
            return;
        }
        while self.pending.front().is_some_and(|pending| pending.first < entered.before) {
            self.pending.pop_front();
        }
        if let Some(journal) = &mut self.journal
            && let Err(error) = journal.release(entered.before)
        {
            log::warn!("ledger: a segment of the journal cannot be freed: {error}");
        }
        batch.frames.into_iter().for_each(|frame| self.spare(frame.entries));
    }

    /// Nothing of it was taken: it is given again.
    fn not_taken(&mut self, batch: Batch, error: &database::Error) {
        self.retry = Some(Instant::now() + RETRY_AFTER);
        self.database_trouble = Some(error.to_string());
        if self.said.is_none_or(|said| said.elapsed() >= SAY_EVERY) {
            log::warn!("ledger: the database does not take records: {error}");
            self.said = Some(Instant::now());
        }
        if *batch.journal != *self.name {
            return;
        }
        for frame in batch.frames {
            let same = |pending: &&mut Pending| pending.first == frame.first;
            if let Some(pending) = self.pending.iter_mut().find(same) {
                pending.entries = Some(frame.entries);
            }
        }
    }

    /// Old rows go while nothing else waits.
    fn retire(&mut self) {
        if self.pending.is_empty() && self.database_trouble.is_none() {
            self.retention.step(&self.database);
        }
    }

    fn report(&mut self) {
        // A change of the database's state is said in the log by whoever looks.
        let health = self.database.health();
        let full = self.memory_bytes() >= self.settings.memory.as_usize();
        let (state, reason) = match (&self.journal_trouble, &self.database_trouble) {
            (Some(journal), _) if full => (State::Losing, journal.clone()),
            (Some(journal), _) => (State::Memory, journal.clone()),
            (None, Some(database)) => (State::Behind, database.clone()),
            (None, None) if health.state == database::State::Away => (State::Behind, health.reason),
            (None, None) => (State::Ok, String::new()),
        };
        let left = self.left.iter().flat_map(|left| &left.frames).map(|placed| placed.count);
        let earlier = self.pending.iter().filter(|pending| pending.first < self.own);
        let recovering = left.sum::<u64>() + earlier.map(|pending| pending.count).sum::<u64>();
        self.books.recovering.store(recovering, Ordering::Release);
        let mut standing = self.books.standing.lock();
        standing.waiting = self.pending.iter().map(|pending| pending.count).sum::<u64>()
            + self
                .left
                .iter()
                .flat_map(|left| &left.frames)
                .map(|placed| placed.count)
                .sum::<u64>();
        standing.memory_bytes = self.memory_bytes() as u64;
        standing.journal_bytes = self.journal.as_ref().map_or(0, Journal::used_bytes);
        standing.reason = reason;
        if standing.state == state {
            return;
        }
        standing.state = state;
        standing.since_unix_ms = clock::unix_ms();
        let reason = &standing.reason;
        match state {
            State::Ok => log::info!("ledger: the database takes records again"),
            State::Behind => log::warn!("ledger: records wait in the journal: {reason}"),
            State::Memory => log::error!("ledger: records wait in memory alone: {reason}"),
            State::Losing => log::error!("ledger: records are lost: {reason}"),
        }
    }

    fn end(&mut self) {
        let waiting: u64 = self.pending.iter().map(|pending| pending.count).sum();
        let unplaced = self.pending.iter().filter(|pending| pending.placed.is_none());
        let lost: u64 = unplaced.map(|pending| pending.count).sum();
        if waiting > lost {
            log::info!("ledger: {} records stay in the journal for the next start", waiting - lost);
        }
        if lost > 0 {
            self.books.lost.fetch_add(lost, Ordering::Relaxed);
            log::error!("ledger: {lost} records are lost: neither journal nor database took them");
        }
    }
}
