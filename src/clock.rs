//! Time as the rest of weir sees it: a monotonic instant for durations and deadlines, and a wall
//! clock for records.

use std::time::{SystemTime, UNIX_EPOCH};

pub use std::time::{Duration, Instant};

/// Milliseconds since the Unix epoch. Used in records only; durations are taken from [`Instant`].
pub fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// Seconds since the Unix epoch.
pub fn unix_s() -> u64 {
    unix_ms() / 1000
}
