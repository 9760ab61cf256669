//! Records as rows of `ledger_blocks`, many to a row: how a file keeps them.
//!
//! A row of its own costs a record more than everything else that the ledger does for it. As a part of
//! a JSON text it costs half of that, and the views `ledger_rows` and `ledger` still have a row for
//! each, for whoever speaks SQL.
//!
//! A batch has what ended at about the same time, and began any time before. It is cut by time, so
//! that a short period is read without much of what lies around it: no block is longer than
//! [`BLOCK_MS_MAX`], and none has records of two hours.

use super::table::HOUR_MS;
use crate::database::{Connection, Engine, Error, Fault, Value};
use crate::ledger::entry::Entry;
use crate::ledger::json;

/// No two records of a block are this far apart. It may grow; if it shrank, [`block_from`] would not
/// find what was written before.
const BLOCK_MS_MAX: u64 = 2000;
/// Most records of a block.
const BLOCK_RECORDS_MAX: usize = 1024;
/// Bytes of a block, unless its last record needs more.
const BLOCK_BYTES_MAX: usize = 256 << 10;

const INSERT: &str = "INSERT INTO ledger_blocks (first_ms, last_ms, number, named, records) \
    VALUES (?1, ?2, ?3, ?4, ?5)";

/// With so many records they are entered before there are more: what has just been written is still in
/// the processor's cache.
const RECORDS_MAX: usize = 4 * BLOCK_RECORDS_MAX;
/// With more bytes than that its buffers are not kept for the next batch.
const KEPT_BYTES_MAX: usize = 4 << 20;

/// The records of a batch, until they are blocks. The same one for each batch: its buffers, grown from
/// nothing each time, would be copied and be new memory over and over.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    records: Vec<Record>,
    /// Where they stand in order of time: see [`place`].
    order: Vec<u128>,
    /// What they say, without their times and numbers.
    text: Vec<u8>,
    /// The block that is being put together.
    block: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Record {
    time_ms: u64,
    number: u64,
    /// Where its text is.
    at: u32,
    bytes: u32,
    named: bool,
}

impl Blocks {
    /// Adds a record with this number, and that of what it has in common with others.
    pub(super) fn add(&mut self, number: u64, dims: i64, entry: &Entry<'_>) {
        let at = self.text.len();
        write(dims.unsigned_abs(), entry, &mut self.text);
        self.records.push(Record {
            time_ms: entry.time_ms.min(NUMBER_MAX),
            number,
            at: at as u32,
            bytes: (self.text.len() - at) as u32,
            named: !entry.named.is_empty(),
        });
    }

    /// Whether they are enough to be entered.
    pub(super) fn is_full(&self) -> bool {
        self.records.len() >= RECORDS_MAX
    }

    /// Forgets what a transaction that failed may have left.
    pub(super) fn clear(&mut self) {
        self.records.clear();
        self.text.clear();
        if self.text.capacity() > KEPT_BYTES_MAX {
            *self = Self::default();
        }
    }

    /// Enters them all, and is empty.
    pub(super) fn insert(&mut self, connection: &mut Connection) -> Result<(), Error> {
        let Self { records, order, text, block: out } = self;
        // They come as requests end.
        order.clear();
        order.extend(records.iter().enumerate().map(|(at, record)| place(record.time_ms, at)));
        order.sort_unstable();
        let mut rest = &order[..];
        while let [first, ..] = rest {
            let places;
            (places, rest) = rest.split_at(length(rest, records));
            let block = || places.iter().map(|place| record(*place, records));
            let (first, last) =
                (record(*first, records), record(*places.last().unwrap_or(first), records));
            let number = block().map(|record| record.number).min().unwrap_or_default();
            out.clear();
            for record in block() {
                out.push(if out.is_empty() { b'[' } else { b',' });
                digits(b'[', record.time_ms - first.time_ms, out);
                digits(b',', record.number - number, out);
                out.extend_from_slice(&text[record.at as usize..][..record.bytes as usize]);
            }
            out.push(b']');
            let named = block().filter(|record| record.named).count() as u64;
            connection.execute(
                INSERT,
                &[
                    first.time_ms.into(),
                    last.time_ms.into(),
                    number.into(),
                    named.into(),
                    Value::Text(simdutf8::basic::from_utf8(out).map_err(no_text)?),
                ],
            )?;
        }
        self.clear();
        Ok(())
    }
}

/// No record of this moment or a later one is in a block that begins before this.
pub fn block_from(moment_ms: u64) -> u64 {
    moment_ms.saturating_sub(BLOCK_MS_MAX)
}

/// When the block begins that has so many others between itself and this moment.
pub fn next_block(
    connection: &mut Connection,
    moment_ms: u64,
    between: u64,
) -> Result<Option<u64>, Error> {
    if connection.engine() == Engine::Postgres {
        return Ok(None);
    }
    let sql = "SELECT first_ms FROM ledger_blocks WHERE first_ms > ?1 ORDER BY first_ms LIMIT 1 OFFSET ?2";
    let values = [moment_ms.into(), between.into()];
    Ok(connection.first(sql, &values, |row| row.int(0))?.map(i64::cast_unsigned))
}

