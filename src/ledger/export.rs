//! Rows as JSON lines, CSV (RFC 4180) or Parquet, one by one.

use std::io::{self, Write};
use std::str::FromStr;

use super::json;
use super::parquet::Groups;
use super::query::{Cell, Column, Kind, Mark, Part};
use super::select::Selection;
use crate::database::{Connection, Error, Fault};
use crate::telemetry::timestamp;

/// The form of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// One JSON object a line.
    #[default]
    Jsonl,
    /// A line of names, and one a row.
    Csv,
    /// Columns with their types, in groups of rows.
    Parquet,
}

impl Form {
    /// Its name in commands and addresses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Form::Jsonl => "jsonl",
            Form::Csv => "csv",
            Form::Parquet => "parquet",
        }
    }

    /// Its media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Form::Jsonl => "application/jsonl",
            Form::Csv => "text/csv; charset=utf-8",
            Form::Parquet => "application/vnd.apache.parquet",
        }
    }

    /// Every form.
    pub const ALL: [Form; 3] = [Form::Jsonl, Form::Csv, Form::Parquet];
}

impl FromStr for Form {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Form::ALL.into_iter().find(|form| form.as_str() == name);
        let names = || format!("there are {}", Form::ALL.map(Form::as_str).join(", "));
        found.ok_or_else(names)
    }
}

/// Records that are read in one go.
const PAGE_ROWS: u64 = 2000;

/// Why a file is not whole.
#[derive(Debug)]
pub enum Failed {
    /// It could not be written.
    Out(io::Error),
    /// The ledger could not be read.
    Database(Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Database(error)
    }
}

/// Writes what is selected, at most so many rows. Gives their number.
///
/// Records are read some at a time, each time from where the last ones ended, and flushed between:
/// however long it takes, no statement of the database does.
pub fn copy<W: Write + Send>(
    connection: &mut Connection,
    selection: &Selection,
    limit: Option<u64>,
    out: &mut Export<W>,
) -> Result<u64, Failed> {
    let (mut written, mut after) = (0, None);
    loop {
        let rows = match selection.by {
            None => Some(PAGE_ROWS.min(limit.map_or(u64::MAX, |limit| limit - written))),
            Some(_) => limit,
        };
        let read = copy_part(connection, selection, Part { after, limit: rows }, out)?;
        out.pause().map_err(Failed::Out)?;
        written += read.0;
        after = read.1;
        if selection.by.is_some() || Some(read.0) < rows || Some(written) == limit {
            return Ok(written);
        }
    }
}

/// Gives the number of rows, and the place of the last of records.
fn copy_part<W: Write + Send>(
    connection: &mut Connection,
    selection: &Selection,
    part: Part,
    out: &mut Export<W>,
) -> Result<(u64, Option<Mark>), Failed> {
    let (mut rows, mut last, mut broken) = (0, None, None);
    let asked = selection.ask(connection, part, &mut |cells| {
        rows += 1;
        last = Mark::of_record(cells);
        out.row(cells).map_err(|error| {
            broken = Some(error);
            Error::new(Fault::Other, "the rest is not wanted")
        })
    });
    match (broken, asked) {
        (Some(error), _) => Err(Failed::Out(error)),
        (None, Err(error)) => Err(error.into()),
        (None, Ok(())) => Ok((rows, last)),
    }
}

/// Writes rows.
pub struct Export<W: Write + Send>(To<W>);

enum To<W: Write + Send> {
    Lines(Lines<W>),
    Groups(Box<Groups<W>>),
}

impl<W: Write + Send> Export<W> {
    /// Begins a file.
    pub fn begin(out: W, form: Form, columns: &[Column]) -> io::Result<Self> {
        Ok(Self(match form {
            Form::Parquet => To::Groups(Box::new(Groups::begin(out, columns)?)),
            Form::Jsonl => To::Lines(Lines::begin(out, false, columns)?),
            Form::Csv => To::Lines(Lines::begin(out, true, columns)?),
        }))
    }

    /// Writes a row.
    pub fn row(&mut self, cells: &[Cell]) -> io::Result<()> {
        match &mut self.0 {
            To::Lines(lines) => lines.row(cells),
            To::Groups(groups) => groups.row(cells),
        }
    }

    /// Hands on what was written so far, as far as it may stand alone.
    pub fn pause(&mut self) -> io::Result<()> {
        match &mut self.0 {
            To::Lines(lines) => lines.out.flush(),
            To::Groups(groups) => groups.pause(),
        }
    }

    /// Ends it.
    pub fn end(self) -> io::Result<W> {
        let mut out = match self.0 {
            To::Lines(lines) => lines.out,
            To::Groups(groups) => groups.end()?,
        };
        out.flush()?;
        Ok(out)
    }
}

