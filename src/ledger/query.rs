//! Questions to the ledger: its records, and sums of them. Rows come one by one and none is kept.
//!
//! Sums are read from the rows by day where a question is about whole days, from those by hour where it
//! is about whole hours, and only the rest of a period from the records themselves. Days and hours are
//! those of UTC. What is no longer kept in the detail that a question needs is refused, not
//! answered too low.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use super::books::{
    DAY_MS, DAYS_FROM, HOUR_MS, HOURS_FROM, RECORDS_FROM, SUMS, block_from, kept_from,
};
use crate::database::{Connection, Error, Fault, Row, Value};

/// Which records are meant. What is not said means all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// From this moment on.
    pub from_ms: Option<u64>,
    /// Before this moment.
    pub to_ms: Option<u64>,
    /// With these values.
    pub with: Vec<(Field, String)>,
}

/// What records are told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    /// The hour, in UTC.
    Hour,
    /// The day, in UTC.
    Day,
    /// The caller's tenant.
    Tenant,
    /// The caller's team.
    Team,
    /// The caller's key.
    Key,
    /// The end user.
    User,
    /// The route.
    Route,
    /// The pool.
    Pool,
    /// The endpoint.
    Endpoint,
    /// The client's format.
    Dialect,
    /// The model that served.
    Model,
    /// The provider.
    Provider,
    /// The target.
    Target,
    /// The status.
    Status,
    /// The error.
    Error,
    /// Who counted.
    Source,
    /// The version of the prices.
    Prices,
}

impl Field {
    /// Every field.
    pub const ALL: [Field; 17] = [
        Field::Hour,
        Field::Day,
        Field::Tenant,
        Field::Team,
        Field::Key,
        Field::User,
        Field::Route,
        Field::Pool,
        Field::Endpoint,
        Field::Dialect,
        Field::Model,
        Field::Provider,
        Field::Target,
        Field::Status,
        Field::Error,
        Field::Source,
        Field::Prices,
    ];

    /// Its name in commands, files and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Field::Hour => "hour",
            Field::Day => "day",
            Field::Tenant => "tenant",
            Field::Team => "team",
            Field::Key => "key",
            Field::User => "user",
            Field::Route => "route",
            Field::Pool => "pool",
            Field::Endpoint => "endpoint",
            Field::Dialect => "dialect",
            Field::Model => "model",
            Field::Provider => "provider",
            Field::Target => "target",
            Field::Status => "status",
            Field::Error => "error",
            Field::Source => "source",
            Field::Prices => "prices",
        }
    }

    /// The field of this name.
    pub fn named(name: &str) -> Option<Self> {
        Field::ALL.into_iter().find(|field| field.as_str() == name)
    }

    /// What stands for it, over rows `s` and what they have in common `d`.
    const fn sql(self) -> &'static str {
        match self {
            Field::Hour => "s.at_ms - s.at_ms % 3600000",
            Field::Day => "s.at_ms - s.at_ms % 86400000",
            Field::User => "s.user_name",
            Field::Tenant => "d.tenant",
            Field::Team => "d.team",
            Field::Key => "d.key_name",
            Field::Route => "d.route",
            Field::Pool => "d.pool",
            Field::Endpoint => "d.endpoint",
            Field::Dialect => "d.dialect",
            Field::Model => "d.model",
            Field::Provider => "d.provider",
            Field::Target => "d.target",
            Field::Status => "d.status",
            Field::Error => "d.error",
            Field::Source => "d.source",
            Field::Prices => "d.prices",
        }
    }

    const fn kind(self) -> Kind {
        match self {
            Field::Hour | Field::Day => Kind::Time,
            Field::Status => Kind::Number,
            _ => Kind::Text,
        }
    }
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A text; empty where nothing was known.
    Text,
    /// A whole number.
    Number,
    /// A moment, in milliseconds since 1970.
    Time,
    /// Yes (1) or no (0).
    Flag,
}

/// A column of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
}

/// A value of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// Nothing is known.
    Null,
    /// A text.
    Text(String),
    /// A number, moment or flag.
    Number(i64),
}

