use std::fs;
use std::path::Path;

use rusqlite::Connection;

use super::*;
use crate::config::{Size, Time};
use crate::database::{self, Migrations, Place};
use crate::dialect::Usage;
use crate::telemetry::Metrics;

static ROOMS: [&Migrations; 1] = [&MIGRATIONS];

const NOON_MS: u64 = 1_700_049_600_000;

fn database(folder: &Path, busy: Time) -> Database {
    let settings = database::Settings {
        path: Some(folder.join("weir.db")),
        busy,
        ..database::Settings::default()
    };
    let place = Place::of(&settings).expect("a place");
    Database::open(place, &ROOMS, Metrics::new()).expect("opens")
}

fn settings() -> Settings {
    let ever = Time::s(3_000_000_000);
    Settings {
        sync: Time::ms(5),
        reserve: Size(0),
        keep: ever,
        keep_hours: ever,
        keep_days: ever,
        ..Settings::default()
    }
}

fn start(folder: &Path, settings: &Settings) -> (Arc<Books>, BooksThread) {
    Books::start(&database(folder, Time::ms(20)), settings).expect("starts")
}

fn record(number: u64) -> Record {
    Record {
        time_unix_ms: NOON_MS + number * 1000,
        request_id: format!("req-{number}"),
        tenant: Some("acme".into()),
        user: number.is_multiple_of(2).then(|| "u".into()),
        model_asked: Some("gpt".into()),
        model_served: Some("gpt-4o".into()),
        provider: Some("openai".into()),
        status: 200,
        usage: Usage { input: 10, output: number, ..Usage::default() },
        usage_source: "provider",
        cost_nano_usd: (!number.is_multiple_of(10)).then_some(number),
        ..Record::default()
    }
}

fn enter(books: &Books, numbers: std::ops::Range<u64>) {
    numbers.for_each(|number| books.enter(&record(number)));
}

fn open(folder: &Path) -> Connection {
    Connection::open(folder.join("weir.db")).expect("opens")
}

fn asked(folder: &Path, sql: &str) -> Vec<i64> {
    let connection = open(folder);
    let mut statement = connection.prepare(sql).expect("SQL");
    let columns = statement.column_count();
    let row = |row: &rusqlite::Row<'_>| (0..columns).map(|at| row.get(at)).collect();
    statement.query_row([], row).expect("a row")
}

/// Records, output tokens and cost, by row, by hour and by day.
fn sums(folder: &Path) -> Vec<i64> {
    let sql = "SELECT COUNT(*), COALESCE(SUM(output_tokens), 0), COALESCE(SUM(cost_nano_usd), 0) FROM ledger";
    let rows = asked(folder, sql);
    for table in ["ledger_hours", "ledger_days"] {
        let sql = format!(
            "SELECT COALESCE(SUM(requests), 0), COALESCE(SUM(output_tokens), 0), \
             COALESCE(SUM(cost_nano_usd), 0) FROM {table}"
        );
        assert_eq!(asked(folder, &sql), rows, "{table}");
    }
    rows
}

fn sums_of(numbers: std::ops::Range<u64>) -> Vec<i64> {
    let tokens: u64 = numbers.clone().sum();
    let cost: u64 = numbers.clone().filter(|number| !number.is_multiple_of(10)).sum();
    vec![numbers.count() as i64, tokens as i64, cost as i64]
}

