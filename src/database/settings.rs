//! What the operator writes about the database.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::{SecretSource, Time};

/// Where keys, the audit log and the ledger are kept. Exactly one of `path` and `url`; without
/// `storage` nothing is kept. A change takes effect with the next start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// A file: an embedded database (`SQLite`, with a write-ahead log beside it). For one machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// The URL of a `PostgreSQL` server (`postgres://user:password@host/database`), which any number
    /// of machines may share. `sslmode=disable` in it speaks cleartext, `sslmode=require` insists on
    /// TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<SecretSource>,
    /// Certificates of the authorities that the server's certificate must come from, in PEM form. By
    /// default those of the system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// When a file's transaction is on the disk. Default `full`.
    pub synchronous: Synchronous,
    /// How long a piece of work waits for a file that another process has locked. Default 5s.
    pub busy: Time,
    /// From when on a database counts as slow. Default 1s.
    pub slow: Time,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            path: None,
            url: None,
            ca: None,
            synchronous: Synchronous::default(),
            busy: Time::s(5),
            slow: Time::s(1),
        }
    }
}

/// When a transaction is on the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Synchronous {
    /// When it is committed: a power cut takes nothing that was committed.
    #[default]
    Full,
    /// At the next checkpoint: a power cut may take the last transactions, never the database.
    Normal,
}
