//! Old rows go, a few at a time.
//!
//! What goes is whole hours of records, whole days of hours and of days; the database remembers up
//! to when, so that a question about rows that are gone is answered by the sums or refused, and never
//! answered too low.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Settings;
use super::table::{DAY_MS, HOUR_MS};
use crate::clock::{Cautious, Duration, Instant};
use crate::database::{Connection, Database, Engine, Error, Value};

/// Rows that go at once.
const STEP_ROWS: u64 = 1000;
/// The same of rows with many records each.
const STEP_BLOCKS: u64 = 16;
/// Pages of a file that are given back at once.
const STEP_PAGES: &str = "PRAGMA incremental_vacuum(256)";
/// How often is looked whether something is old.
const EVERY: Duration = Duration::from_secs(60);
/// Between two steps while something is.
const PAUSE: Duration = Duration::from_millis(100);

/// The names under which is remembered from when on a table has all of its rows.
pub const RECORDS_FROM: &str = "records_from_ms";
/// See [`RECORDS_FROM`].
pub const HOURS_FROM: &str = "hours_from_ms";
/// See [`RECORDS_FROM`].
pub const DAYS_FROM: &str = "days_from_ms";

/// The key of a row of sums.
const SUMMED_BY: &str = "from_ms, dims, user_name";

/// A table whose rows go when they are old.
struct Aging {
    mark: &'static str,
    /// The only engine that has it, if not both.
    engine: Option<Engine>,
    delete: String,
    /// Rows that go at once.
    rows: u64,
    /// They go by so much at a time.
    period_ms: u64,
    keep_ms: u64,
}

impl Aging {
    /// Of a table with this key, which begins with its rows' time.
    fn of(table: &str, mark: &'static str, key: &str, period_ms: u64, keep_ms: u64) -> Self {
        let (time, _) = key.split_once(',').unwrap_or((key, ""));
        let delete = format!(
            "DELETE FROM ledger_{table} WHERE ({key}) IN (SELECT {key} FROM ledger_{table} \
             WHERE {time} < ?1 ORDER BY {key} LIMIT ?2)"
        );
        Self { mark, engine: None, delete, rows: STEP_ROWS, period_ms, keep_ms }
    }
}

/// What is kept how long.
pub(super) struct Retention {
    clock: Cautious,
    tables: Arc<[Aging; 4]>,
    running: Arc<AtomicBool>,
    more: Arc<AtomicBool>,
    stepped: Option<Instant>,
}

impl Retention {
    pub(super) fn new(settings: &Settings) -> Self {
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let keep_ms = ms(settings.keep.0);
        let blocks = Aging::of("blocks", RECORDS_FROM, "first_ms, id", HOUR_MS, keep_ms);
        let tables = [
            Aging::of("records", RECORDS_FROM, "time_ms, number", HOUR_MS, keep_ms),
            Aging { engine: Some(Engine::Sqlite), rows: STEP_BLOCKS, ..blocks },
            Aging::of("hours", HOURS_FROM, SUMMED_BY, DAY_MS, ms(settings.keep_hours.0)),
            Aging::of("days", DAYS_FROM, SUMMED_BY, DAY_MS, ms(settings.keep_days.0)),
        ];
        Self {
            clock: Cautious::new(),
            tables: Arc::new(tables),
            running: Arc::new(AtomicBool::new(false)),
            more: Arc::new(AtomicBool::new(false)),
            stepped: None,
        }
    }

    /// Lets a few rows go, if it is time to.
    pub(super) fn step(&mut self, database: &Database) {
        let pause = if self.more.load(Ordering::Relaxed) { PAUSE } else { EVERY };
        let due = self.stepped.is_none_or(|stepped| stepped.elapsed() >= pause);
        if !due || self.running.swap(true, Ordering::AcqRel) {
            return;
        }
        self.stepped = Some(Instant::now());
        let (tables, running, more) =
            (Arc::clone(&self.tables), Arc::clone(&self.running), Arc::clone(&self.more));
        let now_ms = self.clock.unix_ms();
        let handed = database.submit(move |connection| {
            let gone = connection.and_then(|connection| step(connection, &tables[..], now_ms));
            match gone {
                Ok(is_more) => more.store(is_more, Ordering::Relaxed),
                Err(error) => log::debug!("ledger: old rows could not be removed: {error}"),
            }
            running.store(false, Ordering::Release);
        });
        if handed.is_err() {
            self.running.store(false, Ordering::Release);
        }
    }
}

/// Removes a few rows of the first table that has old ones. Says whether there may be more.
fn step(connection: &mut Connection, tables: &[Aging], now_ms: u64) -> Result<bool, Error> {
    let engine = connection.engine();
    for aging in tables.iter().filter(|aging| aging.engine.is_none_or(|only| only == engine)) {
        let old = now_ms.saturating_sub(aging.keep_ms);
        let before = old - old % aging.period_ms;
        let gone = connection.transaction(|connection| {
            connection.execute(
                "INSERT INTO ledger_state (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE \
                 SET value = excluded.value WHERE ledger_state.value < excluded.value",
                &[aging.mark.into(), before.into()],
            )?;
            connection.execute(&aging.delete, &[before.into(), Value::from(aging.rows)])
        })?;
        if gone > 0 {
            if engine == Engine::Sqlite {
                connection.query(STEP_PAGES, &[], &mut |_| Ok(()))?;
            }
            return Ok(gone >= aging.rows);
        }
    }
    Ok(false)
}

/// From when on a table has all of its rows.
pub fn kept_from(connection: &mut Connection, mark: &str) -> Result<u64, Error> {
    let sql = "SELECT value FROM ledger_state WHERE name = ?1";
    let from = connection.first(sql, &[mark.into()], |row| row.int(0))?;
    Ok(from.unwrap_or_default() as u64)
}
