//! The table of responses.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, Result, params};

use super::thread::said;
use super::{Kept, StoreError, TURNS_MAX, Turn};

/// Another process may hold the file for a moment while it takes over.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was kept is read by later versions: a change of shape is a new table.
const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS responses_1 (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        owner TEXT NOT NULL,
        id TEXT NOT NULL,
        previous TEXT,
        expires_s INTEGER NOT NULL,
        bytes INTEGER NOT NULL,
        input BLOB NOT NULL,
        response BLOB NOT NULL,
        UNIQUE (owner, id)
    );
    CREATE INDEX IF NOT EXISTS responses_1_expires ON responses_1 (expires_s);
    CREATE INDEX IF NOT EXISTS responses_1_bytes ON responses_1 (number, bytes);
";

/// Responses by owner and id.
#[derive(Debug)]
pub(super) struct Database {
    connection: Connection,
    bytes: u64,
    /// The second of Unix time in which what had expired was let go.
    swept_s: u64,
}

impl Database {
    pub(super) fn open(path: Option<&Path>) -> Result<Self> {
        let connection = match path {
            Some(path) => Connection::open(path)?,
            None => Connection::open_in_memory()?,
        };
        connection.busy_timeout(PATIENCE)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // A power cut may take the last responses with it, never the database.
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.execute_batch(SCHEMA)?;
        let mut database = Self { connection, bytes: 0, swept_s: 0 };
        database.bytes = database.sum()?;
        Ok(database)
    }

    fn sum(&self) -> Result<u64> {
        let sql = "SELECT COALESCE(SUM(bytes), 0) FROM responses_1";
        self.connection.query_row(sql, [], |row| row.get::<_, i64>(0)).map(|sum| sum as u64)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Keeps a response, and lets go what has expired or is too much.
    pub(super) fn keep(
        &mut self,
        kept: &Kept,
        now_s: u64,
        expires_s: u64,
        bytes_max: u64,
    ) -> Result<()> {
        let bytes = (kept.input.len() + kept.response.len()) as u64;
        let transaction = self.connection.transaction()?;
        let mut freed: u64 = 0;
        if now_s != self.swept_s {
            let expired = "DELETE FROM responses_1 WHERE expires_s <= ?1 RETURNING bytes";
            freed += removed(&transaction, expired, params![now_s as i64])?;
            self.swept_s = now_s;
        }
        let oldest = "DELETE FROM responses_1 WHERE number = \
                      (SELECT MIN(number) FROM responses_1) RETURNING bytes";
        while self.bytes.saturating_sub(freed) + bytes > bytes_max {
            match removed(&transaction, oldest, params![])? {
                0 => break,
                more => freed += more,
            }
        }
        let insert = "INSERT INTO responses_1 \
                      (owner, id, previous, expires_s, bytes, input, response) \
                      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (owner, id) DO NOTHING";
        let row = params![
            kept.owner,
            kept.id,
            kept.previous,
            expires_s as i64,
            bytes as i64,
            &kept.input[..],
            &kept.response[..]
        ];
        // An id is an upstream's own in few cases, and then hardly ever the same twice.
        if transaction.prepare_cached(insert)?.execute(row)? == 0 {
            let same = "DELETE FROM responses_1 WHERE owner = ?1 AND id = ?2 RETURNING bytes";
            freed += removed(&transaction, same, params![kept.owner, kept.id])?;
            transaction.prepare_cached(insert)?.execute(row)?;
        }
        transaction.commit()?;
        self.bytes = self.bytes.saturating_sub(freed) + bytes;
        Ok(())
    }

    /// A response, and the one that it continues.
    pub(super) fn turn(
        &self,
        owner: &str,
        id: &str,
        now_s: u64,
    ) -> Result<Option<(Turn, Option<String>)>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT input, response, previous FROM responses_1 \
             WHERE owner = ?1 AND id = ?2 AND expires_s > ?3",
        )?;
        let read = |row: &rusqlite::Row<'_>| {
            let (input, response): (Vec<u8>, Vec<u8>) = (row.get(0)?, row.get(1)?);
            Ok((Turn { input: input.into(), response: response.into() }, row.get(2)?))
        };
        statement.query_row(params![owner, id, now_s as i64], read).optional()
    }

    /// The turns that end with a response, the oldest first. None if one of them is not there.
    pub(super) fn conversation(
        &self,
        owner: &str,
        id: &str,
        now_s: u64,
        bytes_max: u64,
    ) -> std::result::Result<Option<Vec<Turn>>, StoreError> {
        let mut turns = Vec::new();
        let mut bytes = 0;
        let mut next = Some(id.to_owned());
        while let Some(id) = next {
            let Some((turn, previous)) = said(self.turn(owner, &id, now_s))? else {
                return Ok(None);
            };
            bytes += (turn.input.len() + turn.response.len()) as u64;
            if bytes > bytes_max || turns.len() >= TURNS_MAX {
                return Err(StoreError::TooLong);
            }
            turns.push(turn);
            next = previous;
        }
        turns.reverse();
        Ok(Some(turns))
    }

    /// Forgets a response. False if there is none.
    pub(super) fn delete(&mut self, owner: &str, id: &str, now_s: u64) -> Result<bool> {
        let sql = "DELETE FROM responses_1 WHERE owner = ?1 AND id = ?2 AND expires_s > ?3 \
                   RETURNING bytes";
        let freed = removed(&self.connection, sql, params![owner, id, now_s as i64])?;
        self.bytes = self.bytes.saturating_sub(freed);
        Ok(freed > 0)
    }
}

/// The bytes of the rows that a statement removes.
fn removed(connection: &Connection, sql: &str, params: &[&dyn rusqlite::ToSql]) -> Result<u64> {
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params, |row| row.get::<_, i64>(0))?;
    rows.map(|bytes| bytes.map(|bytes| bytes as u64)).sum()
}
