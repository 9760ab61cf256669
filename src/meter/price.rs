//! What tokens cost.
//!
//! Money is an integer number of nano-dollars. A price is kept in nano-dollars per million tokens, so
//! that the cheapest model's price is still a whole number, and a cost is rounded once, at its end.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::dialect::Usage;

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
    /// Dearer prices for requests with a long prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub long_prompt: Option<LongPromptSettings>,
}

/// What a request costs whose prompt is longer than a bound: all its tokens, not only those beyond.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LongPromptSettings {
    /// Prompts with more tokens than this.
    pub above_tokens: u64,
    /// Prompt tokens.
    pub input: f64,
    /// Answer tokens.
    pub output: f64,
    /// Prompt tokens read from the provider's cache. By default as `input`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_input: Option<f64>,
    /// Prompt tokens written to the cache for five minutes. By default as `input`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_creation_5m: Option<f64>,
    /// Prompt tokens written to the cache for one hour. By default as `input`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_creation_1h: Option<f64>,
}

/// An amount of money, in billionths of a dollar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NanoUsd(pub u64);

/// What a model costs, ready to multiply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Price {
    base: Rates,
    long_prompt: Option<(u64, Rates)>,
}

/// Nano-dollars per million tokens, by kind of token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rates {
    input: u64,
    output: u64,
    cached_input: u64,
    cache_creation_5m: u64,
    cache_creation_1h: u64,
    audio_input: u64,
    audio_output: u64,
}

/// A price that is not one.
#[derive(Clone, Debug, PartialEq)]
pub struct PriceError {
    /// The member, such as `cached_input`.
    pub member: &'static str,
    /// What was written.
    pub value: f64,
}