fn until(books: &Books, wanted: impl Fn(&Standing) -> bool) -> Standing {
    let give_up = Instant::now() + Duration::from_secs(20);
    loop {
        let standing = books.standing();
        if wanted(&standing) {
            return standing;
        }
        assert!(Instant::now() < give_up, "{standing:?}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn what_is_entered_is_a_row_and_in_the_sums() {
    let folder = tempfile::tempdir().expect("a folder");
    let (books, thread) = start(folder.path(), &settings());
    enter(&books, 0..5000);
    assert!(thread.stop(Duration::from_secs(20)));
    assert_eq!(sums(folder.path()), sums_of(0..5000));
    let standing = books.standing();
    assert_eq!((standing.entered, standing.waiting, standing.lost), (5000, 0, 0));
    // An hour and a half, two of them with and without a user.
    let shape = "SELECT (SELECT COUNT(*) FROM ledger_dims), (SELECT COUNT(*) FROM ledger_hours), \
                 (SELECT SUM(unpriced) FROM ledger_days)";
    assert_eq!(asked(folder.path(), shape), [1, 4, 500]);
    // The next process goes on with the same journal and enters nothing twice. It waits for the file
    // that the thread of the one before it may still be closing.
    let database = database(folder.path(), Time::s(20));
    let (books, thread) = Books::start(&database, &settings()).expect("starts");
    enter(&books, 5000..5100);
    assert!(thread.stop(Duration::from_secs(20)));
    assert_eq!(sums(folder.path()), sums_of(0..5100));
    assert_eq!(books.standing().recovered, 0);
    let journals = "SELECT COUNT(*), MAX(applied) FROM ledger_journals";
    assert_eq!(asked(folder.path(), journals), [1, 5100]);
}

#[test]
fn a_locked_database_costs_nothing_and_the_next_process_takes_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let (books, thread) = start(folder.path(), &settings());
    enter(&books, 0..10);
    until(&books, |standing| standing.entered == 10);
    let other = open(folder.path());
    other.execute_batch("BEGIN EXCLUSIVE").expect("locked");
    enter(&books, 10..3000);
    let standing = until(&books, |standing| standing.state == State::Behind);
    assert!(standing.reason.contains("locked"), "{standing:?}");
    until(&books, |standing| standing.waiting == 2990);
    assert!(thread.stop(Duration::from_secs(20)));
    other.execute_batch("ROLLBACK").expect("let go");
    assert_eq!(sums(folder.path()), sums_of(0..10));
    let (books, thread) = start(folder.path(), &settings());
    until(&books, |standing| standing.recovered == 2990 && standing.waiting == 0);
    assert!(thread.stop(Duration::from_secs(20)));
    assert_eq!(sums(folder.path()), sums_of(0..3000));
    assert_eq!(books.standing().lost, 0);
}

#[test]
fn a_torn_batch_is_found_and_what_came_before_is_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let (books, thread) = start(folder.path(), &settings());
    let other = open(folder.path());
    other.execute_batch("BEGIN EXCLUSIVE").expect("locked");
    enter(&books, 0..100);
    until(&books, |standing| standing.waiting == 100);
    enter(&books, 100..150);
    assert!(thread.stop(Duration::from_secs(20)));
    other.execute_batch("ROLLBACK").expect("let go");
    // The last frame loses its last byte.
    let journals = journal::folders(&folder.path().join("weir.db.journal")).expect("a folder");
    let files = fs::read_dir(&journals[0]).expect("files").map(|file| file.expect("a file").path());
    let segment = files.filter(|path| path.to_string_lossy().contains("segment")).max();
    let segment = segment.expect("a segment");
    let mut bytes = fs::read(&segment).expect("read");
    let last = bytes.iter().rposition(|byte| *byte != 0).expect("a byte");
    bytes[last] ^= 1;
    fs::write(&segment, bytes).expect("written");
    let (books, thread) = start(folder.path(), &settings());
    let standing = until(&books, |standing| standing.torn == 1 && standing.waiting == 0);
    enter(&books, 200..201);
    assert!(thread.stop(Duration::from_secs(20)));
    let kept = sums(folder.path());
    assert_eq!(kept[0] as u64, standing.recovered + 1);
    assert!((100..150).contains(&standing.recovered), "{standing:?}");
}

#[test]
fn without_a_journal_the_database_is_fed_from_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    fs::write(&file, "").expect("written");
    let settings = Settings { journal: Some(file.join("journal")), ..settings() };
    let (books, thread) = start(folder.path(), &settings);
    enter(&books, 0..2000);
    let standing = until(&books, |standing| standing.entered == 2000);
    assert_eq!(standing.state, State::Memory);
    // With the database gone as well, memory fills up to its bound, and not beyond.
    let settings = Settings { memory: Size(10_000), ..settings };
    assert!(thread.stop(Duration::from_secs(20)));
    let (books, thread) = start(folder.path(), &settings);
    let other = open(folder.path());
    other.execute_batch("BEGIN EXCLUSIVE").expect("locked");
    enter(&books, 2000..3000);
    let standing = until(&books, |standing| standing.state == State::Losing);
    assert!(!standing.reason.is_empty(), "{standing:?}");
    assert_eq!(standing.lost, 0, "what a thread's buffer holds is not lost yet");
    while books.standing().lost == 0 {
        books.enter(&record(0));
    }
    other.execute_batch("ROLLBACK").expect("let go");
    until(&books, |standing| standing.state == State::Memory && standing.waiting == 0);
    assert!(thread.stop(Duration::from_secs(20)));
    let taken = asked(folder.path(), "SELECT COUNT(*) FROM ledger_rows")[0];
    assert_eq!(taken as u64, 2000 + books.standing().entered);
    sums(folder.path());
}

