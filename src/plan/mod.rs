//! The immutable composition of the rooms below, compiled from the configuration file.
//!
//! A request loads the plan once, at its head, and sees one consistent configuration until it
//! ends. A reload builds a whole new plan, takes over the live state of what did not change, and
//! swaps one pointer.
//!
//! The way there: [`Source`] is the file as it was written, with the place of everything in it;
//! [`compile`] checks it across rooms, lets each room compile its own settings, and reports
//! everything that is wrong at once, each thing with its place.

mod check;
mod compile;
mod file;
mod schema;
mod source;
#[cfg(test)]
mod tests;

pub use compile::{Environment, Plan, Skipped, compile};
pub use file::{
    AdminSettings, Bounds, File, IdentitySettings, LogSettings, Reach, ReloadSettings, Role,
    SsoSettings, TokenSettings,
};
pub use schema::schema;
pub use source::Source;
