//! Rows as JSON lines or CSV (RFC 4180), one by one.

use std::io::{self, Write};

use super::json;
use super::query::{Cell, Column, Kind};
use crate::telemetry::timestamp;

/// The form of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// One JSON object a line.
    #[default]
    Jsonl,
    /// A line of names, and one a row.
    Csv,
}

/// Writes rows.
pub struct Export<W> {
    out: W,
    form: Form,
    columns: Vec<Column>,
    line: Vec<u8>,
}

impl<W: Write> Export<W> {
    /// Begins a file.
    pub fn begin(mut out: W, form: Form, columns: &[Column]) -> io::Result<Self> {
        if form == Form::Csv {
            let names: Vec<&str> = columns.iter().map(|column| column.name).collect();
            writeln!(out, "{}", names.join(","))?;
        }
        Ok(Self { out, form, columns: columns.to_vec(), line: Vec::new() })
    }

    /// Writes a row.
    pub fn row(&mut self, cells: &[Cell]) -> io::Result<()> {
        self.line.clear();
        match self.form {
            Form::Jsonl => self.json(cells),
            Form::Csv => self.csv(cells),
        }
        self.line.push(b'\n');
        self.out.write_all(&self.line)
    }

    /// Ends it.
    pub fn end(mut self) -> io::Result<W> {
        self.out.flush()?;
        Ok(self.out)
    }

    fn json(&mut self, cells: &[Cell]) {
        self.line.push(b'{');
        for (at, (column, cell)) in self.columns.iter().zip(cells).enumerate() {
            if at > 0 {
                self.line.push(b',');
            }
            json::string(column.name, usize::MAX, &mut self.line);
            self.line.push(b':');
            match (cell, column.kind) {
                (Cell::Null, _) => self.line.extend_from_slice(b"null"),
                (Cell::Text(text), _) => json::string(text, usize::MAX, &mut self.line),
                (Cell::Number(ms), Kind::Time) => {
                    self.line.push(b'"');
                    self.line.extend_from_slice(&timestamp(*ms as u64));
                    self.line.push(b'"');
                }
                (Cell::Number(flag), Kind::Flag) => {
                    self.line.extend_from_slice(if *flag == 0 { b"false" } else { b"true" });
                }
                (Cell::Number(number), _) => {
                    self.line.extend_from_slice(itoa::Buffer::new().format(*number).as_bytes());
                }
            }
        }
        self.line.push(b'}');
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
