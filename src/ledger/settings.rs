//! What the operator writes about the ledger.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::{Size, Time};

/// The ledger: one record per request in the database that `storage` names. A change takes effect
/// with the next start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Whether requests are recorded, where `storage` is configured. Default true.
    pub enabled: bool,
    /// How long each request's record is kept. Default 90d.
    pub keep: Time,
    /// How long the sums by hour are kept. Default 400d.
    pub keep_hours: Time,
    /// How long the sums by day are kept. Default 3650d.
    pub keep_days: Time,
    /// The folder of the journal, in which records wait for the database. Default: beside the
    /// database's file, with `.journal` after its name. With `storage.url` it has to be named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub journal: Option<PathBuf>,
    /// How large the journal may grow while the database is away. Default 1GiB.
    pub size: Size,
    /// Disk space that the journal takes in advance, for when others have filled the disk. Default
    /// 64MiB.
    pub reserve: Size,
    /// Memory for records that the journal does not take. When it is full, records are lost, which
    /// is counted. Default 64MiB.
    pub memory: Size,
    /// Records after which the journal is written before `sync` has passed. Default 10000.
    #[schemars(range(min = 1, max = 100_000))]
    pub batch: u32,
    /// How often the journal is written and brought to the disk: a process that is killed loses at
    /// most what it settled since. Default 100ms.
    pub sync: Time,
}

impl Default for Settings {
    fn default() -> Self {
        let days = |days: u64| Time::s(days * 24 * 3600);
        Self {
            enabled: true,
            keep: days(90),
            keep_hours: days(400),
            keep_days: days(3650),
            journal: None,
            size: Size::mib(1024),
            reserve: Size::mib(64),
            memory: Size::mib(64),
            batch: 10_000,
            sync: Time::ms(100),
        }
    }
}
