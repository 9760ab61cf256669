//! The lines that wait for the access log, and the thread that writes them.
//!
//! A line is written where its request was settled, into a buffer of that thread's own, while what it
//! says is at hand: no record is moved to another core to be read and freed there. The writer
//! takes each buffer away whole.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use parking_lot::Mutex;

use super::books::Books;
use super::line::Said;
use super::record::{AttemptRecord, Record};
use super::sink::Sink;
use crate::clock::{Duration, Instant};
use crate::telemetry::{Metrics, Sharded};

/// Bytes of lines of one thread that may wait: at 50,000 requests a second about a tenth of a second
/// of a writer that does not get to run.
const WAITING_BYTES_MAX: usize = 4 << 20;

/// With this many bytes waiting the writer is woken; below, it looks by itself.
const WAKE_BYTES: usize = 3 << 18;

/// A buffer that has grown beyond this is let go once it is written.
const KEPT_BYTES_MAX: usize = 1 << 20;
/// The same once there is little to write.
const KEPT_BYTES_IDLE_MAX: usize = 64 << 10;

/// The writer looks again this soon after it found lines, and ever later while it finds none. Each look
/// that finds some costs as much as writing a hundred lines: a wake-up, and the file system's own.
const PAUSE_MIN: Duration = Duration::from_millis(40);
const PAUSE_MAX: Duration = Duration::from_millis(100);

/// Least time between two warnings about lost lines.
const WARN_EVERY: Duration = Duration::from_secs(10);

/// Where finished requests are entered.
pub struct Ledger {
    metrics: Arc<Metrics>,
    /// The ledger of record, where there is a database.
    books: Option<Arc<Books>>,
    waiting: Sharded<Mutex<Waiting>>,
    /// Nobody wants lines.
    off: AtomicBool,
    /// The writer sleeps.
    asleep: AtomicBool,
    stopping: AtomicBool,
    next_sink: Mutex<Option<Sink>>,
    writer: Mutex<Option<thread::Thread>>,
}

/// What a thread has settled since its lines were taken away.
#[derive(Default)]
struct Waiting {
    lines: Lines,
    said: Said,
}

/// Whole lines, and how many.
#[derive(Default)]
struct Lines {
    text: Vec<u8>,
    count: u64,
}

/// The background thread. Dropping it stops it, after a short last chance to write what waits.
#[must_use = "dropping the writer stops it"]
pub struct Writer {
    ledger: Arc<Ledger>,
    thread: Option<JoinHandle<()>>,
}

impl Ledger {
    /// Opens the access log (`stdout`, `stderr`, `off` or a path) and starts its writer. To be called
    /// after the process has forked, if it does.
    pub fn start(metrics: Arc<Metrics>, destination: &str) -> io::Result<(Arc<Self>, Writer)> {
        Self::start_with(metrics, destination, None)
    }

    /// The same with a ledger of record beside the access log.
    pub fn start_with(
        metrics: Arc<Metrics>,
        destination: &str,
        books: Option<Arc<Books>>,
    ) -> io::Result<(Arc<Self>, Writer)> {
        let sink = Sink::open(destination)?;
        let ledger = Arc::new(Self {
            metrics,
            books,
            waiting: Sharded::new(Mutex::default),
            off: AtomicBool::new(matches!(sink, Sink::Off)),
            asleep: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            next_sink: Mutex::new(None),
            writer: Mutex::new(None),
        });
        let emptied = Arc::clone(&ledger);
        let thread = thread::Builder::new()
            .name("access-log".into())
            .spawn(move || Emptier::new(emptied, sink).run())?;
        *ledger.writer.lock() = Some(thread.thread().clone());
        let writer = Writer { ledger: Arc::clone(&ledger), thread: Some(thread) };
        Ok((ledger, writer))
    }

    /// Counts a request that is over in the metrics. Called once a request.
    pub fn count(&self, record: &Record) {
        self.metrics.settled(&record.settled());
    }

    /// Enters a request that is over: records it and writes its line. Called once a request.
    pub fn enter(&self, record: &Record) {
        if let Some(books) = &self.books {
            books.enter(record);
        }
        if self.off.load(Ordering::Relaxed) {
            return;
        }
        let bytes = {
            // Held by others for no longer than it takes to exchange it.
            let mut waiting = self.waiting.own().lock();
            let Waiting { lines, said } = &mut *waiting;
            if lines.text.len() < WAITING_BYTES_MAX {
                said.write(record, &mut lines.text);
                lines.count += 1;
            } else {
                self.metrics.log_dropped("access", 1);
            }
            lines.text.len()
        };
        if bytes >= WAKE_BYTES && self.asleep.swap(false, Ordering::AcqRel) {
            self.wake();
        }
    }

