//! How limits stand, for operators.

use std::sync::Arc;

use serde::Serialize;

/// How scopes stand.
#[derive(Clone, Debug, Default, Serialize)]
pub struct States {
    /// In no order.
    pub scopes: Vec<ScopeState>,
    /// There are more than these.
    pub more: bool,
}

/// How one scope stands.
#[derive(Clone, Debug, Serialize)]
pub struct ScopeState {
    /// Whose limits they are, by what they are counted, and on which models.
    pub set: Arc<str>,
    /// The end user, where it is counted for each.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub user: Box<str>,
    /// The model, where it is counted for each.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub model: Box<str>,
    /// What expressions make of its requests, where it is counted by that.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub named: Vec<String>,
    /// Requests in flight.
    pub in_flight: u32,
    /// What was used.
    pub counters: Vec<CounterState>,
}

/// What was used of one kind.
#[derive(Clone, Debug, Serialize)]
pub struct CounterState {
    /// What is counted, in words: `tokens in a minute`, `dollars for the month`.
    pub limit: String,
    /// `requests`, `tokens` or `nano_usd` (billionths of a dollar).
    pub unit: &'static str,
    /// What was used in this period, and what requests in flight hold.
    pub used: u64,
    /// What is beyond it is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub most: Option<u64>,
    /// From here on answers carry a warning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warn_at: Option<u64>,
    /// When the period of a budget began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period_begin_unix_s: Option<i64>,
    /// When it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period_end_unix_s: Option<i64>,
    /// What will have been used by then if it goes on like this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forecast: Option<u64>,
}
