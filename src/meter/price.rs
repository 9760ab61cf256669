//! Prices, in nano-dollars a token.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a model costs, in dollars per million tokens.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PriceSettings {
    /// Prompt tokens.
    #[schemars(range(min = 0.0))]
    pub input: f64,
    /// Answer tokens.
    #[schemars(range(min = 0.0))]
    pub output: f64,
    /// Prompt tokens read from the provider's cache. By default as `input`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub cached_input: Option<f64>,
    /// Prompt tokens written to the cache for five minutes. By default as `input`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub cache_creation_5m: Option<f64>,
    /// Prompt tokens written to the cache for one hour. By default as `input`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub cache_creation_1h: Option<f64>,
    /// Audio tokens of the prompt. By default as `input`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub audio_input: Option<f64>,
    /// Audio tokens of the answer. By default as `output`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub audio_output: Option<f64>,
}
