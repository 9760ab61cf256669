//! `SQLite`, embedded.

use std::path::Path;
use std::time::Duration;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, ToSql};

use super::value::Inner;
use super::{Error, Fault, Row, Synchronous, Value};

/// Bytes of a page of a new file. Each page is written twice and read once on its way, which costs more
/// calls than bytes; with larger ones a change of a few bytes would write too many.
const PAGE_BYTES: u32 = 16 << 10;
/// Memory for pages of one connection, in KiB. What is added goes through it once: in more, each page
/// would be one that has left the processor's own cache. What is read again is in the page cache.
const CACHE_KIB: i32 = 512;
/// With so many bytes of changes they go on from the log to the file.
const CHECKPOINT_BYTES: u32 = 2 << 20;

/// Opens a file, which is made where there is none.
pub(super) fn open(
    path: &Path,
    synchronous: Synchronous,
    busy: Duration,
) -> Result<Connection, Error> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(busy)?;
    // Both hold for a new file only, and only before anything else is said. Space that rows leave goes
    // back to the disk little by little.
    connection.pragma_update(None, "page_size", PAGE_BYTES)?;
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    let synchronous = match synchronous {
        Synchronous::Full => "FULL",
        Synchronous::Normal => "NORMAL",
    };
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // A negative number is one of KiB.
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    let page_bytes =
        connection.pragma_query_value(None, "page_size", |row| row.get::<_, u32>(0))?;
    let pages = CHECKPOINT_BYTES / page_bytes.max(512);
    connection.pragma_update(None, "wal_autocheckpoint", pages)?;
    Ok(connection)
}

pub(super) fn execute(
    connection: &Connection,
    sql: &str,
    values: &[Value<'_>],
) -> Result<u64, Error> {
    let mut statement = connection.prepare_cached(sql)?;
    let changed = statement.execute(rusqlite::params_from_iter(values))?;
    Ok(changed as u64)
}

pub(super) fn query(
    connection: &Connection,
    sql: &str,
    values: &[Value<'_>],
    each: &mut dyn FnMut(&Row<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(rusqlite::params_from_iter(values))?;
    while let Some(row) = rows.next()? {
        each(&Row(Inner::Sqlite(row)))?;
    }
    Ok(())
}

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match *self {
            Value::Null => ValueRef::Null,
            Value::Int(number) => ValueRef::Integer(number),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
            Value::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        let fault = match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Fault::Locked,
            Some(ErrorCode::DiskFull) => Fault::Full,
            Some(ErrorCode::ReadOnly) => Fault::ReadOnly,
            Some(ErrorCode::SystemIoFailure) => Fault::Io,
            Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => Fault::Away,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Fault::Corrupt,
            Some(ErrorCode::ConstraintViolation) => Fault::Constraint,
            _ => Fault::Other,
        };
        Error::new(fault, error.to_string())
    }
}
