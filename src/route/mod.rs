//! First match wins: from what a request says of itself to the pool that answers it.

mod compile;
mod endpoints;
mod index;
mod settings;
mod table;
#[cfg(test)]
mod tests;

pub use compile::PoolRef;
pub use settings::{MatchSettings, Pattern, Settings, SplitSettings};
pub use table::{Selected, Table};
