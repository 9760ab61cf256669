//! The kinds of providers that are known: `conf/providers.yaml`, and what the operator adds.
//!
//! A kind is data. What a server does otherwise than its dialect is said in words that mean the same
//! for every kind; nothing in the code asks for the name of one.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::settings::{AuthScheme, Settings};
use super::template;
use crate::config::{NamePattern, nearest, word_list};
use crate::dialect::{Adaptation, Dialect, Endpoint, Format, ModelQuirk, Rule, Template};

const BUILTIN: &str = include_str!("../../conf/providers.yaml");

/// Names that a diagnostic lists.
const NAMES_MAX: usize = 12;

/// A kind of provider: what all accounts of one vendor, or all servers of one make, have in common.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Kind {
    /// What people call it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub title: String,
    /// The wire format it speaks.
    pub dialect: Dialect,
    /// With `dialect: openai`, which of its two chat formats it has; see `formats` of a provider.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub formats: Vec<Format>,
    /// Where it is. Like `paths` and `headers`, it may have placeholders such as `{region}`, which a
    /// provider fills under `with`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
    /// Values of placeholders that a provider does not fill.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub defaults: BTreeMap<String, String>,
    /// How it is authenticated. With several, the first one that fits what the provider has: `keys`
    /// go into a header, the others get their own credentials.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub auth: Vec<AuthScheme>,
    /// Headers added to every request.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Endpoints that are not where the dialect has them, by name, with their whole path: `{model}`
    /// is the model, `{tail}` the dialect's own path.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub paths: BTreeMap<String, String>,
    /// The same for requests of streams, where theirs is another path.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub stream_paths: BTreeMap<String, String>,
    /// Parameters of chats that it does not know, or knows under another name. The first entry whose
    /// models match counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<Parameters>,
    /// Members added to bodies of chats that do not have them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub body: BTreeMap<String, String>,
    /// What else is different.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quirks: Vec<Quirk>,
}

/// Parameters that a server does not know, or knows under another name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Parameters {
    /// The models of which this is true: names, globs, or regular expressions between slashes.
    /// Without any, all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
    /// Left out, and named in `x-weir-dropped`; on a route with `loss: strict` the request is refused.
    /// A dot leads into an object (`generationConfig.seed`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub drop: Vec<String>,
    /// Sent under another name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub rename: BTreeMap<String, String>,
    /// What else these models do otherwise. It is heeded where a request is translated.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub quirks: Vec<ModelQuirk>,
}

/// What a server does otherwise than its dialect, where paths and parameters cannot say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Quirk {
    /// The model stands in the path and is refused in the body.
    ModelInPathOnly,
}

impl Quirk {
    /// The name in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Quirk::ModelInPathOnly => "model_in_path_only",
        }
    }
}

/// All kinds, by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Catalogue {
    kinds: BTreeMap<String, Kind>,
}

impl Catalogue {
    /// Those that ship.
    pub fn builtin() -> &'static Self {
        static KINDS: LazyLock<Catalogue> = LazyLock::new(|| {
            let kinds = serde_saphyr::from_str(BUILTIN)
                .unwrap_or_else(|error| panic!("conf/providers.yaml: {error}"));
            Catalogue { kinds }
        });
        &KINDS
    }

    /// Those that ship with others added, or put in their place.
    #[must_use]
    pub fn with(&self, own: &BTreeMap<String, Kind>) -> Self {
        let mut kinds = self.kinds.clone();
        kinds.extend(own.iter().map(|(name, kind)| (name.clone(), kind.clone())));
        Self { kinds }
    }

    /// Every kind, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Kind)> {
        self.kinds.iter().map(|(name, kind)| (name.as_str(), kind))
    }

    /// The kind that a provider names.
    ///
    /// # Errors
    ///
    /// It names one that is not there.
    pub(super) fn kind_of(&self, settings: &Settings) -> Result<Option<&Kind>, String> {
        let Some(name) = &settings.kind else { return Ok(None) };
        self.kinds.get(name).map(Some).ok_or_else(|| {
            let known = self.kinds.keys().map(String::as_str);
            let proposal = match nearest(name, known.clone()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!(
                    "there are {}; others are added under `kinds`",
                    word_list(known, NAMES_MAX).replace(" or ", " and ")
                ),
            };
            format!("unknown kind `{name}`: {proposal}")
        })
    }
}