    /// Counts an attempt when it is over, which may be long before its request is.
    pub fn attempt(&self, pool: &str, attempt: &AttemptRecord) {
        self.metrics.attempt(pool, &attempt.target, attempt.outcome.as_str());
    }

    /// How the ledger of record stands, where there is one.
    pub fn books(&self) -> Option<&Arc<Books>> {
        self.books.as_ref()
    }

    /// The metrics in which it counts.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Opens the access log anew, there or elsewhere; a reload does, so that a rotated file is let
    /// go. When it cannot be opened the old one stays.
    pub fn log_to(&self, destination: &str) -> io::Result<()> {
        let sink = Sink::open(destination)?;
        let off = matches!(sink, Sink::Off);
        *self.next_sink.lock() = Some(sink);
        self.off.store(off, Ordering::Relaxed);
        self.wake();
        Ok(())
    }

    #[cold]
    fn wake(&self) {
        if let Some(writer) = &*self.writer.lock() {
            writer.unpark();
        }
    }
}

impl Writer {
    /// Writes what waits and stops. False when that took longer than `patience` (somebody holds
    /// standard output and does not read it); the rest is lost then.
    pub fn stop(mut self, patience: Duration) -> bool {
        self.finish(patience)
    }

    fn finish(&mut self, patience: Duration) -> bool {
        let Some(thread) = self.thread.take() else { return true };
        self.ledger.stopping.store(true, Ordering::Release);
        let give_up = Instant::now() + patience;
        while !thread.is_finished() {
            if Instant::now() >= give_up {
                return false;
            }
            self.ledger.wake();
            thread::sleep(Duration::from_millis(1));
        }
        thread.join().is_ok()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.finish(Duration::from_secs(1));
    }
}

/// The background thread's own state.
struct Emptier {
    ledger: Arc<Ledger>,
    sink: Sink,
    /// Those being written.
    lines: Lines,
    /// A failed write may have left half a line.
    torn: bool,
    lost: u64,
    warned: Option<Instant>,
}

impl Emptier {
    fn new(ledger: Arc<Ledger>, sink: Sink) -> Self {
        Self { ledger, sink, lines: Lines::default(), torn: false, lost: 0, warned: None }
    }

    fn run(mut self) {
        let mut pause = PAUSE_MIN;
        loop {
            // Read before the buffers are, so that what was entered before the stop is written.
            let stopping = self.ledger.stopping.load(Ordering::Acquire);
            let next_sink = self.ledger.next_sink.lock().take();
            if let Some(sink) = next_sink {
                self.sink = sink;
                self.torn = false;
            }
            let found = self.empty();
            self.warn_of_losses();
            if stopping && !found {
                return;
            }
            pause = if found { PAUSE_MIN } else { PAUSE_MAX.min(pause * 2) };
            if !stopping {
                self.ledger.asleep.store(true, Ordering::Release);
                thread::park_timeout(pause);
                self.ledger.asleep.store(false, Ordering::Release);
            }
        }
    }

    /// Writes what waits. False when there was nothing.
    fn empty(&mut self) -> bool {
        let ledger = Arc::clone(&self.ledger);
        let mut found = false;
        for waiting in ledger.waiting.iter() {
            std::mem::swap(&mut waiting.lock().lines, &mut self.lines);
            if !self.lines.text.is_empty() {
                found = true;
                self.write();
            }
        }
        found
    }

    fn write(&mut self) {
        let Lines { text, count } = &mut self.lines;
        let mended = if self.torn { self.sink.write(b"\n") } else { Ok(()) };
        match mended.and_then(|()| self.sink.write(text)) {
            Ok(()) => self.torn = false,
            Err(error) => {
                self.torn = true;
                self.lost += *count;
                self.ledger.metrics.log_dropped("access", *count);
                log::debug!("the access log cannot be written: {error}");
            }
        }
        let little = text.len() < KEPT_BYTES_IDLE_MAX;
        *count = 0;
        text.clear();
        if text.capacity() > if little { KEPT_BYTES_IDLE_MAX } else { KEPT_BYTES_MAX } {
            *text = Vec::new();
        }
    }

    fn warn_of_losses(&mut self) {
        if self.lost == 0 || self.warned.is_some_and(|warned| warned.elapsed() < WARN_EVERY) {
            return;
        }
        log::warn!("the access log cannot be written: {} lines lost", self.lost);
        self.lost = 0;
        self.warned = Some(Instant::now());
    }
}
