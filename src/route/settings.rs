//! What the operator writes about a route.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::dialect::LossPolicy;

/// One route. Exactly one of `pool` and `split`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Name for logs and metrics. By default its position (`route-3`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What a request must be like; everything given must hold. Empty matches everything.
    #[serde(default, rename = "match")]
    pub matches: MatchSettings,
    /// The pool that answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// Several pools by weight (canary, A/B).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub split: Vec<SplitSettings>,
    /// With `split`: the same caller always gets the same pool. Default false.
    #[serde(default)]
    pub sticky: bool,
    /// The model the request continues with, in place of the one that the client named (an alias).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// What becomes of members that the upstream's format cannot express, where it is another than
    /// the client's: `lenient` leaves out what the answer does not depend on and names it in
    /// `x-weir-dropped`; `strict` refuses the request. Default lenient.
    #[serde(default)]
    pub loss: LossPolicy,
}

/// What a request must be like.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MatchSettings {
    /// The model: exact (`gpt-4o`), glob (`gpt-*`) or regex (`/^gpt-[45]/`); one or a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<Pattern>,
    /// The endpoint (`chat_completions`, `messages`, …), one or a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<Pattern>,
    /// Request headers, each by exact value, glob or regex.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Labels of the caller's key, each by exact value, glob or regex.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// A CEL expression over `request` (`model`, `endpoint`, `dialect`, `stream`, `headers`,
    /// `caller`, `tenant`, `team`, `key`, `labels`, `claims`, `user`, `metadata`, `max_tokens`,
    /// `body_bytes`, `time`, `region`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
}

/// One pattern or a list of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Pattern {
    /// One.
    One(String),
    /// Any of these.
    Any(Vec<String>),
}

/// One arm of a split.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SplitSettings {
    /// The pool.
    pub pool: String,
    /// Its share.
    pub weight: u32,
}