impl Kind {
    /// What is wrong with a kind whoever uses it: the path below it, and what would be right.
    pub fn mistakes(&self) -> Vec<(String, String)> {
        let mut mistakes = Vec::new();
        for (at, format) in self.formats.iter().enumerate() {
            if format.dialect() != self.dialect {
                let dialect = self.dialect;
                let message = format!("`{format}` is not a format of the dialect `{dialect}`");
                mistakes.push((format!("formats[{at}]"), message));
            }
        }
        for (field, paths) in [("paths", &self.paths), ("stream_paths", &self.stream_paths)] {
            for (name, text) in paths {
                let keep = endpoint(name).and_then(|_| {
                    // With any placeholder filled, what is left has to be a template.
                    let filled = template::fill(text, |name| {
                        (!template::OF_REQUESTS.contains(&name)).then(|| "x".into())
                    })?;
                    Template::parse(&filled).map(drop)
                });
                if let Err(message) = keep {
                    mistakes.push((format!("{field}.{name}"), message));
                }
            }
        }
        for (at, parameters) in self.parameters.iter().enumerate() {
            for (model, text) in parameters.models.iter().enumerate() {
                if let Err(message) = NamePattern::compile(text) {
                    mistakes.push((format!("parameters[{at}].models[{model}]"), message));
                }
            }
        }
        mistakes
    }

    /// How bodies are changed for it. Patterns that do not compile are reported by
    /// [`Kind::mistakes`].
    pub(super) fn adaptation(&self) -> Adaptation {
        let boxed = |text: &String| text.as_str().into();
        let rule = |of: &Parameters| Rule {
            models: of.models.iter().filter_map(|text| NamePattern::compile(text).ok()).collect(),
            drop: of.drop.iter().map(boxed).collect(),
            rename: of.rename.iter().map(|(old, new)| (boxed(old), boxed(new))).collect(),
            quirks: of.quirks.iter().copied().collect(),
        };
        let quoted = |text: &String| {
            let mut raw = Vec::new();
            crate::wire::json::quote(text, &mut raw);
            String::from_utf8_lossy(&raw).as_ref().into()
        };
        Adaptation {
            rules: self.parameters.iter().map(rule).collect(),
            add: self.body.iter().map(|(name, value)| (boxed(name), quoted(value))).collect(),
            model_in_path_only: self.quirks.contains(&Quirk::ModelInPathOnly),
        }
    }
}

/// The endpoint of this name.
pub(super) fn endpoint(name: &str) -> Result<Endpoint, String> {
    let known = || Endpoint::ALL.into_iter().map(Endpoint::as_str);
    Endpoint::ALL.into_iter().find(|endpoint| endpoint.as_str() == name).ok_or_else(|| {
        let proposal = match nearest(name, known()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("there are {}", word_list(known(), NAMES_MAX).replace(" or ", " and ")),
        };
        format!("unknown endpoint `{name}`: {proposal}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_that_ships_is_right_and_its_placeholders_are_filled_or_asked_for() {
        for (name, kind) in Catalogue::builtin().iter() {
            assert_eq!(kind.mistakes(), [], "{name}");
            assert!(!kind.title.is_empty(), "{name} has no title");
            assert!(kind.base_url.is_some(), "{name} has no address");
        }
    }

    #[test]
    fn a_format_of_another_dialect_is_a_mistake() {
        let kind: Kind = serde_saphyr::from_str("{dialect: openai, formats: [responses, gemini]}")
            .expect("a kind");
        let mistakes = kind.mistakes();
        assert_eq!(mistakes.len(), 1);
        assert_eq!(mistakes[0].0, "formats[1]");
    }

    #[test]
    fn an_unknown_kind_finds_the_nearest() {
        let settings = serde_saphyr::from_str("{kind: grok}").expect("settings");
        let error = Catalogue::builtin().kind_of(&settings).expect_err("unknown");
        assert_eq!(error, "unknown kind `grok`: did you mean `groq`?");
    }
}
