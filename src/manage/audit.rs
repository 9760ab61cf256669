//! The audit log: what administrators changed and what they were refused, each entry bound to the one
//! before it.
//!
//! An entry's hash is keyed with the secret of `identity` and is over the hash before it and all of
//! the entry. Whoever changes, removes or puts in an entry without that secret breaks the chain from
//! there on; the end of the chain is kept apart, so that entries cut off at the end are missed as well.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::{Error, Office, Page, Paged};
use crate::clock;
use crate::database::{self, Connection, Row};
use crate::tenant::{Hash, KeyHasher};

/// What is entered.
#[derive(Clone, Debug, PartialEq)]
pub struct Audited {
    /// Who: the name of the token.
    pub actor: String,
    /// Its role.
    pub role: String,
    /// What was done or asked for (`key.create`).
    pub action: String,
    /// To what (`acme/ci`).
    pub subject: String,
    /// Whether it was done.
    pub outcome: Outcome,
    /// Before and after, or why it was refused.
    pub detail: Value,
}

/// Whether something was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was.
    Done,
    /// It was refused.
    Refused,
}

impl Outcome {
    const fn as_str(self) -> &'static str {
        match self {
            Outcome::Done => "done",
            Outcome::Refused => "refused",
        }
    }
}

/// An entry.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Entry {
    /// Its number, from 1.
    pub number: u64,
    /// When, in milliseconds of Unix time.
    pub time_unix_ms: u64,
    /// Who: the name of the token.
    pub actor: String,
    /// Its role.
    pub role: String,
    /// What was done or asked for.
    pub action: String,
    /// To what.
    pub subject: String,
    /// `done` or `refused`.
    pub outcome: String,
    /// Before and after, or why it was refused.
    pub detail: Value,
    /// The hash that binds it to all entries before it.
    pub hash: String,
}

/// What came of a check of the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Verified {
    /// Entries that were checked.
    pub entries: u64,
    /// The hash of the last one.
    pub hash: String,
    /// The first entry at which the chain is broken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broken: Option<Broken>,
}

/// Where and how the chain is broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Broken {
    /// The number at which it is.
    pub number: u64,
    /// What is wrong there.
    pub why: String,
}

/// Entries that are checked in one go.
const VERIFY_ROWS: usize = 1000;

const COLUMNS: &str = "number, time_ms, actor, role, action, subject, outcome, detail, hash";

/// A row, as it is in the table.
struct Stored {
    number: u64,
    time_ms: u64,
    texts: [String; 6],
    hash: Vec<u8>,
}

impl Stored {
    fn read(row: &Row<'_>) -> Result<Self, database::Error> {
        let text = |at| row.text(at);
        Ok(Self {
            number: row.int(0)? as u64,
            time_ms: row.int(1)? as u64,
            texts: [text(2)?, text(3)?, text(4)?, text(5)?, text(6)?, text(7)?],
            hash: row.blob(8)?,
        })
    }

