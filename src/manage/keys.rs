//! Virtual keys: made, shown once, rotated, disabled, revoked.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::{Actor, Change, Error, Office, Page, Paged, random_text};
use crate::clock;
use crate::config::Time;
use crate::database::{self, Connection, Fault, Row, Value};
use crate::tenant::{Directory, Hash, KEY_PREFIX, Record, Status, Terms};

/// Characters of a key's public id: 40 random bits.
const ID_CHARACTERS: usize = 8;
/// Characters of its secret part: 240 random bits.
const SECRET_CHARACTERS: usize = 48;
/// Longest name of a key.
const NAME_BYTES_MAX: usize = 64;
/// Longest life of a key, and longest overlap of a rotation: a hundred years.
const LIFE_S_MAX: u64 = 100 * 366 * 86_400;

/// A key to be made.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewKey {
    /// Its tenant, one of the configuration's.
    pub tenant: String,
    /// Its team, one of the tenant's.
    #[serde(default)]
    pub team: Option<String>,
    /// Its name: letters, digits, `.`, `_` and `-`; unique within the tenant.
    #[schemars(length(min = 1, max = 64))]
    pub name: String,
    /// How long it may be used (`90d`). By default for ever.
    #[serde(default)]
    pub expires_in: Option<Time>,
    /// What it is good for.
    #[serde(default)]
    pub terms: Terms,
}

/// How a key is rotated.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Overlap {
    /// How long the key before may still be used (`24h`). By default not at all.
    #[serde(default)]
    pub overlap: Option<Time>,
}

/// A key as administrators see it: without the key.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct KeyView {
    /// Its id.
    pub id: String,
    /// How the key begins, to recognise it by.
    pub prefix: String,
    /// Its tenant.
    pub tenant: String,
    /// Its team.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// Its name.
    pub name: String,
    /// Whether it may be used.
    pub status: Status,
    /// When it expires, in seconds of Unix time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_unix_s: Option<u64>,
    /// Until when the key before the last rotation may be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous_until_unix_s: Option<u64>,
    /// What it is good for.
    pub terms: Terms,
    /// When it was made, in milliseconds of Unix time.
    pub created_unix_ms: u64,
    /// Who made it.
    pub created_by: String,
}

/// A key that was made or rotated.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Created {
    /// The key. It is not shown again.
    pub key: String,
    /// All else of it.
    #[serde(flatten)]
    pub view: KeyView,
}

const COLUMNS: &str = "id, hash, previous_hash, previous_until_s, tenant, team, name, status, \
                       expires_s, terms, created_ms, created_by";

/// A row.
#[derive(Clone)]
pub(super) struct Stored {
    pub(super) record: Record,
    created_ms: u64,
    created_by: String,
}

impl Stored {
    fn read(row: &Row<'_>) -> Result<Self, database::Error> {
        let hash = |bytes: Vec<u8>| {
            Hash::try_from(bytes.as_slice())
                .map_err(|_| database::Error::new(Fault::Other, "a key's hash is not one"))
        };
        let previous = match row.int_or_null(3)? {
            Some(until) => Some((hash(row.blob(2)?)?, until as u64)),
            None => None,
        };
        let terms = serde_json::from_str(&row.text(9)?).map_err(|error| {
            database::Error::new(Fault::Other, format!("a key's terms cannot be read: {error}"))
        })?;
        Ok(Self {
            record: Record {
                id: row.text(0)?.into(),
                hash: hash(row.blob(1)?)?,
                previous,
                tenant: row.text(4)?.into(),
                team: row.text_or_null(5)?.map(Into::into),
                name: row.text(6)?.into(),
                status: Status::of(&row.text(7)?),
                expires_s: row.int_or_null(8)?.map(|at| at as u64),
                terms,
            },
            created_ms: row.int(10)? as u64,
            created_by: row.text(11)?,
        })
    }

    fn view(&self) -> KeyView {
        let record = &self.record;
        KeyView {
            id: record.id.to_string(),
            prefix: format!("{KEY_PREFIX}{}", record.id),
            tenant: record.tenant.to_string(),
            team: record.team.as_deref().map(str::to_owned),
            name: record.name.to_string(),
            status: record.status,
            expires_unix_s: record.expires_s,
            previous_until_unix_s: record.previous.map(|(_, until)| until),
            terms: record.terms.clone(),
            created_unix_ms: self.created_ms,
            created_by: self.created_by.clone(),
        }
    }

    /// For the audit log.
    fn told(&self) -> Json {
        serde_json::to_value(self.view()).unwrap_or_default()
    }

    pub(super) fn subject(&self) -> String {
        format!("{}/{}", self.record.tenant, self.record.name)
    }
}

