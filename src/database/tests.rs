use std::path::Path;
use std::time::Duration;

use super::*;
use crate::config::{SecretSource, Time};

static NAMES: Migrations = Migrations {
    room: "names",
    steps: &[
        Migration::same("CREATE TABLE names (name TEXT PRIMARY KEY, number BIGINT)"),
        Migration {
            sqlite: "ALTER TABLE names ADD COLUMN bytes BLOB",
            postgres: "ALTER TABLE names ADD COLUMN bytes BYTEA",
        },
    ],
};
static OLD: Migrations = Migrations {
    room: "names",
    steps: &[Migration::same("CREATE TABLE names (name TEXT PRIMARY KEY, number BIGINT)")],
};
static NOW: [&Migrations; 1] = [&NAMES];
static BEFORE: [&Migrations; 1] = [&OLD];

const INSERT: &str = "INSERT INTO names (name, number, bytes) VALUES (?1, ?2, ?3)";
const COUNT: &str = "SELECT COUNT(*) FROM names";

fn file(folder: &tempfile::TempDir) -> Place {
    Place::file(folder.path().join("weir.db"))
}

fn impatient(folder: &tempfile::TempDir) -> Place {
    let settings = Settings {
        path: Some(folder.path().join("weir.db")),
        busy: Time::ms(20),
        slow: Time::ms(100),
        ..Settings::default()
    };
    Place::of(&settings).expect("a place")
}

fn insert(database: &Database, name: &'static str) -> Result<u64, Error> {
    database.call_blocking(move |connection| {
        connection.execute(INSERT, &[name.into(), Value::Int(7), Value::Blob(b"\0\xff")])
    })
}

fn count(database: &Database) -> i64 {
    database
        .call_blocking(|connection| connection.first(COUNT, &[], |row| row.int(0)))
        .expect("asked")
        .expect("a row")
}

fn until(database: &Database, state: State) -> Reading {
    let give_up = std::time::Instant::now() + Duration::from_secs(20);
    loop {
        let health = database.health();
        if health.state == state {
            return health;
        }
        assert!(std::time::Instant::now() < give_up, "{health:?}, not {state:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn what_is_written_is_read_and_outlives_the_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = Database::open(file(&folder), &NOW, Metrics::new()).expect("opens");
    assert_eq!(insert(&database, "ann"), Ok(1));
    let again = insert(&database, "ann").expect_err("it is there");
    assert_eq!(again.fault, Fault::Constraint);
    assert_eq!(
        database.health().state,
        State::Ok,
        "a row that is there is no failure of the database"
    );
    drop(database);
    let database = Database::open(file(&folder), &NOW, Metrics::new()).expect("opens");
    let sql = "SELECT name, number, bytes, NULL FROM names WHERE name = ?1";
    let row = database.call_blocking(move |connection| {
        connection.first(sql, &["ann".into()], |row| {
            assert_eq!(row.int_or_null(3)?, None);
            assert!(row.text(3).is_err());
            Ok((row.text(0)?, row.int(1)?, row.blob(2)?))
        })
    });
    assert_eq!(row, Ok(Some(("ann".to_owned(), 7, b"\0\xff".to_vec()))));
}

#[test]
fn a_transaction_is_all_or_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = Database::open(file(&folder), &NOW, Metrics::new()).expect("opens");
    let failed = database.call_blocking(|connection| {
        connection.transaction(|connection| {
            connection.execute(INSERT, &["ann".into(), Value::Null, Value::Null])?;
            connection.execute(INSERT, &["ann".into(), Value::Null, Value::Null])
        })
    });
    assert_eq!(failed.expect_err("twice").fault, Fault::Constraint);
    assert_eq!(count(&database), 0);
    let nested = database.call_blocking(|connection| {
        connection.transaction(|connection| connection.transaction(|_| Ok(())))
    });
    assert!(nested.is_err());
    assert_eq!(insert(&database, "bob"), Ok(1));
}

#[test]
fn tables_are_brought_up_to_date_and_never_back() {
    let folder = tempfile::tempdir().expect("a folder");
    drop(Database::open(file(&folder), &BEFORE, Metrics::new()).expect("opens"));
    let mut beside = Connection::open(&file(&folder)).expect("opens");
    assert_eq!(NAMES.are_taken(&mut beside), Ok(false));
    let database = Database::open(file(&folder), &NOW, Metrics::new()).expect("opens");
    assert_eq!((NAMES.are_taken(&mut beside), OLD.are_taken(&mut beside)), (Ok(true), Ok(true)));
    assert_eq!(insert(&database, "ann"), Ok(1));
    drop(database);
    let error = Database::open(file(&folder), &BEFORE, Metrics::new()).err().expect("newer");
    assert!(error.contains("made by a newer one"), "{error}");
}

#[test]
fn a_locked_file_is_away_until_it_is_let_go() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = Database::open(impatient(&folder), &NOW, Metrics::new()).expect("opens");
    let other = rusqlite::Connection::open(folder.path().join("weir.db")).expect("opens");
    other.execute_batch("BEGIN EXCLUSIVE").expect("locked");
    assert_eq!(insert(&database, "ann").expect_err("locked").fault, Fault::Locked);
    let health = until(&database, State::Away);
    assert!(health.reason.contains("locked"), "{health:?}");
    // It is found well again although nobody asks anything of it.
    other.execute_batch("ROLLBACK").expect("let go");
    until(&database, State::Ok);
    assert_eq!(insert(&database, "ann"), Ok(1));
}

#[test]
fn work_that_takes_long_shows_while_it_runs_and_the_queue_is_bounded() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = Database::open(impatient(&folder), &NOW, Metrics::new()).expect("opens");
    let (go, gone) = std::sync::mpsc::channel::<()>();
    let work = move |connection: Result<&mut Connection, Error>| {
        let _ = gone.recv();
        let _ = connection.map(|connection| connection.batch("SELECT 1"));
    };
    database.submit(work).expect("room");
    let health = until(&database, State::Slow);
    assert!(health.reason.contains("has been running"), "{health:?}");
    let refused = (0..=QUEUE_JOBS_MAX).find_map(|_| database.submit(|_| {}).err());
    assert_eq!(refused.expect("full").fault, Fault::Busy);
    drop(go);
    // There is room again as soon as the queue moves.
    let written = loop {
        match insert(&database, "ann") {
            Err(error) if error.fault == Fault::Busy => std::thread::yield_now(),
            written => break written,
        }
    };
    assert_eq!(written, Ok(1));
    until(&database, State::Ok);
}

#[test]
fn a_place_is_a_file_or_a_server() {
    let url = |text: &str| {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("url");
        std::fs::write(&path, text).expect("written");
        let url = Some(SecretSource { env: None, file: Some(path), optional: false });
        Place::of(&Settings { url, ..Settings::default() })
    };
    let server = url("postgres://weir:pa55word@db.example:6432/llm").expect("a place");
    assert_eq!(server.to_string(), "PostgreSQL db.example/llm");
    for wrong in ["mysql://a/b", "postgres:///x", "no"] {
        let (field, message) = url(wrong).expect_err("no URL");
        assert_eq!(field, ".url");
        assert!(message.contains("postgres://user"), "{message}");
    }
    assert_eq!(Place::of(&Settings::default()).expect_err("neither").0, "");
    let nowhere = Place::file(Path::new("/no/such/folder/weir.db"));
    let error = Database::open(nowhere, &NOW, Metrics::new()).err().expect("no folder");
    assert!(error.contains("there is no folder /no/such/folder"), "{error}");
}
