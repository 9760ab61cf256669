//! First match wins: from what a request says of itself to the pool that answers it.

mod settings;

pub use settings::{MatchSettings, Pattern, Settings, SplitSettings};
