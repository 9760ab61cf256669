//! Tables, brought up to date: each room has its own numbered steps, and the database remembers which
//! were taken.

use super::{Connection, Engine, Error, Fault, Value};
use crate::clock;

/// The steps of one room, in order. What has been released never changes: a change of shape is a new
/// step.
#[derive(Debug)]
pub struct Migrations {
    /// The room.
    pub room: &'static str,
    /// Its steps; the first is version 1.
    pub steps: &'static [Migration],
}

/// One step, for each engine. Most need the same words.
#[derive(Debug)]
pub struct Migration {
    /// For a file.
    pub sqlite: &'static str,
    /// For a server.
    pub postgres: &'static str,
}

impl Migration {
    /// The same words for both.
    pub const fn same(sql: &'static str) -> Self {
        Self { sqlite: sql, postgres: sql }
    }
}

const OWN: &str = "CREATE TABLE IF NOT EXISTS weir_migrations (
    room TEXT NOT NULL, version BIGINT NOT NULL, taken_ms BIGINT NOT NULL, PRIMARY KEY (room, version))";

/// Any number will do, as long as every weir takes the same.
const SERVER_LOCK: &str = "SELECT pg_advisory_xact_lock(8465278370)";

/// Takes the steps that are missing, in one transaction. Others who do the same wait for it.
pub(super) fn migrate(connection: &mut Connection, rooms: &[&Migrations]) -> Result<(), Error> {
    connection.transaction(|connection| {
        if connection.engine() == Engine::Postgres {
            connection.batch(SERVER_LOCK)?;
        }
        connection.batch(OWN)?;
        rooms.iter().try_for_each(|room| bring_up(connection, room))
    })
}

impl Migrations {
    /// Whether every step was taken, by whoever did.
    pub fn are_taken(&self, connection: &mut Connection) -> Result<bool, Error> {
        Ok(version(connection, self.room)? >= self.steps.len())
    }
}

/// How many steps of a room were taken.
fn version(connection: &mut Connection, room: &str) -> Result<usize, Error> {
    let sql =
        "SELECT CAST(COALESCE(MAX(version), 0) AS BIGINT) FROM weir_migrations WHERE room = ?1";
    Ok(connection.first(sql, &[room.into()], |row| row.int(0))?.unwrap_or_default() as usize)
}

fn bring_up(connection: &mut Connection, migrations: &Migrations) -> Result<(), Error> {
    let room = migrations.room;
    let known = version(connection, room)?;
    if known > migrations.steps.len() {
        let message = format!(
            "the tables of the {room} are of version {known}, and this weir knows {}: they were made \
             by a newer one",
            migrations.steps.len()
        );
        return Err(Error::new(Fault::Other, message));
    }
    for (at, step) in migrations.steps.iter().enumerate().skip(known) {
        connection.batch(match connection.engine() {
            Engine::Sqlite => step.sqlite,
            Engine::Postgres => step.postgres,
        })?;
        let version = at as u64 + 1;
        connection.execute(
            "INSERT INTO weir_migrations (room, version, taken_ms) VALUES (?1, ?2, ?3)",
            &[room.into(), version.into(), Value::from(clock::unix_ms())],
        )?;
        log::info!("storage: the tables of the {room} are of version {version} now");
    }
    Ok(())
}