/// The version of it all, and every key that has changed since the one that is known.
pub(super) fn changes(
    connection: &mut Connection,
    known: u64,
) -> Result<(u64, Vec<Record>), database::Error> {
    let sql = "SELECT version FROM identity_state WHERE one = 1";
    let version = connection.first(sql, &[], |row| row.int(0))?.unwrap_or_default() as u64;
    let mut changed = Vec::new();
    if version > known {
        let sql = format!("SELECT {COLUMNS} FROM identity_keys WHERE changed > ?1");
        connection.query(&sql, &[known.into()], &mut |row| {
            changed.push(Stored::read(row)?.record);
            Ok(())
        })?;
    }
    Ok((version, changed))
}

/// A key that the actor may see.
pub(super) fn find(connection: &mut Connection, actor: &Actor, id: &str) -> Result<Stored, Error> {
    let sql = format!("SELECT {COLUMNS} FROM identity_keys WHERE id = ?1");
    let found = connection.first(&sql, &[id.into()], Stored::read)?;
    found
        .filter(|stored| actor.reaches(&stored.record.tenant))
        .ok_or_else(|| Error::not_found(format!("there is no key `{id}`")))
}

/// A key's secret text for an id.
fn secret_of(id: &str) -> String {
    format!("{KEY_PREFIX}{id}-{}", random_text(SECRET_CHARACTERS))
}

fn check_name(name: &str) -> Result<(), Error> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(plain) {
        let message = "a name has 1 to 64 letters, digits, `.`, `_` and `-`";
        return Err(Error::invalid(message));
    }
    Ok(())
}

/// A moment so far ahead, in seconds of Unix time.
fn ahead_s(time: Time) -> Result<u64, Error> {
    let seconds = time.0.as_secs();
    if seconds > LIFE_S_MAX {
        return Err(Error::invalid("that is longer than a hundred years"));
    }
    Ok(clock::unix_ms() / 1000 + seconds)
}

impl Office {
    /// Makes a key. `directory` says whether it could be used.
    pub async fn create_key(
        &self,
        actor: &Actor,
        new: NewKey,
        directory: &Directory,
    ) -> Result<Created, Error> {
        check_name(&new.name)?;
        if !actor.reaches(&new.tenant) {
            return Err(Error::not_found(format!("there is no tenant `{}`", new.tenant)));
        }
        let id = random_text(ID_CHARACTERS);
        let key = secret_of(&id);
        let record = Record {
            id: id.into(),
            hash: self.hasher.hash(key.as_bytes()),
            previous: None,
            tenant: new.tenant.into(),
            team: new.team.map(Into::into),
            name: new.name.into(),
            status: Status::Active,
            expires_s: new.expires_in.map(ahead_s).transpose()?,
            terms: new.terms,
        };
        directory.check(&record).map_err(Error::invalid)?;
        if directory.has_key(&record.tenant, &record.name) {
            return Err(taken(&record));
        }
        let stored =
            Stored { record, created_ms: clock::unix_ms(), created_by: actor.name.clone() };
        let view = stored.view();
        self.change(actor, move |change| {
            let record = &stored.record;
            let sql = "SELECT COUNT(*) FROM identity_keys \
                       WHERE tenant = ?1 AND name = ?2 AND status <> 'revoked'";
            let values = [Value::from(&*record.tenant), (&*record.name).into()];
            if change.connection.first(sql, &values, |row| row.int(0))? != Some(0) {
                return Err(taken(record));
            }
            insert(change, &stored)?;
            change.audit("key.create", &stored.subject(), &json!({ "after": stored.told() }))
        })
        .await?;
        Ok(Created { key, view })
    }

    /// Keys by id. Of one tenant and team where they are named.
    pub async fn keys(
        &self,
        actor: &Actor,
        tenant: Option<String>,
        team: Option<String>,
        page: Page,
    ) -> Result<Paged<KeyView>, Error> {
        let tenant = match (&actor.tenant, tenant) {
            (Some(own), Some(asked)) if *own != asked => {
                return Err(Error::not_found(format!("there is no tenant `{asked}`")));
            }
            (own, asked) => asked.or_else(|| own.clone()),
        };
        let (after, rows) = (page.after.clone().unwrap_or_default(), page.rows());
        let sql = format!(
            "SELECT {COLUMNS} FROM identity_keys WHERE id > ?1 AND (?2 = '' OR tenant = ?2) \
             AND (?3 = '' OR team = ?3) ORDER BY id LIMIT ?4"
        );
        let call = self.database.call(move |connection| {
            let (tenant, team) = (tenant.unwrap_or_default(), team.unwrap_or_default());
            let values = [Value::from(&after), (&tenant).into(), (&team).into(), rows.into()];
            let mut keys = Vec::new();
            connection.query(&sql, &values, &mut |row| {
                keys.push(Stored::read(row)?.view());
                Ok(())
            })?;
            Ok(keys)
        });
        Ok(page.of(call.await?, |key| key.id.clone()))
    }

