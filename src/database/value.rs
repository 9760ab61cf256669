//! Parameters and rows, for both engines.

use super::{Error, Fault};

/// A parameter of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// No value.
    Null,
    /// A `BIGINT`.
    Int(i64),
    /// A `TEXT`.
    Text(&'a str),
    /// A `BYTEA`.
    Blob(&'a [u8]),
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Value::Int(number)
    }
}

/// What does not fit is as large as fits.
impl From<u64> for Value<'_> {
    fn from(number: u64) -> Self {
        Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<bool> for Value<'_> {
    fn from(flag: bool) -> Self {
        Value::Int(flag.into())
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Value::Text(text)
    }
}

impl<'a> From<&'a String> for Value<'a> {
    fn from(text: &'a String) -> Self {
        Value::Text(text)
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Value::Blob(bytes)
    }
}

impl<'a, T: Into<Value<'a>>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::Null, Into::into)
    }
}

/// A row of an answer. Columns count from 0.
pub struct Row<'r>(pub(super) Inner<'r>);

pub(super) enum Inner<'r> {
    Sqlite(&'r rusqlite::Row<'r>),
    Postgres(&'r postgres::Row),
}

impl Row<'_> {
    /// A number that is there.
    pub fn int(&self, at: usize) -> Result<i64, Error> {
        self.int_or_null(at)?.ok_or_else(|| missing(at))
    }

    /// A number that may be missing.
    pub fn int_or_null(&self, at: usize) -> Result<Option<i64>, Error> {
        match &self.0 {
            Inner::Sqlite(row) => row.get(at).map_err(Error::from),
            Inner::Postgres(row) => row.try_get(at).map_err(Error::from),
        }
    }

    /// A text that is there.
    pub fn text(&self, at: usize) -> Result<String, Error> {
        self.text_or_null(at)?.ok_or_else(|| missing(at))
    }

    /// A text that may be missing.
    pub fn text_or_null(&self, at: usize) -> Result<Option<String>, Error> {
        match &self.0 {
            Inner::Sqlite(row) => row.get(at).map_err(Error::from),
            Inner::Postgres(row) => row.try_get(at).map_err(Error::from),
        }
    }

    /// Bytes that are there.
    pub fn blob(&self, at: usize) -> Result<Vec<u8>, Error> {
        match &self.0 {
            Inner::Sqlite(row) => row.get(at).map_err(Error::from),
            Inner::Postgres(row) => row.try_get(at).map_err(Error::from),
        }
    }
}

fn missing(at: usize) -> Error {
    Error::new(Fault::Other, format!("column {at} of an answer has no value"))
}