/// Where a record stands, and before that its time: one number, which is compared and moved in half the
/// time that a record is.
fn place(time_ms: u64, at: usize) -> u128 {
    u128::from(time_ms) << 64 | at as u128
}

fn record(place: u128, records: &[Record]) -> &Record {
    &records[place as usize]
}

/// How many of those in these places are the next block.
fn length(places: &[u128], records: &[Record]) -> usize {
    let Some(first) = places.first().map(|place| record(*place, records)) else { return 0 };
    let mut bytes = 0;
    let fits = |place: &&u128| {
        let record = record(**place, records);
        let fits = record.time_ms - first.time_ms < BLOCK_MS_MAX
            && record.time_ms / HOUR_MS == first.time_ms / HOUR_MS
            && bytes < BLOCK_BYTES_MAX;
        bytes += record.bytes as usize;
        fits
    };
    places.iter().take(BLOCK_RECORDS_MAX).take_while(fits).count()
}

/// It is written from texts, so there is none of this.
#[cold]
fn no_text(error: simdutf8::basic::Utf8Error) -> Error {
    Error::new(Fault::Other, error.to_string())
}

/// What does not fit is as large as fits, as in a row.
const NUMBER_MAX: u64 = i64::MAX as u64;
/// The first number that has more than seven digits.
const SEVEN_DIGITS: u64 = 10_000_000;
/// Eight zeros as text.
const ZEROS: u64 = u64::from_ne_bytes([b'0'; 8]);

/// The values of a record in the order in which `ledger_rows` reads them, behind its time and number.
fn write(dims: u64, entry: &Entry<'_>, out: &mut Vec<u8>) {
    digits(b',', dims, out);
    text(Some(entry.request_id), out);
    let [input, output, kinds @ ..] = entry.tokens;
    digits(b',', input, out);
    digits(b',', output, out);
    digits_or_null(entry.cost_nano_usd, out);
    digits(b',', entry.duration_us, out);
    digits_or_null(entry.ttft_us, out);
    digits(b',', entry.body_in_bytes, out);
    digits(b',', entry.body_out_bytes, out);
    // Most requests have no more to say: one attempt, the model that was asked for, and no kinds of
    // tokens but the two that all have.
    let plain = entry.user.is_empty()
        && entry.model_asked.is_none()
        && entry.attempts == 1
        && entry.tried.is_empty()
        && kinds.iter().fold(0, |all, tokens| all | tokens) == 0
        && entry.named.is_empty();
    if !plain {
        let some = |text| Some(text).filter(|text: &&str| !text.is_empty());
        text(Some(entry.user), out);
        text(entry.model_asked, out);
        digits(b',', entry.attempts, out);
        text(some(entry.tried), out);
        for tokens in kinds {
            digits(b',', tokens, out);
        }
        text(some(entry.named), out);
    }
    out.push(b']');
}

fn text(text: Option<&str>, out: &mut Vec<u8>) {
    match text {
        Some(text) => {
            out.push(b',');
            json::string(text, usize::MAX, out);
        }
        None => out.extend_from_slice(b",null"),
    }
}

fn digits_or_null(number: Option<u64>, out: &mut Vec<u8>) {
    match number {
        Some(number) => digits(b',', number, out),
        None => out.extend_from_slice(b",null"),
    }
}

/// Appends a byte and a number.
#[inline]
fn digits(before: u8, number: u64, out: &mut Vec<u8>) {
    if number >= SEVEN_DIGITS {
        return many_digits(before, number.min(NUMBER_MAX), out);
    }
    let digits = eight_digits(number);
    // Zeros in front, up to the one that the byte takes the place of. Zero itself keeps one.
    let zeros = (digits | 1 << 56).trailing_zeros() / 8 - 1;
    let text = digits >> (8 * zeros) | ZEROS << 8 | u64::from(before);
    // All eight bytes and back, which is less work than a copy of as many as there are.
    let end = out.len() + 8 - zeros as usize;
    out.extend_from_slice(&text.to_le_bytes());
    out.truncate(end);
}

#[inline(never)]
fn many_digits(before: u8, number: u64, out: &mut Vec<u8>) {
    digits(before, number / SEVEN_DIGITS, out);
    let [_, last @ ..] = (eight_digits(number % SEVEN_DIGITS) | ZEROS).to_le_bytes();
    out.extend_from_slice(&last);
}