#[test]
fn a_full_journal_is_used_again_once_the_database_has_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let bounds = Settings { size: Size::mib(16), reserve: Size::mib(8), ..settings() };
    let (books, thread) = start(folder.path(), &bounds);
    let other = open(folder.path());
    other.execute_batch("BEGIN EXCLUSIVE").expect("locked");
    let mut entered = 0;
    while books.standing().state < State::Memory {
        enter(&books, entered..entered + 1000);
        entered += 1000;
    }
    let standing = books.standing();
    assert!(standing.reason.contains("ledger.size"), "{standing:?}");
    assert!(standing.journal_bytes <= 16 << 20, "{standing:?}");
    other.execute_batch("ROLLBACK").expect("let go");
    until(&books, |standing| standing.state == State::Ok && standing.waiting == 0);
    enter(&books, entered..entered + 10);
    assert!(thread.stop(Duration::from_secs(20)));
    assert_eq!(sums(folder.path()), sums_of(0..entered + 10));
    assert!(books.standing().journal_bytes <= 16 << 20);
}

#[test]
fn segments_that_are_done_with_are_written_again() {
    use std::os::unix::fs::MetadataExt as _;

    let folder = tempfile::tempdir().expect("a folder");
    let bounds = journal::Bounds { bytes_max: 64 << 20, reserve_bytes: 8 << 20 };
    let mut journal = journal::Journal::create(folder.path(), "j".into(), bounds).expect("created");
    journal.reserve().expect("reserved");
    let mut files = std::collections::HashSet::new();
    for number in 0..40 {
        let entries = vec![number as u8; 3 << 20];
        let placed = journal.append(number, 1, &entries).expect("written");
        assert_eq!(journal.read(placed).expect("read"), entries);
        journal.release(number).expect("released");
        for file in fs::read_dir(folder.path().join("j")).expect("files") {
            files.insert(file.and_then(|file| file.metadata()).expect("a file").ino());
        }
    }
    // The lock, the reserve, the one that is written, and the one that is next.
    assert_eq!(files.len(), 4);
    drop(journal);
    let journal = journal::Journal::take_over(&folder.path().join("j"), bounds).expect("read");
    let (_, found) = journal.expect("nobody holds it");
    assert_eq!((found.frames.last().map(journal::Placed::before), found.torn), (Some(40), 0));
}

#[test]
fn old_rows_go_and_their_sums_stay() {
    let folder = tempfile::tempdir().expect("a folder");
    let (books, thread) = start(folder.path(), &settings());
    enter(&books, 0..3000);
    assert!(thread.stop(Duration::from_secs(20)));
    let short = Settings { keep: Time::s(3600), ..settings() };
    let (books, thread) = start(folder.path(), &short);
    let now = Record { time_unix_ms: crate::clock::unix_ms(), ..record(1) };
    books.enter(&now);
    let give_up = Instant::now() + Duration::from_secs(20);
    while asked(folder.path(), "SELECT COUNT(*) FROM ledger_rows") != [1] {
        assert!(Instant::now() < give_up);
        thread::sleep(Duration::from_millis(20));
    }
    assert!(thread.stop(Duration::from_secs(20)));
    assert_eq!(asked(folder.path(), "SELECT SUM(requests) FROM ledger_hours"), [3001]);
    let marked =
        asked(folder.path(), "SELECT value FROM ledger_state WHERE name = 'records_from_ms'");
    assert_eq!(marked[0] as u64 % HOUR_MS, 0);
}