/// A row a line.
struct Lines<W> {
    out: W,
    csv: bool,
    columns: Vec<Column>,
    line: Vec<u8>,
}

impl<W: Write> Lines<W> {
    fn begin(mut out: W, csv: bool, columns: &[Column]) -> io::Result<Self> {
        if csv {
            let names: Vec<&str> = columns.iter().map(|column| column.name).collect();
            writeln!(out, "{}", names.join(","))?;
        }
        Ok(Self { out, csv, columns: columns.to_vec(), line: Vec::new() })
    }

    fn row(&mut self, cells: &[Cell]) -> io::Result<()> {
        self.line.clear();
        if self.csv {
            self.csv(cells);
        } else {
            json_row(&self.columns, cells, &mut self.line);
        }
        self.line.push(b'\n');
        self.out.write_all(&self.line)
    }

    fn csv(&mut self, cells: &[Cell]) {
        for (at, (column, cell)) in self.columns.iter().zip(cells).enumerate() {
            if at > 0 {
                self.line.push(b',');
            }
            match (cell, column.kind) {
                (Cell::Null, _) => {}
                (Cell::Text(text), _) => field(text, &mut self.line),
                (Cell::Number(ms), Kind::Time) => {
                    self.line.extend_from_slice(&timestamp(*ms as u64));
                }
                (Cell::Number(number), _) => {
                    self.line.extend_from_slice(itoa::Buffer::new().format(*number).as_bytes());
                }
            }
        }
    }
}

/// A row as a JSON object.
pub fn json_row(columns: &[Column], cells: &[Cell], out: &mut Vec<u8>) {
    out.push(b'{');
    for (at, (column, cell)) in columns.iter().zip(cells).enumerate() {
        if at > 0 {
            out.push(b',');
        }
        json::string(column.name, usize::MAX, out);
        out.push(b':');
        match (cell, column.kind) {
            (Cell::Null, _) => out.extend_from_slice(b"null"),
            (Cell::Text(text), _) => json::string(text, usize::MAX, out),
            (Cell::Number(ms), Kind::Time) => {
                out.push(b'"');
                out.extend_from_slice(&timestamp(*ms as u64));
                out.push(b'"');
            }
            (Cell::Number(flag), Kind::Flag) => {
                out.extend_from_slice(if *flag == 0 { b"false" } else { b"true" });
            }
            (Cell::Number(number), _) => {
                out.extend_from_slice(itoa::Buffer::new().format(*number).as_bytes());
            }
        }
    }
    out.push(b'}');
}

/// A text between quotes where it needs them. One that a spreadsheet would take for a formula gets an
/// apostrophe before it, because names in it may come from clients.
fn field(text: &str, out: &mut Vec<u8>) {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    if !formula && !text.contains([',', '"', '\n', '\r']) {
        return out.extend_from_slice(text.as_bytes());
    }
    out.push(b'"');
    if formula {
        out.push(b'\'');
    }
    out.extend_from_slice(text.replace('"', "\"\"").as_bytes());
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_in_both_forms() {
        let columns = [
            Column { name: "time", kind: Kind::Time },
            Column { name: "user", kind: Kind::Text },
            Column { name: "stream", kind: Kind::Flag },
            Column { name: "cost_nano_usd", kind: Kind::Number },
        ];
        let rows = [
            [Cell::Number(0), Cell::Text("a,\"b\"\n".into()), Cell::Number(1), Cell::Null],
            [Cell::Number(1), Cell::Text("=1+1".into()), Cell::Number(0), Cell::Number(-5)],
        ];
        let written = |form| {
            let mut export = Export::begin(Vec::new(), form, &columns).expect("begun");
            for row in &rows {
                export.row(row).expect("written");
            }
            String::from_utf8(export.end().expect("ended")).expect("text")
        };
        assert_eq!(
            written(Form::Csv),
            "time,user,stream,cost_nano_usd\n\
             1970-01-01T00:00:00.000Z,\"a,\"\"b\"\"\n\",1,\n\
             1970-01-01T00:00:00.001Z,\"'=1+1\",0,-5\n"
        );
        assert_eq!(
            written(Form::Jsonl),
            "{\"time\":\"1970-01-01T00:00:00.000Z\",\"user\":\"a,\\\"b\\\"\\n\",\"stream\":true,\
             \"cost_nano_usd\":null}\n\
             {\"time\":\"1970-01-01T00:00:00.001Z\",\"user\":\"=1+1\",\"stream\":false,\
             \"cost_nano_usd\":-5}\n"
        );
    }
}
