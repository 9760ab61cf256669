//! The ledger's tables, and how a batch gets into them.
//!
//! What many requests have in common (who, which model, where it went, how it ended) stands once in
//! `ledger_dims`; a request is a row of `ledger_records` that refers to it, and the rows by hour
//! and day add up the same. The view `ledger` shows whole rows. A batch, its sums by hour and
//! day, and how far the journal has been read are one transaction: the sums always equal the rows,
//! and no record is entered twice.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use crate::database::{Connection, Error, Fault, Migration, Migrations, Value};
use crate::ledger::entry::{Entries, Entry, TOKENS};

/// An hour.
pub const HOUR_MS: u64 = 3_600_000;
/// A day.
pub const DAY_MS: u64 = 24 * HOUR_MS;

/// Rows that one statement inserts: a server answers once for all of them.
const CHUNK: usize = 64;
/// Combinations of what requests have in common that are remembered.
const DIMS_MAX: usize = 16 * 1024;
/// Records of one journal: more than three thousand years of ten a second.
const JOURNAL_RECORDS: u64 = 1 << 40;

/// The ledger's tables.
pub static MIGRATIONS: Migrations = Migrations {
    room: "ledger",
    steps: &[
        Migration {
            sqlite: include_str!("sql/1-sqlite.sql"),
            postgres: include_str!("sql/1-postgres.sql"),
        },
        // What expressions named, where budgets are counted by it: of few requests.
        Migration::same(
            "ALTER TABLE ledger_records ADD COLUMN named TEXT;
             CREATE INDEX ledger_records_named ON ledger_records (time_ms) WHERE named IS NOT NULL",
        ),
    ],
};

const RECORD: &str = "INSERT INTO ledger_records (time_ms, number, dims, request_id, user_name, \
    model_asked, attempts, tried, input_tokens, output_tokens, cached_input_tokens, \
    cache_creation_5m_tokens, cache_creation_1h_tokens, reasoning_tokens, audio_input_tokens, \
    audio_output_tokens, cost_nano_usd, duration_us, ttft_us, body_in_bytes, body_out_bytes, named) VALUES ";
const RECORD_VALUES: usize = 22;

const DIMS: &str = "INSERT INTO ledger_dims (digest, tenant, team, key_name, route, pool, endpoint, \
    dialect, model, provider, target, error, source, prices, status, stream, hedged, client_gone, \
    broken) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, \
    ?19) ON CONFLICT (digest) DO NOTHING";

/// Frames of one journal, one after the other.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) journal: std::sync::Arc<str>,
    pub(super) frames: Vec<Frame>,
}

/// The entries of a frame.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) first: u64,
    pub(super) count: u64,
    pub(super) entries: Vec<u8>,
}

/// What a batch has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entered {
    /// The database has every record of the journal before this one.
    pub(super) before: u64,
    /// Records that could not be read, which a frame's checksum should not let happen.
    pub(super) unreadable: u64,
}

/// Puts batches into the tables, and remembers what it can to do it fast.
#[derive(Debug, Default)]
pub(super) struct Table {
    dims: HashMap<Box<[u8]>, i64, ahash::RandomState>,
    chunk_sql: String,
    one_sql: String,
    key: Vec<u8>,
}

/// What a row by hour or day adds up, in the order of its columns.
pub const SUMS: [&str; 13] = [
    "requests",
    "attempts",
    "input_tokens",
    "output_tokens",
    "cached_input_tokens",
    "cache_creation_5m_tokens",
    "cache_creation_1h_tokens",
    "reasoning_tokens",
    "audio_input_tokens",
    "audio_output_tokens",
    "cost_nano_usd",
    "unpriced",
    "duration_us",
];
/// Sums by when they begin, what requests have in common, and user.
type Sums<'a> = HashMap<(u64, i64, &'a str), [i64; SUMS.len()], ahash::RandomState>;

impl Table {
    /// Enters a batch: all of it or nothing. What the database has already is passed over.
    pub(super) fn enter(
        &mut self,
        connection: &mut Connection,
        batch: &Batch,
    ) -> Result<Entered, Error> {
        let result = connection.transaction(|connection| self.enter_all(connection, batch));
        if result.is_err() {
            // Some of it may have been taken back.
            self.dims.clear();
        }
        result
    }