/// The digits of a number that has at most eight, a byte each, the first in the lowest. In three steps,
/// each of which halves all parts at once: by a hundred and by ten as a product and a shift, which is
/// exact for numbers so small.
fn eight_digits(number: u64) -> u64 {
    let fours = (number / 10_000) | ((number % 10_000) << 32);
    let hundreds = ((fours * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let twos = hundreds | ((fours - hundreds * 100) << 16);
    let tens = ((twos * 103) >> 10) & 0x000f_000f_000f_000f;
    tens | ((twos - tens * 10) << 8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::database::{Database, Migrations, Place};
    use crate::ledger::books::MIGRATIONS;
    use crate::telemetry::Metrics;

    static ROOMS: [&Migrations; 1] = [&MIGRATIONS];

    fn connection(folder: &std::path::Path) -> Connection {
        let place = Place::file(folder.join("weir.db"));
        drop(Database::open(place.clone(), &ROOMS, Metrics::new()).expect("opens"));
        Connection::open(&place).expect("opens")
    }

    #[test]
    fn a_record_reads_back_as_it_was() {
        let folder = tempfile::tempdir().expect("a folder");
        let connection = &mut connection(folder.path());
        let odd = "a \"quoted\" \\ \u{1}\n\u{2028} ünï";
        let entries = [
            Entry { attempts: 1, request_id: "plain", time_ms: 7, ..Entry::default() },
            Entry {
                time_ms: 5,
                duration_us: u64::MAX,
                ttft_us: Some(0),
                attempts: 3,
                tokens: [1, 2, 3, 4, 5, 6, 7, u64::MAX],
                cost_nano_usd: Some(9),
                body_in_bytes: 10,
                body_out_bytes: 11,
                request_id: odd,
                user: odd,
                model_asked: Some(""),
                tried: odd,
                named: odd,
                ..Entry::default()
            },
        ];
        let mut blocks = Blocks::default();
        blocks.add(100, 1, &entries[0]);
        blocks.add(101, 2, &entries[1]);
        blocks.insert(connection).expect("inserted");
        let sql = "SELECT time_ms, number, dims, duration_us, ttft_us, attempts, input_tokens, \
            output_tokens, cached_input_tokens, cache_creation_5m_tokens, cache_creation_1h_tokens, \
            reasoning_tokens, audio_input_tokens, audio_output_tokens, cost_nano_usd, body_in_bytes, \
            body_out_bytes, request_id, user_name, model_asked, tried, named FROM ledger_rows \
            ORDER BY number";
        let (mut numbers, mut texts) = (Vec::new(), Vec::new());
        let read = connection.query(sql, &[], &mut |row| {
            numbers.push((0..17).map(|at| row.int_or_null(at)).collect::<Result<Vec<_>, _>>()?);
            texts.push((17..22).map(|at| row.text_or_null(at)).collect::<Result<Vec<_>, _>>()?);
            Ok(())
        });
        read.expect("read");
        let max = i64::MAX;
        let plain = [7, 100, 1, 0, -1, 1, 0, 0, 0, 0, 0, 0, 0, 0, -1, 0, 0];
        let full = [5, 101, 2, max, 0, 3, 1, 2, 3, 4, 5, 6, 7, max, 9, 10, 11];
        let known = |number: i64| (number >= 0).then_some(number);
        assert_eq!(numbers, [plain.map(known), full.map(known)]);
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(texts[0], [text("plain"), text(""), None, None, None]);
        assert_eq!(texts[1], [text(odd), text(odd), text(""), text(odd), text(odd)]);
    }

    fn check_digits(number: u64) {
        let mut out = b"before".to_vec();
        digits(b',', number, &mut out);
        assert_eq!(String::from_utf8_lossy(&out), format!("before,{}", number.min(NUMBER_MAX)));
    }

    #[test]
    fn numbers_are_their_digits() {
        for tens in 0..20 {
            let power = 10_u64.pow(tens);
            [power - 1, power, power + 1].into_iter().for_each(check_digits);
        }
        for part in 0..10_000 {
            [part, 1000 * part + part, 10_000 * part + 9999].into_iter().for_each(check_digits);
        }
        [NUMBER_MAX - 1, NUMBER_MAX, NUMBER_MAX + 1, u64::MAX].into_iter().for_each(check_digits);
    }

    proptest! {
        #[test]
        fn any_number_is_its_digits(number: u64, shift in 0..64) {
            check_digits(number >> shift);
        }
    }

    #[test]
    fn blocks_are_short_and_of_one_hour() {
        let folder = tempfile::tempdir().expect("a folder");
        let connection = &mut connection(folder.path());
        let mut blocks = Blocks::default();
        for number in 0..4000 {
            // Three a millisecond around the turn of an hour, and every tenth much older.
            let old = if number % 10 == 0 { number * 100 } else { 0 };
            let time_ms = 10 * HOUR_MS - 500 + number / 3 - old;
            blocks.add(number, 1, &Entry { time_ms, attempts: 1, ..Entry::default() });
        }
        blocks.insert(connection).expect("inserted");
        let mut all = |sql: &str| {
            connection.first(sql, &[], |row| row.int(0)).expect("asked").unwrap_or_default()
        };
        assert_eq!(all("SELECT COUNT(*) FROM ledger_rows"), 4000);
        let long = format!(
            "SELECT COUNT(*) FROM ledger_blocks WHERE last_ms - first_ms >= {BLOCK_MS_MAX} OR \
             last_ms / {HOUR_MS} <> first_ms / {HOUR_MS} OR json_array_length(records) > \
             {BLOCK_RECORDS_MAX}"
        );
        assert_eq!(all(&long), 0);
        assert!((100..300).contains(&all("SELECT COUNT(*) FROM ledger_blocks")));
    }
}