impl fmt::Display for PriceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}: {}` is not a price: write dollars per million tokens, from 0 to {DOLLARS_MAX}",
            self.member, self.value
        )
    }
}

impl std::error::Error for PriceError {}

const NANOS_PER_DOLLAR: f64 = 1e9;
const TOKENS_PER_PRICE: u128 = 1_000_000;
/// The dearest price that is accepted: a dollar a token. Far above any model, and far below what would
/// overflow a sum of products in 128 bits.
const DOLLARS_MAX: f64 = 1e6;

impl Price {
    /// From what was written.
    pub fn new(settings: &PriceSettings) -> Result<Self, PriceError> {
        let input = nanos("input", settings.input)?;
        let output = nanos("output", settings.output)?;
        let or = |member, value: Option<f64>, default| match value {
            Some(value) => nanos(member, value),
            None => Ok(default),
        };
        let base = Rates {
            input,
            output,
            cached_input: or("cached_input", settings.cached_input, input)?,
            cache_creation_5m: or("cache_creation_5m", settings.cache_creation_5m, input)?,
            cache_creation_1h: or("cache_creation_1h", settings.cache_creation_1h, input)?,
            audio_input: or("audio_input", settings.audio_input, input)?,
            audio_output: or("audio_output", settings.audio_output, output)?,
        };
        let Some(long) = settings.long_prompt else { return Ok(Self { base, long_prompt: None }) };
        let input = nanos("long_prompt.input", long.input)?;
        let output = nanos("long_prompt.output", long.output)?;
        let rates = Rates {
            input,
            output,
            cached_input: or("long_prompt.cached_input", long.cached_input, input)?,
            cache_creation_5m: or("long_prompt.cache_creation_5m", long.cache_creation_5m, input)?,
            cache_creation_1h: or("long_prompt.cache_creation_1h", long.cache_creation_1h, input)?,
            // Audio that has a price of its own keeps it.
            audio_input: or("audio_input", settings.audio_input, input)?,
            audio_output: or("audio_output", settings.audio_output, output)?,
        };
        Ok(Self { base, long_prompt: Some((long.above_tokens, rates)) })
    }

    /// What a request cost. No token is charged twice: what was cached, written to the cache or audio is
    /// taken out of the totals, reasoning is part of the answer at the answer's price. If the parts
    /// exceed the total, which no provider should report, the total is charged.
    pub fn cost(&self, usage: &Usage) -> NanoUsd {
        let rates = match &self.long_prompt {
            Some((above_tokens, rates)) if usage.input > *above_tokens => rates,
            _ => &self.base,
        };
        let mut sum = Sum::default();
        let mut prompt = usage.input;
        sum.take(&mut prompt, usage.cached_input, rates.cached_input);
        sum.take(&mut prompt, usage.cache_creation_5m, rates.cache_creation_5m);
        sum.take(&mut prompt, usage.cache_creation_1h, rates.cache_creation_1h);
        sum.take(&mut prompt, usage.audio_input, rates.audio_input);
        sum.take(&mut prompt, u64::MAX, rates.input);
        let mut answer = usage.output;
        sum.take(&mut answer, usage.audio_output, rates.audio_output);
        sum.take(&mut answer, u64::MAX, rates.output);
        sum.rounded()
    }

    /// What a prompt and an answer of these sizes cost, for comparing targets.
    pub fn cost_of(&self, input_tokens: u64, output_tokens: u64) -> NanoUsd {
        self.cost(&Usage { input: input_tokens, output: output_tokens, ..Usage::default() })
    }

    /// The most that a prompt of at most so many tokens and an answer of at most so many may cost,
    /// whatever kinds of tokens they turn out to be.
    pub fn dearest(&self, input_tokens: u64, output_tokens: u64) -> NanoUsd {
        let long = self.long_prompt.as_ref().filter(|(above, _)| input_tokens > *above);
        let of = |rates: &Rates| {
            let mut sum = Sum::default();
            sum.take(&mut { input_tokens }, u64::MAX, dearest_input(rates));
            sum.take(&mut { output_tokens }, u64::MAX, rates.output.max(rates.audio_output));
            sum.rounded()
        };
        of(&self.base).max(long.map_or(NanoUsd(0), |(_, rates)| of(rates)))
    }
}

/// The most that tokens of a prompt may cost: written to a cache, or as audio.
fn dearest_input(rates: &Rates) -> u64 {
    let written = rates.cache_creation_5m.max(rates.cache_creation_1h);
    rates.input.max(rates.cached_input).max(written).max(rates.audio_input)
}

/// A cost before it is rounded, in nano-dollars times a million.
#[derive(Default)]
struct Sum(u128);

impl Sum {
    /// Charges a part of what is left.
    fn take(&mut self, left: &mut u64, tokens: u64, rate: u64) {
        let taken = tokens.min(*left);
        *left -= taken;
        // At most seven products of 2^64 tokens and 10^15 (less than 2^50).
        self.0 += u128::from(taken) * u128::from(rate);
    }

    /// To the nearest nano-dollar, halves up.
    fn rounded(self) -> NanoUsd {
        let nanos = (self.0 + TOKENS_PER_PRICE / 2) / TOKENS_PER_PRICE;
        NanoUsd(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

fn nanos(member: &'static str, dollars: f64) -> Result<u64, PriceError> {
    if (0.0..=DOLLARS_MAX).contains(&dollars) {
        Ok((dollars * NANOS_PER_DOLLAR).round() as u64)
    } else {
        Err(PriceError { member, value: dollars })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SONNET: PriceSettings = PriceSettings {
        input: 3.0,
        output: 15.0,
        cached_input: Some(0.3),
        cache_creation_5m: Some(3.75),
        cache_creation_1h: Some(6.0),
        audio_input: None,
        audio_output: None,
        long_prompt: None,
    };

    fn usage() -> Usage {
        Usage { input: 1000, output: 500, ..Usage::default() }
    }

    #[test]
    fn plain_tokens() {
        let price = Price::new(&SONNET).unwrap();
        assert_eq!(price.cost(&usage()), NanoUsd(3_000_000 + 7_500_000));
        assert_eq!(price.cost(&Usage::default()), NanoUsd(0));
    }

    #[test]
    fn parts_are_charged_once() {
        let price = Price::new(&SONNET).unwrap();
        let usage = Usage {
            cached_input: 600,
            cache_creation_5m: 100,
            cache_creation_1h: 50,
            reasoning: 400,
            ..usage()
        };
        let prompt = 600 * 300 + 100 * 3_750 + 50 * 6_000 + 250 * 3_000;
        assert_eq!(price.cost(&usage), NanoUsd(prompt + 500 * 15_000));
    }

    #[test]
    fn parts_beyond_the_total_cost_no_more_than_the_total() {
        let price = Price::new(&SONNET).unwrap();
        let usage = Usage { cached_input: 5_000, cache_creation_5m: 7, ..usage() };
        assert_eq!(price.cost(&usage), NanoUsd(1_000 * 300 + 500 * 15_000));
    }

    #[test]
    fn audio_and_long_prompts() {
        let settings = PriceSettings {
            audio_input: Some(40.0),
            audio_output: Some(80.0),
            long_prompt: Some(LongPromptSettings {
                above_tokens: 1000,
                input: 6.0,
                output: 22.5,
                cached_input: Some(0.6),
                cache_creation_5m: None,
                cache_creation_1h: None,
            }),
            ..SONNET
        };
        let price = Price::new(&settings).unwrap();
        let short = Usage { audio_input: 10, audio_output: 5, ..usage() };
        assert_eq!(
            price.cost(&short),
            NanoUsd(10 * 40_000 + 990 * 3_000 + 5 * 80_000 + 495 * 15_000)
        );
        let long = Usage { input: 1001, output: 2, cached_input: 1, ..Usage::default() };
        assert_eq!(price.cost(&long), NanoUsd(600 + 1000 * 6_000 + 2 * 22_500));
    }

    #[test]
    fn halves_are_rounded_up_once() {
        let settings = PriceSettings { input: 0.0005, output: 0.0005, ..SONNET };
        let price = Price::new(&PriceSettings { cached_input: None, ..settings }).unwrap();
        // 0.5 nano-dollars each.
        assert_eq!(price.cost_of(1, 0), NanoUsd(1));
        assert_eq!(price.cost_of(1, 1), NanoUsd(1));
        assert_eq!(price.cost_of(2, 1), NanoUsd(2));
    }

    #[test]
    fn what_is_no_price_is_refused() {
        for value in [-0.01, f64::NAN, f64::INFINITY, 1e7] {
            let error = Price::new(&PriceSettings { output: value, ..SONNET }).unwrap_err();
            assert_eq!(error.member, "output");
            assert!(error.to_string().contains("is not a price"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_usage_has_a_cost_between_the_cheapest_and_the_dearest(
            input: u64, output: u64, cached_input: u64, cache_creation_5m: u64, audio_output: u64,
        ) {
            let price = Price::new(&SONNET).unwrap();
            let usage = Usage {
                input, output, cached_input, cache_creation_5m, audio_output,
                ..Usage::default()
            };
            let cost = u128::from(price.cost(&usage).0);
            let low = (u128::from(input) * 300 + u128::from(output) * 15_000)
                .min(u128::from(u64::MAX));
            let high = u128::from(input) * 3_750 + u128::from(output) * 15_000;
            prop_assert!(low <= cost && cost <= high);
        }
    }
}
