//! What operators see of the process: metrics with bounded labels, and the process log.
//!
//! A finished request must cost its worker a few additions and nothing else: no lock, no
//! formatting, no allocation. So counters are sharded by thread ([`cell`]), series are found
//! without a lock ([`Family`]), labels that clients choose are bounded, and everything that takes
//! time (adding shards up, writing text, asking the operating system) happens when somebody scrapes.
//!
//! Nothing here knows what an endpoint or a pool is: rooms above name them with strings.

mod cell;
mod event_loop;
mod family;
mod index;
mod live;
mod log;
mod metrics;
mod models;
mod process;
mod scrape;
mod settled;
mod text;

pub use cell::{Buckets, Counter, Gauge, Histogram, Sharded, count_alone};
pub use event_loop::Loop;
pub use family::Family;
pub use live::{Breaker, LedgerState, Live, LiveLedger, LivePool, LiveStorage, LiveTarget};
pub use log::{Level, ProcessLog};
pub use metrics::{Connection, HedgeResult, InFlight, Metrics};
pub use process::Process;
pub use scrape::Format;
pub use settled::{Settled, TOKEN_KINDS, TokenKind};
pub use text::{TIMESTAMP_LEN, prefix, timestamp};

#[cfg(test)]
mod tests;
