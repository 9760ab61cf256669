//! Scenarios: what weir does when something around it goes wrong, asserted.
//!
//! Each one starts its own upstreams and its own weir, and returns findings that serialise.

pub mod cancel;
pub mod kill;
pub mod ledger;
pub mod prompt;
pub mod reload;
pub mod soak;
pub mod table;
pub mod upgrade;

use serde::Serialize;

/// A condition of a scenario, and whether it held.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// What must hold.
    pub what: String,
    /// Whether it did.
    pub held: bool,
    /// The figures behind it.
    pub found: String,
}

impl Check {
    /// A condition with what was found.
    pub fn new(what: impl Into<String>, held: bool, found: impl Into<String>) -> Self {
        Self { what: what.into(), held, found: found.into() }
    }

    /// Prints one line for each; whether all held.
    pub fn print_all(checks: &[Check]) -> bool {
        for check in checks {
            let mark = if check.held { "ok  " } else { "FAIL" };
            println!("{mark}  {}: {}", check.what, check.found);
        }
        checks.iter().all(|check| check.held)
    }
}