/// Columns of a record, with what stands for each.
const RECORD: [(&str, Kind, &str); 37] = [
    ("time", Kind::Time, "s.time_ms"),
    ("number", Kind::Number, "s.number"),
    ("request_id", Kind::Text, "s.request_id"),
    ("tenant", Kind::Text, "d.tenant"),
    ("team", Kind::Text, "d.team"),
    ("key", Kind::Text, "d.key_name"),
    ("user", Kind::Text, "s.user_name"),
    ("route", Kind::Text, "d.route"),
    ("pool", Kind::Text, "d.pool"),
    ("endpoint", Kind::Text, "d.endpoint"),
    ("dialect", Kind::Text, "d.dialect"),
    ("model_asked", Kind::Text, "COALESCE(s.model_asked, d.model)"),
    ("model", Kind::Text, "d.model"),
    ("provider", Kind::Text, "d.provider"),
    ("target", Kind::Text, "d.target"),
    ("attempts", Kind::Number, "s.attempts"),
    ("tried", Kind::Text, "s.tried"),
    ("status", Kind::Number, "d.status"),
    ("error", Kind::Text, "d.error"),
    ("stream", Kind::Flag, "d.stream"),
    ("hedged", Kind::Flag, "d.hedged"),
    ("client_gone", Kind::Flag, "d.client_gone"),
    ("broken", Kind::Flag, "d.broken"),
    ("input_tokens", Kind::Number, "s.input_tokens"),
    ("output_tokens", Kind::Number, "s.output_tokens"),
    ("cached_input_tokens", Kind::Number, "s.cached_input_tokens"),
    ("cache_creation_5m_tokens", Kind::Number, "s.cache_creation_5m_tokens"),
    ("cache_creation_1h_tokens", Kind::Number, "s.cache_creation_1h_tokens"),
    ("reasoning_tokens", Kind::Number, "s.reasoning_tokens"),
    ("audio_input_tokens", Kind::Number, "s.audio_input_tokens"),
    ("audio_output_tokens", Kind::Number, "s.audio_output_tokens"),
    ("source", Kind::Text, "d.source"),
    ("prices", Kind::Text, "d.prices"),
    ("cost_nano_usd", Kind::Number, "s.cost_nano_usd"),
    ("duration_us", Kind::Number, "s.duration_us"),
    ("ttft_us", Kind::Number, "s.ttft_us"),
    ("body_out_bytes", Kind::Number, "s.body_out_bytes"),
];

/// A question, as SQL.
#[derive(Clone, Debug)]
pub struct Question {
    sql: String,
    values: Vec<Bound>,
    columns: Vec<Column>,
}

#[derive(Clone, Debug)]
enum Bound {
    Text(String),
    Number(u64),
}

/// Which part of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// After this row of it.
    pub after: Option<Mark>,
    /// So many rows at most.
    pub limit: Option<u64>,
}

/// The place of a row in an answer. As a text it is the row before the next page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// A record.
    Record {
        /// Its time.
        time_ms: u64,
        /// Its number.
        number: u64,
    },
    /// So many rows of sums lie before the next.
    Sums(u64),
}

impl Mark {
    /// The record of a row.
    pub fn of_record(cells: &[Cell]) -> Option<Self> {
        match cells {
            [Cell::Number(time_ms), Cell::Number(number), ..] => {
                Some(Self::Record { time_ms: *time_ms as u64, number: *number as u64 })
            }
            _ => None,
        }
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mark::Record { time_ms, number } => write!(f, "{time_ms}-{number}"),
            Mark::Sums(rows) => write!(f, "{rows}"),
        }
    }
}

impl FromStr for Mark {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| {
            text.parse().map_err(|_| "`after` is the `next` of the page before".to_owned())
        };
        match text.split_once('-') {
            Some((time, rest)) => {
                Ok(Mark::Record { time_ms: number(time)?, number: number(rest)? })
            }
            None => number(text).map(Mark::Sums),
        }
    }
}

/// The columns of records.
pub fn record_columns() -> Vec<Column> {
    RECORD.map(|(name, kind, _)| Column { name, kind }).to_vec()
}

/// The columns of sums by these fields.
pub fn sum_columns(by: &[Field]) -> Vec<Column> {
    let by = by.iter().map(|by| Column { name: by.as_str(), kind: by.kind() });
    by.chain(SUMS.map(|name| Column { name, kind: Kind::Number })).collect()
}

