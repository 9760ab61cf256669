//! Tokens and money: tokenizers, incremental counting, prices.

mod price;

pub use price::PriceSettings;
