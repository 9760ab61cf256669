//! What the operator writes about kept responses.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::{Size, Time};

/// Responses that weir keeps for clients of the Responses API whose provider has no such API:
/// `previous_response_id`, and `GET` and `DELETE /v1/responses/{id}`. A request with `store: false`
/// is never kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// A file in which they outlive a restart. Left out, they are in memory. A change of it takes
    /// effect with the next start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// How long a response is kept. Default 30d.
    pub expiry: Time,
    /// How much is kept; the oldest goes first. Default 64MiB. `0B` keeps nothing.
    pub size: Size,
}

impl Default for Settings {
    fn default() -> Self {
        Self { path: None, expiry: Time::s(30 * 24 * 3600), size: Size::mib(64) }
    }
}