    fn enter_all(&mut self, connection: &mut Connection, batch: &Batch) -> Result<Entered, Error> {
        let (journal, applied) = journal(connection, &batch.journal)?;
        let mut entered = Entered { before: applied, unreadable: 0 };
        // As they are read, a chunk at a time: a batch that lay in memory once more in its readable
        // form would be some twenty megabytes each second under load.
        let mut rows: Vec<(u64, i64, Entry<'_>)> = Vec::with_capacity(CHUNK);
        let mut sums = Sums::default();
        for frame in batch.frames.iter().filter(|frame| frame.first + frame.count > applied) {
            let mut number = frame.first;
            for entry in Entries::of(&frame.entries) {
                // Frames may have been put together since some of them were taken.
                if number >= applied {
                    let dims = self.dims_of(connection, &entry)?;
                    add(&mut sums, dims, &entry);
                    rows.push((journal * JOURNAL_RECORDS + number, dims, entry));
                    if rows.len() == CHUNK {
                        self.insert(connection, &rows)?;
                        rows.clear();
                    }
                }
                number += 1;
            }
            entered.before = frame.first + frame.count;
            entered.unreadable += entered.before.saturating_sub(number);
        }
        self.insert(connection, &rows)?;
        let days = by_day(&sums);
        add_up(connection, "ledger_hours", sums)?;
        add_up(connection, "ledger_days", days)?;
        connection.execute(
            "UPDATE ledger_journals SET applied = ?2 WHERE name = ?1",
            &[Value::Text(&batch.journal), entered.before.into()],
        )?;
        Ok(entered)
    }

    /// Enters rows, a whole chunk or what is left of one.
    fn insert(
        &mut self,
        connection: &mut Connection,
        rows: &[(u64, i64, Entry<'_>)],
    ) -> Result<(), Error> {
        if self.chunk_sql.is_empty() {
            self.chunk_sql = insert_sql(CHUNK);
            self.one_sql = insert_sql(1);
        }
        let mut values = Vec::with_capacity(rows.len() * RECORD_VALUES);
        if rows.len() == CHUNK {
            for row in rows {
                record_values(row, &mut values);
            }
            connection.execute(&self.chunk_sql, &values)?;
            return Ok(());
        }
        for row in rows {
            values.clear();
            record_values(row, &mut values);
            connection.execute(&self.one_sql, &values)?;
        }
        Ok(())
    }

    /// The number of what this request has in common with others.
    fn dims_of(&mut self, connection: &mut Connection, entry: &Entry<'_>) -> Result<i64, Error> {
        let texts = dims_texts(entry);
        let numbers = dims_numbers(entry);
        self.key.clear();
        for text in texts {
            self.key.extend_from_slice(text.as_bytes());
            self.key.push(0xff);
        }
        for number in numbers {
            self.key.extend_from_slice(&number.to_le_bytes());
        }
        if let Some(known) = self.dims.get(&*self.key) {
            return Ok(*known);
        }
        let digest = Sha256::digest(&self.key);
        let digest = &digest[..16];
        let mut values = vec![Value::Blob(digest)];
        values.extend(texts.map(Value::Text));
        values.extend(numbers.map(Value::from));
        connection.execute(DIMS, &values)?;
        let sql = "SELECT number FROM ledger_dims WHERE digest = ?1";
        let number = connection
            .first(sql, &[Value::Blob(digest)], |row| row.int(0))?
            .ok_or_else(|| Error::new(Fault::Other, "a row of ledger_dims has gone"))?;
        if self.dims.len() >= DIMS_MAX {
            self.dims.clear();
        }
        self.dims.insert(self.key.as_slice().into(), number);
        Ok(number)
    }
}

fn dims_texts<'a>(entry: &Entry<'a>) -> [&'a str; 13] {
    [
        entry.tenant,
        entry.team,
        entry.key,
        entry.route,
        entry.pool,
        entry.endpoint,
        entry.dialect,
        entry.model_served,
        entry.provider,
        entry.target,
        entry.error,
        entry.source,
        entry.prices,
    ]
}

fn dims_numbers(entry: &Entry<'_>) -> [u64; 5] {
    let flags = [entry.stream, entry.hedged, entry.client_gone, entry.broken].map(u64::from);
    let [stream, hedged, client_gone, broken] = flags;
    [entry.status, stream, hedged, client_gone, broken]
}

/// The number of a journal, and how far the database has it.
fn journal(connection: &mut Connection, name: &str) -> Result<(u64, u64), Error> {
    let known = known_journal(connection, name)?;
    if let Some(known) = known {
        return Ok(known);
    }
    connection.execute(
        "INSERT INTO ledger_journals (name, number, applied) \
         SELECT ?1, COALESCE(MAX(number), 0) + 1, 0 FROM ledger_journals",
        &[name.into()],
    )?;
    known_journal(connection, name)?
        .ok_or_else(|| Error::new(Fault::Other, "a row of ledger_journals has gone"))
}

/// The same, where the database has heard of it.
pub(super) fn known_journal(
    connection: &mut Connection,
    name: &str,
) -> Result<Option<(u64, u64)>, Error> {
    let sql = "SELECT number, applied FROM ledger_journals WHERE name = ?1";
    connection.first(sql, &[name.into()], |row| Ok((row.int(0)? as u64, row.int(1)? as u64)))
}

fn insert_sql(rows: usize) -> String {
    let row = |row: usize| {
        let first = row * RECORD_VALUES + 1;
        let values: Vec<String> =
            (first..first + RECORD_VALUES).map(|number| format!("?{number}")).collect();
        format!("({})", values.join(", "))
    };
    let rows: Vec<String> = (0..rows).map(row).collect();
    // A record that is there already was entered before its journal was lost with its database.
    format!("{RECORD}{} ON CONFLICT (time_ms, number) DO NOTHING", rows.join(", "))
}

fn record_values<'a>((number, dims, entry): &(u64, i64, Entry<'a>), values: &mut Vec<Value<'a>>) {
    let asked = (entry.model_asked != entry.model_served).then_some(entry.model_asked);
    let tried = (!entry.tried.is_empty()).then_some(entry.tried);
    values.extend([
        Value::from(entry.time_ms),
        (*number).into(),
        Value::Int(*dims),
        entry.request_id.into(),
        entry.user.into(),
        asked.into(),
        entry.attempts.into(),
        tried.into(),
    ]);
    values.extend(entry.tokens.map(Value::from));
    values.extend([
        Value::from(entry.cost_nano_usd),
        entry.duration_us.into(),
        entry.ttft_us.into(),
        entry.body_in_bytes.into(),
        entry.body_out_bytes.into(),
        (!entry.named.is_empty()).then_some(entry.named).into(),
    ]);
}

