//! Which requests wait first.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which requests wait first when a provider slows down.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Somebody waits for every second of it: served first, up to the whole bound.
    High,
    /// Up to nine tenths of it.
    #[default]
    Normal,
    /// Work that can wait: up to six tenths of it.
    Low,
}