    /// The hash that it must have after the one before it.
    fn chained(&self, hasher: &KeyHasher, before: &[u8]) -> Hash {
        let mut bytes = Vec::with_capacity(512);
        bytes.extend_from_slice(before);
        bytes.extend_from_slice(&self.number.to_be_bytes());
        bytes.extend_from_slice(&self.time_ms.to_be_bytes());
        for text in &self.texts {
            // With its length: where one ends and the next begins counts.
            bytes.extend_from_slice(&(text.len() as u64).to_be_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        hasher.hash(&bytes)
    }

    fn entry(self) -> Entry {
        let [actor, role, action, subject, outcome, detail] = self.texts;
        Entry {
            number: self.number,
            time_unix_ms: self.time_ms,
            actor,
            role,
            action,
            subject,
            outcome,
            detail: serde_json::from_str(&detail).unwrap_or(Value::String(detail)),
            hash: hex(&self.hash),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The number and the hash of the last entry.
fn end(connection: &mut Connection) -> Result<(u64, Vec<u8>), database::Error> {
    let sql = "SELECT audit_number, audit_hash FROM identity_state WHERE one = 1";
    let read = |row: &Row<'_>| Ok((row.int(0)? as u64, row.blob(1)?));
    Ok(connection.first(sql, &[], read)?.unwrap_or_default())
}

/// Enters something, in the transaction of the change that it tells of.
pub(super) fn append(
    connection: &mut Connection,
    hasher: &KeyHasher,
    entry: &Audited,
) -> Result<(), database::Error> {
    let (last, before) = end(connection)?;
    let stored = Stored {
        number: last + 1,
        time_ms: clock::unix_ms(),
        texts: [
            entry.actor.clone(),
            entry.role.clone(),
            entry.action.clone(),
            entry.subject.clone(),
            entry.outcome.as_str().to_owned(),
            entry.detail.to_string(),
        ],
        hash: Vec::new(),
    };
    let hash = stored.chained(hasher, &before);
    let [actor, role, action, subject, outcome, detail] = &stored.texts;
    connection.execute(
        "INSERT INTO identity_audit \
         (number, time_ms, actor, role, action, subject, outcome, detail, hash) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        &[
            stored.number.into(),
            stored.time_ms.into(),
            actor.into(),
            role.into(),
            action.into(),
            subject.into(),
            outcome.into(),
            detail.into(),
            hash[..].into(),
        ],
    )?;
    connection.execute(
        "UPDATE identity_state SET audit_number = ?1, audit_hash = ?2 WHERE one = 1",
        &[stored.number.into(), hash[..].into()],
    )?;
    Ok(())
}

impl Office {
    /// Enters what was refused.
    pub async fn refused(&self, entry: Audited) -> Result<(), Error> {
        let hasher = self.hasher.clone();
        let call = self.database.call(move |connection| {
            connection.transaction(|connection| {
                take_turn(connection)?;
                append(connection, &hasher, &entry)
            })
        });
        Ok(call.await?)
    }

    /// Enters that so many refused requests have no entry of their own: more came than are entered one
    /// by one.
    pub(super) async fn unrecorded(&self, requests: u64, of: &'static str) -> Result<(), Error> {
        let entry = Audited {
            actor: String::new(),
            role: String::new(),
            action: "refusals.unrecorded".into(),
            subject: String::new(),
            outcome: Outcome::Refused,
            detail: serde_json::json!({ "requests": requests, "of": of }),
        };
        self.refused(entry).await
    }

    /// Entries, the oldest first.
    pub async fn audit(&self, page: Page) -> Result<Paged<Entry>, Error> {
        let after = match &page.after {
            Some(after) => {
                after.parse::<u64>().map_err(|_| Error::invalid("`after` is no number"))?
            }
            None => 0,
        };
        let rows = page.rows();
        let sql = format!(
            "SELECT {COLUMNS} FROM identity_audit WHERE number > ?1 ORDER BY number LIMIT ?2"
        );
        let call = self.database.call(move |connection| {
            let mut entries = Vec::new();
            connection.query(&sql, &[after.into(), rows.into()], &mut |row| {
                entries.push(Stored::read(row)?.entry());
                Ok(())
            })?;
            Ok(entries)
        });
        Ok(page.of(call.await?, |entry| entry.number.to_string()))
    }

    /// Checks the whole chain. It is read a page at a time, with room for other work in between; only
    /// the last page is read with its end, while nobody else enters anything.
    pub async fn verify_audit(&self) -> Result<Verified, Error> {
        let mut chain = Chain::new(self.hasher.clone());
        loop {
            let after = chain.checked.entries;
            let entries = self.database.call(move |connection| page(connection, after)).await?;
            let last = entries.len() < VERIFY_ROWS;
            chain.follow(&entries);
            let after = chain.checked.entries;
            if chain.checked.broken.is_some() {
                return Ok(chain.checked);
            }
            if !last {
                continue;
            }
            let read = move |connection: &mut Connection| {
                connection.transaction(|connection| {
                    take_turn(connection)?;
                    Ok((end(connection)?, page(connection, after)?))
                })
            };
            let (end, entries) = self.database.call(read).await?;
            chain.follow(&entries);
            if entries.len() < VERIFY_ROWS || chain.checked.broken.is_some() {
                return Ok(chain.ends_at(&end));
            }
        }
    }
}

/// Entries after one.
fn page(connection: &mut Connection, after: u64) -> Result<Vec<Stored>, database::Error> {
    let sql =
        format!("SELECT {COLUMNS} FROM identity_audit WHERE number > ?1 ORDER BY number LIMIT ?2");
    let mut entries = Vec::new();
    connection.query(&sql, &[after.into(), (VERIFY_ROWS as u64).into()], &mut |row| {
        entries.push(Stored::read(row)?);
        Ok(())
    })?;
    Ok(entries)
}

/// Waits until nobody else enters anything, and keeps it so for the rest of the transaction.
fn take_turn(connection: &mut Connection) -> Result<(), database::Error> {
    let turn = "UPDATE identity_state SET version = version WHERE one = 1";
    connection.execute(turn, &[]).map(drop)
}

/// The chain as far as it was followed.
struct Chain {
    hasher: KeyHasher,
    checked: Verified,
    before: Vec<u8>,
}

impl Chain {
    fn new(hasher: KeyHasher) -> Self {
        let checked = Verified { entries: 0, hash: String::new(), broken: None };
        Self { hasher, checked, before: Vec::new() }
    }

    fn follow(&mut self, entries: &[Stored]) {
        for stored in entries {
            let expected = self.checked.entries + 1;
            if stored.number != expected {
                self.checked.broken = Some(broken(expected, "it is missing"));
                return;
            }
            if stored.chained(&self.hasher, &self.before)[..] != stored.hash[..] {
                let why = "it, or what is before it, was changed";
                self.checked.broken = Some(broken(expected, why));
                return;
            }
            self.checked.entries = expected;
            self.before.clone_from(&stored.hash);
            self.checked.hash = hex(&stored.hash);
        }
    }

    fn ends_at(mut self, (number, hash): &(u64, Vec<u8>)) -> Verified {
        let missing = (self.checked.entries, &self.before) != (*number, hash);
        if self.checked.broken.is_none() && missing {
            let number = self.checked.entries + 1;
            self.checked.broken = Some(broken(number, "the end of the log is missing"));
        }
        self.checked
    }
}

fn broken(number: u64, why: &str) -> Broken {
    Broken { number, why: why.to_owned() }
}
