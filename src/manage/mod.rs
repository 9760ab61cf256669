//! What administrators make and change while weir runs: virtual keys, access requests, and the audit
//! log of all that they do.
//!
//! It is kept in `storage`. Every change is one transaction, which first counts the version of it
//! all up: so changes follow one another, on all machines that share the database, and with each its
//! entry in the audit log is written, or neither is. Replicas look at that version several times a
//! second and read what has changed since the one that they know ([`Office::changes`]).

mod audit;
mod error;
mod keys;
mod refusals;
mod requests;
mod tables;
#[cfg(test)]
mod tests;

use crate::database::{Connection, Database, Fault, Value};
use crate::tenant::{KeyHasher, Record};

pub use audit::{Audited, Broken, Entry, Outcome, Verified};
pub use error::{Error, Reason};
pub use keys::{Created, KeyView, NewKey, Overlap};
pub use refusals::Refusals;
pub use requests::{Access, AccessRequest, Decision, NewRequest, Wanted};
pub use tables::MIGRATIONS;

/// Items of a page where nothing else is asked for, and at most.
pub const PAGE_DEFAULT: u32 = 100;
/// See [`PAGE_DEFAULT`].
pub const PAGE_MAX: u32 = 1000;
/// How often a transaction is tried that another one was in the way of.
const TRIES: u32 = 5;

/// Who does something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The name of the token.
    pub name: String,
    /// Its role.
    pub role: &'static str,
    /// The only tenant that it may see and change.
    pub tenant: Option<String>,
}

impl Actor {
    /// Whether it may see and change what is of this tenant.
    pub fn reaches(&self, tenant: &str) -> bool {
        self.tenant.as_deref().is_none_or(|own| own == tenant)
    }
}

/// Part of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paged<T> {
    /// Its items.
    pub items: Vec<T>,
    /// After which item the next page begins; none where this is the last.
    pub next: Option<String>,
}

/// Which part of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// After this item.
    pub after: Option<String>,
    /// So many items at most.
    pub limit: u32,
}

impl Page {
    /// One item more than asked for shows whether there is a next page.
    fn rows(&self) -> u64 {
        u64::from(self.limit) + 1
    }

    fn of<T>(&self, mut items: Vec<T>, id: impl Fn(&T) -> String) -> Paged<T> {
        let more = items.len() > self.limit as usize;
        items.truncate(self.limit as usize);
        let next = items.last().filter(|_| more).map(id);
        Paged { items, next }
    }
}

/// Does what administrators ask for.
#[derive(Clone)]
pub struct Office {
    database: Database,
    hasher: KeyHasher,
}

impl Office {
    /// Over this database, with the secret that hashes are keyed with.
    pub fn new(database: Database, hasher: KeyHasher) -> Self {
        Self { database, hasher }
    }

    /// The version of it all, and every key that has changed since `known`.
    pub async fn changes(&self, known: u64) -> Result<(u64, Vec<Record>), Error> {
        Ok(self.database.call(move |connection| keys::changes(connection, known)).await?)
    }

    /// The same from a thread that may block.
    pub fn changes_blocking(&self, known: u64) -> Result<(u64, Vec<Record>), Error> {
        Ok(self.database.call_blocking(move |connection| keys::changes(connection, known))?)
    }

    /// Makes one change, with its entry in the audit log. What the work finds wrong leaves no trace.
    async fn change<T: Send + 'static>(
        &self,
        actor: &Actor,
        work: impl Fn(&mut Change<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (hasher, actor) = (self.hasher.clone(), actor.clone());
        let call = self.database.call(move |connection| {
            for _ in 1..TRIES {
                match attempt(connection, &hasher, &actor, &work) {
                    Err(error) if error.fault == Fault::Constraint => {}
                    done => return done,
                }
            }
            attempt(connection, &hasher, &actor, &work)
        });
        call.await?
    }
}

/// One try at a change. The outer result is the database's, the inner one the work's.
fn attempt<T>(
    connection: &mut Connection,
    hasher: &KeyHasher,
    actor: &Actor,
    work: &impl Fn(&mut Change<'_>) -> Result<T, Error>,
) -> Result<Result<T, Error>, crate::database::Error> {
    let mut found = None;
    let done = connection.transaction(|connection| {
        let count_up = "UPDATE identity_state SET version = version + 1 WHERE one = 1";
        connection.execute(count_up, &[])?;
        let read = "SELECT version FROM identity_state WHERE one = 1";
        let version = connection.first(read, &[], |row| row.int(0))?.unwrap_or_default() as u64;
        let mut change = Change { connection, hasher, actor, version };
        work(&mut change).map_err(|error| match error {
            Error::Database(error) => error,
            other @ Error::Refused(..) => {
                let message = other.to_string();
                found = Some(other);
                crate::database::Error::new(Fault::Other, message)
            }
        })
    });
    match (done, found) {
        (Err(_), Some(found)) => Ok(Err(found)),
        (done, _) => done.map(Ok),
    }
}

/// A change that is being made, in its transaction.
struct Change<'c> {
    connection: &'c mut Connection,
    hasher: &'c KeyHasher,
    actor: &'c Actor,
    /// The version that it makes.
    version: u64,
}

impl Change<'_> {
    fn execute(&mut self, sql: &str, values: &[Value<'_>]) -> Result<u64, Error> {
        Ok(self.connection.execute(sql, values)?)
    }

    /// Enters it in the audit log.
    fn audit(
        &mut self,
        action: &str,
        subject: &str,
        detail: &serde_json::Value,
    ) -> Result<(), Error> {
        let entry = Audited {
            actor: self.actor.name.clone(),
            role: self.actor.role.to_owned(),
            action: action.to_owned(),
            subject: subject.to_owned(),
            outcome: Outcome::Done,
            detail: detail.clone(),
        };
        Ok(audit::append(self.connection, self.hasher, &entry)?)
    }
}

/// A random text of so many characters of an alphabet of 32.
fn random_text(characters: usize) -> String {
    use rand::Rng;
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut random = rand::rng();
    (0..characters).map(|_| char::from(ALPHABET[random.random_range(0..32)])).collect()
}
