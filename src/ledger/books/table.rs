//! The ledger's tables, and how a batch gets into them.
//!
//! What many requests have in common (who, which model, where it went, how it ended) stands once in
//! `ledger_dims`; a request refers to it, as a part of a row of `ledger_blocks` in a file and as a row of
//! `ledger_records` in a server, and the rows by hour and day add up the same. The view `ledger_rows`
//! has a row for each request in both, and the view `ledger` whole rows. A batch, its sums by hour
//! and day, and how far the journal has been read are one transaction: the sums always equal the
//! rows, and no record is entered twice.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use super::block::Blocks;
use super::insert::{Inserts, Rows};
use crate::database::{Connection, Engine, Error, Fault, Migration, Migrations, Value};
use crate::ledger::entry::{Common, Entries, Entry, TOKENS};
use crate::same::same;

/// An hour.
pub const HOUR_MS: u64 = 3_600_000;
/// A day.
pub const DAY_MS: u64 = 24 * HOUR_MS;

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
        Migration {
            sqlite: include_str!("sql/3-sqlite.sql"),
            postgres: include_str!("sql/3-postgres.sql"),
        },
    ],
};

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
    inserts: Inserts,
    blocks: Blocks,
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
/// Whose a row by hour or day is: when it begins, what requests have in common, and user.
type Whose<'a> = (u64, i64, &'a str);
/// What such a row adds up.
type Sum = [i64; SUMS.len()];

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
        let in_blocks = connection.engine() == Engine::Sqlite;
        self.blocks.clear();
        // As they are read, a chunk at a time: a batch that lay in memory once more in its readable
        // form would be some twenty megabytes each second under load.
        let mut rows = Rows::default();
        let mut sums = Adding::default();
        for frame in batch.frames.iter().filter(|frame| frame.first + frame.count > applied) {
            let mut number = frame.first;
            let mut entries = Entries::of(&frame.entries);
            // The numbers of what its entries have in common, as far as they were needed.
            let mut known: Vec<Option<i64>> = Vec::new();
            while let Some(entry) = entries.next() {
                // Frames may have been put together since some of them were taken.
                if number >= applied {
                    if known.len() <= entry.common {
                        known.resize(entry.common + 1, None);
                    }
                    let common = entries.common(&entry);
                    let dims = match known[entry.common] {
                        Some(dims) => dims,
                        None => *known[entry.common].insert(self.dims_of(connection, common)?),
                    };
                    sums.add(dims, common, &entry);
                    let number = journal * JOURNAL_RECORDS + number;
                    if in_blocks {
                        self.blocks.add(number, dims, &entry);
                        if self.blocks.is_full() {
                            self.blocks.insert(connection)?;
                        }
                    } else if let Some(full) = rows.add((number, dims, entry)) {
                        self.inserts.insert(connection, full)?;
                    }
                }
                number += 1;
            }
            entered.before = frame.first + frame.count;
            entered.unreadable += entered.before.saturating_sub(number);
        }
        self.blocks.insert(connection)?;
        for rest in rows.rest() {
            self.inserts.insert(connection, rest)?;
        }
        let days = by_day(&sums.sums);
        add_up(connection, "ledger_hours", sums.sums)?;
        add_up(connection, "ledger_days", days)?;
        connection.execute(
            "UPDATE ledger_journals SET applied = ?2 WHERE name = ?1",
            &[Value::Text(&batch.journal), entered.before.into()],
        )?;
        Ok(entered)
    }

    /// The number of what requests have in common.
    fn dims_of(&mut self, connection: &mut Connection, common: &Common<'_>) -> Result<i64, Error> {
        let texts = common.texts();
        let numbers = dims_numbers(common);
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

fn dims_numbers(common: &Common<'_>) -> [u64; 5] {
    let flags = [common.stream, common.hedged, common.client_gone, common.broken].map(u64::from);
    let [stream, hedged, client_gone, broken] = flags;
    [common.status, stream, hedged, client_gone, broken]
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

/// Rows that were needed last and are looked for first.
const RECENT: usize = 16;

/// Sums as they grow.
#[derive(Default)]
struct Adding<'a> {
    sums: Vec<(Whose<'a>, Sum)>,
    /// Where in them.
    places: HashMap<Whose<'a>, usize, ahash::RandomState>,
    /// The same of those that were needed last, by what requests have in common.
    recent: [usize; RECENT],
}

impl<'a> Adding<'a> {
    /// Adds a record to those of its hour.
    fn add(&mut self, dims: i64, common: &Common<'_>, entry: &Entry<'a>) {
        let sum = self.sum((entry.time_ms - entry.time_ms % HOUR_MS, dims, entry.user));
        let mut add = |at: usize, part: u64| sum[at] = sum[at].saturating_add_unsigned(part);
        let [input, output, kinds @ ..] = entry.tokens;
        // In the order of `SUMS`.
        add(0, 1);
        add(1, entry.attempts);
        add(2, input);
        add(3, output);
        if kinds.iter().fold(0, |all, tokens| all | tokens) != 0 {
            kinds.into_iter().enumerate().for_each(|(at, tokens)| add(4 + at, tokens));
        }
        match entry.cost_nano_usd {
            Some(cost) => add(2 + TOKENS, cost),
            None => add(3 + TOKENS, u64::from(!common.source.is_empty())),
        }
        add(4 + TOKENS, entry.duration_us);
    }

    fn sum(&mut self, whose: Whose<'a>) -> &mut Sum {
        let recent = &mut self.recent[whose.1 as usize % RECENT];
        let is =
            |other: &Whose<'_>| (other.0, other.1) == (whose.0, whose.1) && same(other.2, whose.2);
        if self.sums.get(*recent).is_none_or(|(other, _)| !is(other)) {
            *recent = *self.places.entry(whose).or_insert_with(|| {
                self.sums.push((whose, Sum::default()));
                self.sums.len() - 1
            });
        }
        &mut self.sums[*recent].1
    }
}

fn add_to(totals: &mut Sum, parts: &Sum) {
    for (total, part) in totals.iter_mut().zip(parts) {
        *total = total.saturating_add(*part);
    }
}

/// The same by day.
fn by_day<'a>(hours: &[(Whose<'a>, Sum)]) -> Vec<(Whose<'a>, Sum)> {
    let mut days: HashMap<Whose<'a>, Sum, ahash::RandomState> = HashMap::default();
    for ((from_ms, dims, user), hour) in hours {
        add_to(days.entry((from_ms - from_ms % DAY_MS, *dims, *user)).or_default(), hour);
    }
    days.into_iter().collect()
}

fn add_up(
    connection: &mut Connection,
    table: &str,
    mut sums: Vec<(Whose<'_>, Sum)>,
) -> Result<(), Error> {
    let sql = upsert_sql(table);
    // In one order for everybody who shares the database: nobody waits for somebody who waits for them.
    sums.sort_unstable_by_key(|(whose, _)| *whose);
    for ((from_ms, dims, user), sum) in &sums {
        let mut values = vec![Value::from(*from_ms), Value::Int(*dims), Value::Text(user)];
        values.extend(sum.map(Value::Int));
        connection.execute(&sql, &values)?;
    }
    Ok(())
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
