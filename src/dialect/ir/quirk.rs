//! What a model does otherwise than most that are asked in its format, as data of its provider.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One way in which models differ that parameters alone cannot say. It is heeded where a request is
/// translated; what a client says in the provider's own format is its own affair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ModelQuirk {
    /// It gives no answers of a schema, so it is given a tool with that schema and made to call it:
    /// the arguments are the answer.
    SchemaByCall,
    /// How much it thinks is said in words (`adaptive`), and a budget is refused.
    AdaptiveThinking,
    /// It cannot be made to call a tool, only left the choice.
    UnforcedTools,
    /// It takes a temperature or `top_p`, but not both.
    TemperatureOrTopP,
    /// It wants its thoughts back in plain words, as `reasoning_content`.
    PlainThoughts,
    /// Every turn that calls tools has to have a signature.
    SignedCalls,
}

/// The quirks of one model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ModelQuirks(u8);

impl ModelQuirks {
    /// All of them at once.
    pub const ALL: Self = Self(0b11_1111);

    /// Whether this is one of them.
    pub const fn has(self, quirk: ModelQuirk) -> bool {
        self.0 & (1 << quirk as u8) != 0
    }
}

impl FromIterator<ModelQuirk> for ModelQuirks {
    fn from_iter<I: IntoIterator<Item = ModelQuirk>>(quirks: I) -> Self {
        Self(quirks.into_iter().fold(0, |set, quirk| set | 1 << quirk as u8))
    }
}

impl ModelQuirk {
    /// The name in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            ModelQuirk::SchemaByCall => "schema_by_call",
            ModelQuirk::AdaptiveThinking => "adaptive_thinking",
            ModelQuirk::UnforcedTools => "unforced_tools",
            ModelQuirk::TemperatureOrTopP => "temperature_or_top_p",
            ModelQuirk::PlainThoughts => "plain_thoughts",
            ModelQuirk::SignedCalls => "signed_calls",
        }
    }
}

/// The model that a request goes to.
#[derive(Clone, Copy, Debug)]
pub struct Model<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it does otherwise than others.
    pub quirks: ModelQuirks,
}

/// One without quirks.
impl<'a> From<&'a str> for Model<'a> {
    fn from(name: &'a str) -> Self {
        Self { name, quirks: ModelQuirks::default() }
    }
}
