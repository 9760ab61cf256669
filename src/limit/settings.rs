//! What the operator writes about limits.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::calendar::Period;

/// What is held of an answer before it is known, in tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Assumptions {
    /// The most that a stream holds at first. It holds more as it goes on, and ends as if it had
    /// reached its greatest length where a limit has no more. Default 1024.
    #[schemars(range(min = 1))]
    pub stream: u64,
    /// The least that a stream holds more at a time, as long as there is so much. Default 256.
    #[schemars(range(min = 1))]
    pub step: u64,
    /// Held for an answer that does not stream and whose request does not say how long it may be.
    /// What it has beyond that is charged afterwards. Default 4096.
    #[schemars(range(min = 1))]
    pub whole_answer: u64,
}

impl Default for Assumptions {
    fn default() -> Self {
        Self { stream: 1024, step: 256, whole_answer: 4096 }
    }
}

/// Limits on what is used together. Where several apply to a request, all of them must allow it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Counted separately for each user, model or other thing that requests name. By default all
    /// together.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub per: Vec<Dimension>,
    /// Only requests for these models, by exact name, glob or regex. By default all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
    /// Most requests in any stretch of time of that length.
    #[serde(skip_serializing_if = "Rates::is_empty")]
    pub requests: Rates,
    /// Most tokens, of prompts and answers, in any stretch of time of that length.
    #[serde(skip_serializing_if = "Rates::is_empty")]
    pub tokens: Rates,
    /// Most requests at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub concurrent: Option<u32>,
    /// Money and tokens for a day, a week, a month or for ever.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub budgets: Vec<BudgetSettings>,
}

/// What a limit is counted by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Dimension {
    /// The end user that the request names (`user`, `metadata.user_id`). Those that name none are
    /// one user.
    User,
    /// The model that the request names.
    Model,
    /// What an expression makes of the request.
    #[serde(untagged)]
    Named(NamedDimension),
}

/// What a CEL expression makes of a request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NamedDimension {
    /// A CEL expression over `request`, as in routes' `when`, that is a text or a whole number
    /// (`request.labels.project`). Requests of which it cannot be worked out, or that it gives more
    /// than 128 bytes for, are counted together.
    pub cel: String,
}

/// Amounts by the length of the stretch of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rates {
    /// In any second.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub second: Option<u64>,
    /// In any minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub minute: Option<u64>,
    /// In any hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub hour: Option<u64>,
    /// In any 24 hours.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub day: Option<u64>,
}

impl Rates {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What may be spent in a period. Exactly one of `usd` and `tokens`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BudgetSettings {
    /// Periods follow the calendar in the tenant's `zone`; weeks begin on Monday.
    pub period: Period,
    /// Dollars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub usd: Option<f64>,
    /// Tokens of prompts and answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub tokens: Option<u64>,
    /// What happens when it is used up. Default `refuse`.
    #[serde(default)]
    pub when_spent: WhenSpent,
}

/// What happens when a budget is used up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhenSpent {
    /// What does not fit any more is refused.
    #[default]
    Refuse,
    /// Requests go on; answers carry `x-weir-budget-warning`.
    Warn,
    /// The same, and until the period is over requests for text go to this pool, whatever their route
    /// says. Of several the largest budget's that is used up.
    Use(String),
}
