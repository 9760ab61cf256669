//! The tables.

use crate::database::{Migration, Migrations};

/// What this room keeps.
pub static MIGRATIONS: Migrations = Migrations {
    room: "identity",
    steps: &[
        Migration::same(TABLES),
        Migration {
            sqlite: "INSERT INTO identity_state VALUES (1, 0, 0, X'')",
            postgres: "INSERT INTO identity_state VALUES (1, 0, 0, '')",
        },
    ],
};

const TABLES: &str = "
    CREATE TABLE identity_state (
        one BIGINT PRIMARY KEY,
        version BIGINT NOT NULL,
        audit_number BIGINT NOT NULL,
        audit_hash BYTEA NOT NULL
    );
    CREATE TABLE identity_keys (
        id TEXT PRIMARY KEY,
        hash BYTEA NOT NULL,
        previous_hash BYTEA,
        previous_until_s BIGINT,
        tenant TEXT NOT NULL,
        team TEXT,
        name TEXT NOT NULL,
        status TEXT NOT NULL,
        expires_s BIGINT,
        terms TEXT NOT NULL,
        created_ms BIGINT NOT NULL,
        created_by TEXT NOT NULL,
        changed BIGINT NOT NULL
    );
    CREATE INDEX identity_keys_changed ON identity_keys (changed);
    CREATE UNIQUE INDEX identity_keys_name ON identity_keys (tenant, name) WHERE status <> 'revoked';
    CREATE TABLE identity_requests (
        id TEXT PRIMARY KEY,
        key_id TEXT NOT NULL,
        tenant TEXT NOT NULL,
        wanted TEXT NOT NULL,
        reason TEXT NOT NULL,
        status TEXT NOT NULL,
        asked_ms BIGINT NOT NULL,
        asked_by TEXT NOT NULL,
        decided_ms BIGINT,
        decided_by TEXT,
        note TEXT
    );
    CREATE TABLE identity_audit (
        number BIGINT PRIMARY KEY,
        time_ms BIGINT NOT NULL,
        actor TEXT NOT NULL,
        role TEXT NOT NULL,
        action TEXT NOT NULL,
        subject TEXT NOT NULL,
        outcome TEXT NOT NULL,
        detail TEXT NOT NULL,
        hash BYTEA NOT NULL
    );
";