    /// One key.
    pub async fn key(&self, actor: &Actor, id: &str) -> Result<KeyView, Error> {
        let (actor, id) = (actor.clone(), id.to_owned());
        let call = self.database.call(move |connection| Ok(find(connection, &actor, &id)));
        Ok(call.await??.view())
    }

    /// Makes a new key in place of a key. The one before may be used for the overlap.
    pub async fn rotate_key(
        &self,
        actor: &Actor,
        id: &str,
        overlap: Overlap,
    ) -> Result<Created, Error> {
        let until = ahead_s(overlap.overlap.unwrap_or(Time::s(0)))?;
        let (id, key) = (id.to_owned(), secret_of(id));
        let hash = self.hasher.hash(key.as_bytes());
        let stored = self.change(actor, move |change| {
            let mut stored = find(change.connection, change.actor, &id)?;
            if stored.record.status == Status::Revoked {
                return Err(Error::conflict("the key is revoked: make a new one"));
            }
            let before = stored.told();
            stored.record.previous =
                overlap.overlap.is_some().then_some((stored.record.hash, until));
            stored.record.hash = hash;
            update(change, &stored.record)?;
            let detail = json!({ "before": before, "after": stored.told() });
            change.audit("key.rotate", &stored.subject(), &detail)?;
            Ok(stored)
        });
        Ok(Created { key, view: stored.await?.view() })
    }

    /// Disables, enables or revokes a key.
    pub async fn set_key_status(
        &self,
        actor: &Actor,
        id: &str,
        status: Status,
    ) -> Result<KeyView, Error> {
        let id = id.to_owned();
        let stored = self.change(actor, move |change| {
            let mut stored = find(change.connection, change.actor, &id)?;
            if stored.record.status == Status::Revoked && status != Status::Revoked {
                return Err(Error::conflict("the key is revoked, for good"));
            }
            let before = stored.told();
            stored.record.status = status;
            update(change, &stored.record)?;
            let action = match status {
                Status::Active => "key.enable",
                Status::Disabled => "key.disable",
                Status::Revoked => "key.revoke",
            };
            let detail = json!({ "before": before, "after": stored.told() });
            change.audit(action, &stored.subject(), &detail)?;
            Ok(stored)
        });
        Ok(stored.await?.view())
    }
}

fn taken(record: &Record) -> Error {
    let message = format!("tenant `{}` has a key `{}` already", record.tenant, record.name);
    Error::conflict(message)
}

fn terms(record: &Record) -> String {
    serde_json::to_string(&record.terms).unwrap_or_default()
}

fn insert(change: &mut Change<'_>, stored: &Stored) -> Result<(), Error> {
    let (record, version) = (&stored.record, change.version);
    let terms = terms(record);
    change.execute(
        "INSERT INTO identity_keys (id, hash, tenant, team, name, status, expires_s, terms, \
         created_ms, created_by, changed) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        &[
            (&*record.id).into(),
            record.hash[..].into(),
            (&*record.tenant).into(),
            record.team.as_deref().into(),
            (&*record.name).into(),
            record.status.as_str().into(),
            record.expires_s.into(),
            (&terms).into(),
            stored.created_ms.into(),
            (&stored.created_by).into(),
            version.into(),
        ],
    )?;
    Ok(())
}

/// Writes what may change of a key.
pub(super) fn update(change: &mut Change<'_>, record: &Record) -> Result<(), Error> {
    let (terms, version) = (terms(record), change.version);
    let previous = record.previous.as_ref();
    change.execute(
        "UPDATE identity_keys SET hash = ?2, previous_hash = ?3, previous_until_s = ?4, \
         status = ?5, terms = ?6, changed = ?7 WHERE id = ?1",
        &[
            (&*record.id).into(),
            record.hash[..].into(),
            previous.map(|(hash, _)| &hash[..]).into(),
            previous.map(|(_, until)| *until).into(),
            record.status.as_str().into(),
            (&terms).into(),
            version.into(),
        ],
    )?;
    Ok(())
}

/// The terms of a key, for messages and the audit log.
pub(super) fn told(terms: &Terms) -> Json {
    serde_json::to_value(terms).unwrap_or_default()
}

/// The record with other terms.
pub(super) fn with_terms(record: &Arc<Record>, terms: Terms) -> Record {
    Record { terms, ..(**record).clone() }
}