/// Adds a record to those of its hour.
fn add<'a>(sums: &mut Sums<'a>, dims: i64, entry: &Entry<'a>) {
    let from_ms = entry.time_ms - entry.time_ms % HOUR_MS;
    let sum = sums.entry((from_ms, dims, entry.user)).or_default();
    for (total, part) in sum.iter_mut().zip(parts(entry)) {
        *total = total.saturating_add_unsigned(part);
    }
}

/// The same by day.
fn by_day<'a>(hours: &Sums<'a>) -> Sums<'a> {
    let mut days = Sums::default();
    for ((from_ms, dims, user), hour) in hours {
        let day = days.entry((from_ms - from_ms % DAY_MS, *dims, *user)).or_default();
        for (total, part) in day.iter_mut().zip(hour) {
            *total = total.saturating_add(*part);
        }
    }
    days
}

fn add_up(connection: &mut Connection, table: &str, sums: Sums<'_>) -> Result<(), Error> {
    let sql = upsert_sql(table);
    // In one order for everybody who shares the database: nobody waits for somebody who waits for them.
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_unstable_by_key(|(whose, _)| *whose);
    for ((from_ms, dims, user), sum) in &sums {
        let mut values = vec![Value::from(*from_ms), Value::Int(*dims), Value::Text(user)];
        values.extend(sum.map(Value::Int));
        connection.execute(&sql, &values)?;
    }
    Ok(())
}

/// What a record adds, in the order of [`SUMS`].
fn parts(entry: &Entry<'_>) -> [u64; SUMS.len()] {
    let mut parts = [0; SUMS.len()];
    parts[0] = 1;
    parts[1] = entry.attempts;
    parts[2..2 + TOKENS].copy_from_slice(&entry.tokens);
    parts[2 + TOKENS] = entry.cost_nano_usd.unwrap_or_default();
    parts[3 + TOKENS] = u64::from(entry.cost_nano_usd.is_none() && !entry.source.is_empty());
    parts[4 + TOKENS] = entry.duration_us;
    parts
}

fn upsert_sql(table: &str) -> String {
    let columns = SUMS.join(", ");
    let values: Vec<String> = (1..=SUMS.len() + 3).map(|number| format!("?{number}")).collect();
    let added: Vec<String> = SUMS
        .iter()
        .map(|column| format!("{column} = {table}.{column} + excluded.{column}"))
        .collect();
    format!(
        "INSERT INTO {table} (from_ms, dims, user_name, {columns}) VALUES ({}) \
         ON CONFLICT (from_ms, dims, user_name) DO UPDATE SET {}",
        values.join(", "),
        added.join(", ")
    )
}