impl Question {
    /// The records themselves, the oldest first.
    pub fn records(filter: &Filter, part: Part) -> Self {
        let mut question =
            Self { sql: String::new(), values: Vec::new(), columns: record_columns() };
        let columns = RECORD.map(|(.., sql)| sql).join(", ");
        question.sql = format!(
            "SELECT {columns} FROM ledger_rows s JOIN ledger_dims d ON d.number = s.dims WHERE 1 = 1"
        );
        question.within("s", filter.from_ms, filter.to_ms);
        question.with(&filter.with, "s.time_ms");
        if let Some(Mark::Record { time_ms, number }) = part.after {
            let [time, number] = [time_ms, number].map(|it| question.bind(Bound::Number(it)));
            let _ = write!(question.sql, " AND (s.time_ms, s.number) > ({time}, {number})");
        }
        question.sql.push_str(" ORDER BY s.time_ms, s.number");
        question.limit(part.limit);
        question
    }

    fn limit(&mut self, limit: Option<u64>) {
        if let Some(limit) = limit {
            let at = self.bind(Bound::Number(limit));
            let _ = write!(self.sql, " LIMIT {at}");
        }
    }

    /// Sums of the records, for each combination of these fields.
    ///
    /// # Errors
    ///
    /// What is asked is no longer kept in that detail.
    pub fn sums(
        connection: &mut Connection,
        filter: &Filter,
        by: &[Field],
        part: Part,
    ) -> Result<Self, Error> {
        let mut question =
            Self { sql: String::new(), values: Vec::new(), columns: sum_columns(by) };
        let mut selected: Vec<String> = by.iter().map(|by| by.sql().to_owned()).collect();
        let groups = selected.join(", ");
        selected.extend(SUMS.map(|sum| format!("CAST(COALESCE(SUM(s.{sum}), 0) AS BIGINT)")));
        question.sql = format!("SELECT {} FROM (", selected.join(", "));
        question.parts(connection, filter, by)?;
        question.sql.push_str(") s JOIN ledger_dims d ON d.number = s.dims WHERE 1 = 1");
        question.with(&filter.with, "s.at_ms");
        if !by.is_empty() {
            let _ = write!(question.sql, " GROUP BY {groups} ORDER BY {groups}");
        }
        question.limit(part.limit);
        if let Some(Mark::Sums(rows)) = part.after {
            let at = question.bind(Bound::Number(rows));
            let _ = write!(question.sql, " OFFSET {at}");
        }
        Ok(question)
    }

    /// Whole days or hours, and what is left of the period at its two ends.
    fn parts(
        &mut self,
        connection: &mut Connection,
        filter: &Filter,
        by: &[Field],
    ) -> Result<(), Error> {
        let fits = |period: u64| {
            let whole = |at: Option<u64>| at.is_none_or(|at| at % period == 0);
            whole(filter.from_ms) && whole(filter.to_ms)
        };
        let (table, mark) = if !by.contains(&Field::Hour) && fits(DAY_MS) {
            ("ledger_days", DAYS_FROM)
        } else {
            ("ledger_hours", HOURS_FROM)
        };
        let begin = filter.from_ms.map(|from| from.next_multiple_of(HOUR_MS));
        let end = filter.to_ms.map(|to| to - to % HOUR_MS);
        let kept = kept_from(connection, mark)?;
        let records_kept = kept_from(connection, RECORDS_FROM)?;
        if let Some(begin) = begin.filter(|begin| *begin < kept) {
            return Err(gone(table, begin, kept));
        }
        let _ = write!(
            self.sql,
            "SELECT p.from_ms AS at_ms, p.dims, p.user_name, {} FROM {table} p WHERE 1 = 1",
            SUMS.map(|sum| format!("p.{sum}")).join(", ")
        );
        self.between("p.from_ms", begin, end);
        let same_hour = matches!((begin, end), (Some(begin), Some(end)) if begin > end);
        let edges = if same_hour {
            vec![(filter.from_ms, filter.to_ms)]
        } else {
            vec![(filter.from_ms, begin), (end, filter.to_ms)]
        };
        for (from, to) in edges {
            let (Some(from), Some(to)) = (from, to) else { continue };
            if from >= to {
                continue;
            }
            if from < records_kept {
                return Err(gone("ledger_records", from, records_kept));
            }
            self.sql.push_str(
                " UNION ALL SELECT r.time_ms, r.dims, r.user_name, 1, r.attempts, r.input_tokens, \
                 r.output_tokens, r.cached_input_tokens, r.cache_creation_5m_tokens, \
                 r.cache_creation_1h_tokens, r.reasoning_tokens, r.audio_input_tokens, \
                 r.audio_output_tokens, COALESCE(r.cost_nano_usd, 0), CASE WHEN r.cost_nano_usd IS \
                 NULL AND e.source <> '' THEN 1 ELSE 0 END, r.duration_us FROM ledger_rows r JOIN \
                 ledger_dims e ON e.number = r.dims WHERE 1 = 1",
            );
            self.within("r", Some(from), Some(to));
        }
        Ok(())
    }

