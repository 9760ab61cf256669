//! Which model costs what.
//!
//! The built-in catalogue is `conf/prices.yaml`. What the operator writes goes first, the provider's own
//! prices before the global ones. Inside each table an exact name goes before patterns, and of
//! patterns the one with the longest literal beginning wins.
//!
//! Providers decorate model names: with a publisher (`anthropic/claude-…`, `us.anthropic.claude-…`),
//! with a revision (`…-v1:0`, `…:free`), with a release date. The name is looked up as it is, then
//! without its decoration, then without its date.

use std::collections::{BTreeMap, HashMap};

use ahash::RandomState;

use super::model::plain_name;
use super::price::{Price, PriceError, PriceSettings};
use crate::config::NamePattern;
use crate::same::begins;

/// The built-in catalogue.
const BUILTIN: &str = include_str!("../../conf/prices.yaml");

/// Prices of all models known.
#[derive(Clone, Debug, Default)]
pub struct Prices {
    providers: HashMap<Box<str>, Table, RandomState>,
    global: Table,
    builtin: Table,
}

/// Prices by model.
#[derive(Clone, Debug, Default)]
struct Table {
    exact: HashMap<Box<str>, Price, RandomState>,
    /// Literal beginning, pattern, price; the longest beginning first.
    patterns: Vec<(Box<str>, NamePattern, Price)>,
}

/// A price in the configuration that cannot be used.
#[derive(Clone, Debug, PartialEq)]
pub struct OverrideError {
    /// The model, as written.
    pub model: String,
    /// What is wrong.
    pub problem: String,
}

impl Prices {
    /// The built-in catalogue as it is written.
    pub const BUILTIN: &str = BUILTIN;

    /// The built-in catalogue alone. Compiled once for the process is enough; a copy is cheap next to it.
    pub fn builtin() -> Self {
        let settings: BTreeMap<String, PriceSettings> =
            serde_saphyr::from_str(BUILTIN).expect("the embedded catalogue, which a test reads");
        let builtin = Table::new(&settings).expect("the embedded catalogue, which a test reads");
        Self { builtin, ..Self::default() }
    }

    /// The catalogue with prices that hold for every provider, by model pattern.
    pub fn with_overrides(
        mut self,
        prices: &BTreeMap<String, PriceSettings>,
    ) -> Result<Self, OverrideError> {
        self.global = Table::new(prices)?;
        Ok(self)
    }

    /// The catalogue with one provider's prices, by model pattern.
    pub fn with_provider(
        mut self,
        provider: &str,
        prices: &BTreeMap<String, PriceSettings>,
    ) -> Result<Self, OverrideError> {
        if !prices.is_empty() {
            self.providers.insert(provider.into(), Table::new(prices)?);
        }
        Ok(self)
    }

    /// What a model costs at a provider. None if nobody said.
    pub fn price(&self, provider: &str, model: &str) -> Option<Price> {
        if let Some(price) = self.providers.get(provider).and_then(|table| table.get(model)) {
            return Some(*price);
        }
        let found = self.global.get(model).or_else(|| self.builtin.get(model));
        let found = found.or_else(|| self.builtin.get(plain_name(model)));
        found.or_else(|| self.builtin.get(undated(plain_name(model)))).copied()
    }
}

/// A name without its release: `-2024-11-20`, `-20241022`, `-latest`.
fn undated(name: &str) -> &str {
    if let Some(rest) = name.strip_suffix("-latest") {
        return rest;
    }
    let rest = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '-');
    let release = &name[rest.len()..];
    let digits = release.bytes().filter(u8::is_ascii_digit).count();
    // Numbers before the release belong to the name: `claude-sonnet-4-20250514`.
    let release_len = match release.as_bytes() {
        [.., b'-', _, _, b'-', _, _] if digits >= 8 => "-2024-11-20".len(),
        _ if digits >= 8 => "-20241022".len(),
        _ => return name,
    };
    match name.split_at_checked(name.len().saturating_sub(release_len)) {
        Some((rest, release)) if release.starts_with("-20") => rest,
        _ => name,
    }
}

impl Table {
    fn new(prices: &BTreeMap<String, PriceSettings>) -> Result<Self, OverrideError> {
        let mut table = Self::default();
        for (model, settings) in prices {
            let fail = |problem| OverrideError { model: model.clone(), problem };
            let price =
                Price::new(settings).map_err(|error: PriceError| fail(error.to_string()))?;
            let pattern = NamePattern::compile(model).map_err(fail)?;
            if let Some(exact) = pattern.exact() {
                table.exact.insert(exact.into(), price);
            } else {
                let literal = match &pattern {
                    NamePattern::Glob(glob) => glob.split(['*', '?']).next().unwrap_or_default(),
                    NamePattern::Regex(_) | NamePattern::Exact(_) => "",
                };
                table.patterns.push((literal.into(), pattern, price));
            }
        }
        // Stable, so that equally long ones stay in the order of their names.
        table.patterns.sort_by_key(|(literal, ..)| std::cmp::Reverse(literal.len()));
        Ok(table)
    }

