//! Records as rows of `ledger_records`, many to a statement: how a server keeps them.
//!
//! Of the twenty-two columns of a row most requests need eleven: one attempt, the model that was asked
//! for, no kinds of tokens but the two that all have. Rows like that have a statement of their own, in
//! which the others stand as they are: each value that is bound costs about as much as one that is
//! stored.

use crate::database::{Connection, Error, Value};
use crate::ledger::entry::Entry;

/// Rows that one statement inserts: a server answers once for all of them.
const CHUNK: usize = 64;

const COLUMNS: &str = "time_ms, number, dims, request_id, input_tokens, output_tokens, \
    cost_nano_usd, duration_us, ttft_us, body_in_bytes, body_out_bytes, user_name, model_asked, \
    attempts, tried, cached_input_tokens, cache_creation_5m_tokens, cache_creation_1h_tokens, \
    reasoning_tokens, audio_input_tokens, audio_output_tokens, named";
/// The first of them, which differ from request to request.
const OWN: usize = 11;
/// The others, as they are for most.
const PLAIN: &str = "'', NULL, 1, NULL, 0, 0, 0, 0, 0, 0, NULL";
const ALL: usize = 22;

/// The number of the record, that of what it has in common with others, and the rest.
pub(super) type Row<'a> = (u64, i64, Entry<'a>);

/// Rows that wait until there are enough for a statement, by shape.
#[derive(Default)]
pub(super) struct Rows<'a> {
    plain: Chunk<'a>,
    full: Chunk<'a>,
}

/// Rows of one shape.
#[derive(Default)]
pub(super) struct Chunk<'a> {
    rows: Vec<Row<'a>>,
    shape: Shape,
}

/// Which values are bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Shape {
    #[default]
    Plain,
    Full,
}

impl<'a> Rows<'a> {
    /// Adds one. Gives a chunk that is full by that.
    pub(super) fn add(&mut self, row: Row<'a>) -> Option<&mut Chunk<'a>> {
        let shape = Shape::of(&row.2);
        let chunk = match shape {
            Shape::Plain => &mut self.plain,
            Shape::Full => &mut self.full,
        };
        chunk.shape = shape;
        chunk.rows.push(row);
        (chunk.rows.len() == CHUNK).then_some(chunk)
    }

    /// What is left.
    pub(super) fn rest(&mut self) -> [&mut Chunk<'a>; 2] {
        [&mut self.plain, &mut self.full]
    }
}

impl Shape {
    fn of(entry: &Entry<'_>) -> Self {
        let plain = entry.user.is_empty()
            && entry.model_asked.is_none()
            && entry.attempts == 1
            && entry.tried.is_empty()
            && entry.tokens[2..].iter().all(|tokens| *tokens == 0)
            && entry.named.is_empty();
        if plain { Self::Plain } else { Self::Full }
    }

    const fn values(self) -> usize {
        match self {
            Shape::Plain => OWN,
            Shape::Full => ALL,
        }
    }

    fn sql(self, rows: usize) -> String {
        let row = |row: usize| {
            let first = row * self.values() + 1;
            let values: Vec<String> =
                (first..first + self.values()).map(|number| format!("?{number}")).collect();
            match self {
                Shape::Plain => format!("({}, {PLAIN})", values.join(", ")),
                Shape::Full => format!("({})", values.join(", ")),
            }
        };
        let rows: Vec<String> = (0..rows).map(row).collect();
        // A record that is there already was entered before its journal was lost with its database.
        format!(
            "INSERT INTO ledger_records ({COLUMNS}) VALUES {} ON CONFLICT (time_ms, number) DO NOTHING",
            rows.join(", ")
        )
    }

    fn bind<'a>(self, (number, dims, entry): &Row<'a>, values: &mut Vec<Value<'a>>) {
        values.extend([
            Value::from(entry.time_ms),
            (*number).into(),
            Value::Int(*dims),
            entry.request_id.into(),
            entry.tokens[0].into(),
            entry.tokens[1].into(),
            entry.cost_nano_usd.into(),
            entry.duration_us.into(),
            entry.ttft_us.into(),
            entry.body_in_bytes.into(),
            entry.body_out_bytes.into(),
        ]);
        if self == Shape::Full {
            values.extend([
                Value::from(entry.user),
                entry.model_asked.into(),
                entry.attempts.into(),
                (!entry.tried.is_empty()).then_some(entry.tried).into(),
            ]);
            values.extend(entry.tokens[2..].iter().map(|tokens| Value::from(*tokens)));
            values.push((!entry.named.is_empty()).then_some(entry.named).into());
        }
    }
}

/// The statements.
#[derive(Debug, Default)]
pub(super) struct Inserts {
    plain: Statements,
    full: Statements,
}

#[derive(Debug, Default)]
struct Statements {
    chunk: String,
    one: String,
}

impl Inserts {
    /// Enters rows, a whole chunk or what is left of one, and takes them out.
    pub(super) fn insert(
        &mut self,
        connection: &mut Connection,
        chunk: &mut Chunk<'_>,
    ) -> Result<(), Error> {
        let shape = chunk.shape;
        let statements = match shape {
            Shape::Plain => &mut self.plain,
            Shape::Full => &mut self.full,
        };
        if statements.one.is_empty() {
            *statements = Statements { chunk: shape.sql(CHUNK), one: shape.sql(1) };
        }
        // They come as requests end. In the order of the table a row goes behind the one before it.
        let mut rows: Vec<&Row<'_>> = chunk.rows.iter().collect();
        rows.sort_unstable_by_key(|(number, _, entry)| (entry.time_ms, *number));
        let mut values = Vec::with_capacity(rows.len() * shape.values());
        if rows.len() == CHUNK {
            for row in &rows {
                shape.bind(row, &mut values);
            }
            connection.execute(&statements.chunk, &values)?;
        } else {
            for row in rows {
                values.clear();
                shape.bind(row, &mut values);
                connection.execute(&statements.one, &values)?;
            }
        }
        chunk.rows.clear();
        Ok(())
    }
}