    /// Records of a period, with what says which blocks have them.
    fn within(&mut self, rows: &str, from: Option<u64>, to: Option<u64>) {
        self.between(&format!("{rows}.time_ms"), from, to);
        self.between(&format!("{rows}.first_ms"), from.map(block_from), to);
        self.between(&format!("{rows}.last_ms"), from, None);
    }

    fn between(&mut self, column: &str, from: Option<u64>, to: Option<u64>) {
        for (sign, at) in [(">=", from), ("<", to)] {
            if let Some(at) = at {
                let at = self.bind(Bound::Number(at));
                let _ = write!(self.sql, " AND {column} {sign} {at}");
            }
        }
    }

    fn with(&mut self, with: &[(Field, String)], time: &str) {
        for (field, value) in with {
            let bound = match field.kind() {
                Kind::Text => Bound::Text(value.clone()),
                _ => Bound::Number(value.parse().unwrap_or(u64::MAX)),
            };
            let at = self.bind(bound);
            let _ = write!(self.sql, " AND {} = {at}", field.sql().replace("s.at_ms", time));
        }
    }

    /// Numbers are told to be such, because a server guesses what a parameter is from its place.
    fn bind(&mut self, bound: Bound) -> String {
        let number = self.values.len() + 1;
        let text = match &bound {
            Bound::Text(_) => format!("?{number}"),
            Bound::Number(_) => format!("CAST(?{number} AS BIGINT)"),
        };
        self.values.push(bound);
        text
    }

    /// The columns of its answer.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Asks it, and gives each row as it comes.
    pub fn ask(
        &self,
        connection: &mut Connection,
        each: &mut dyn FnMut(&[Cell]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let values: Vec<Value<'_>> = self
            .values
            .iter()
            .map(|value| match value {
                Bound::Text(text) => Value::Text(text),
                Bound::Number(number) => Value::from(*number),
            })
            .collect();
        let mut cells = Vec::with_capacity(self.columns.len());
        connection.query(&self.sql, &values, &mut |row| {
            cells.clear();
            for (at, column) in self.columns.iter().enumerate() {
                cells.push(cell(row, at, *column)?);
            }
            each(&cells)
        })
    }
}

fn cell(row: &Row<'_>, at: usize, column: Column) -> Result<Cell, Error> {
    Ok(match column.kind {
        Kind::Text => row.text_or_null(at)?.map_or(Cell::Null, Cell::Text),
        _ => row.int_or_null(at)?.map_or(Cell::Null, Cell::Number),
    })
}

fn gone(table: &str, asked: u64, kept: u64) -> Error {
    let time = |ms| String::from_utf8_lossy(&crate::telemetry::timestamp(ms)).into_owned();
    let (what, advice) = match table {
        "ledger_days" => ("sums by day", ""),
        "ledger_hours" => ("sums by hour", "; whole days of UTC may go further back"),
        _ => ("records", "; whole hours may go further back"),
    };
    let (asked, kept) = (time(asked), time(kept));
    let message = format!("{asked} lies before {kept}, from when on {what} are kept{advice}");
    Error::new(Fault::Gone, message)
}

#[cfg(test)]
mod tests;