    fn get(&self, model: &str) -> Option<&Price> {
        self.exact.get(model).or_else(|| {
            self.patterns
                .iter()
                .find(|(literal, pattern, _)| begins(model, literal) && pattern.matches(model))
                .map(|(_, _, price)| price)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::NanoUsd;

    fn overrides(model: &str, input: f64) -> BTreeMap<String, PriceSettings> {
        let settings: PriceSettings =
            serde_json::from_value(serde_json::json!({ "input": input, "output": 1.0 })).unwrap();
        BTreeMap::from([(model.to_owned(), settings)])
    }

    /// Nano-dollars of a million prompt tokens.
    fn input(prices: &Prices, provider: &str, model: &str) -> Option<u64> {
        prices.price(provider, model).map(|price| price.cost_of(100_000, 0).0 * 10)
    }

    #[test]
    fn the_catalogue_knows_what_people_use() {
        let prices = Prices::builtin();
        for (model, dollars) in [
            ("gpt-4o", 2.5),
            ("gpt-4o-2024-11-20", 2.5),
            ("gpt-4o-mini-2024-07-18", 0.15),
            ("claude-sonnet-4-20250514", 3.0),
            ("us.anthropic.claude-sonnet-4-20250514-v1:0", 3.0),
            ("anthropic/claude-sonnet-4", 3.0),
            ("models/gemini-2.5-flash", 0.3),
            ("deepseek-chat", 0.14),
            ("mistral-large-latest", 0.5),
            ("mistral-large-2407", 2.0),
            ("claude-3-5-haiku-latest", 0.8),
            ("claude-sonnet-4.5", 3.0),
            ("claude-haiku-4-5-20251001", 1.0),
            ("gpt-4-0613", 30.0),
            ("o3-2025-04-16", 2.0),
            ("command-r-plus-08-2024", 2.5),
            ("llama-3.1-8b-instant", 0.05),
            ("text-embedding-3-small", 0.02),
        ] {
            let wanted = (dollars * 1e9) as u64;
            assert_eq!(input(&prices, "any", model), Some(wanted), "{model}");
        }
        assert_eq!(prices.price("any", "no-such-model"), None);
    }

    #[test]
    fn a_release_date_is_taken_off_and_nothing_else() {
        for (name, plain) in [
            ("gpt-4o-2024-11-20", "gpt-4o"),
            ("claude-sonnet-4-20250514", "claude-sonnet-4"),
            ("claude-3-5-haiku-latest", "claude-3-5-haiku"),
            ("mistral-large-2407", "mistral-large-2407"),
            ("command-r-08-2024", "command-r-08-2024"),
            ("12345678", "12345678"),
            ("é-2024-11-20", "é"),
            ("", ""),
        ] {
            assert_eq!(undated(name), plain);
        }
    }

    #[test]
    fn the_operator_goes_first_and_the_provider_before_all() {
        let prices = Prices::builtin()
            .with_overrides(&overrides("gpt-*", 9.0))
            .unwrap()
            .with_provider("azure", &overrides("gpt-4o", 4.0))
            .unwrap();
        assert_eq!(input(&prices, "azure", "gpt-4o"), Some(4_000_000_000));
        assert_eq!(input(&prices, "azure", "gpt-4o-mini"), Some(9_000_000_000));
        assert_eq!(input(&prices, "openai", "gpt-4o"), Some(9_000_000_000));
        assert_eq!(input(&prices, "openai", "o3"), Some(2_000_000_000));
    }

    #[test]
    fn the_longest_beginning_wins() {
        let mut both = overrides("m*", 1.0);
        both.extend(overrides("m-large*", 2.0));
        let prices = Prices::builtin().with_overrides(&both).unwrap();
        assert_eq!(prices.price("p", "m-large-2").unwrap().cost_of(1, 0), NanoUsd(2_000));
        assert_eq!(prices.price("p", "m-small").unwrap().cost_of(1, 0), NanoUsd(1_000));
    }

    #[test]
    fn a_bad_override_is_named() {
        let error = Prices::builtin().with_overrides(&overrides("gpt-4o", -1.0)).unwrap_err();
        assert_eq!(error.model, "gpt-4o");
        assert!(error.problem.contains("`input: -1`"), "{}", error.problem);
    }
}
