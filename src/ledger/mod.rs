//! One record per request, and the bounded queue and writer that bring it to the access log off the
//! hot path.
//!
//! [`Ledger::settle`] is the single place where a request's end becomes visible: it counts the
//! record in the metrics (a few atomic additions) and moves it into a bounded queue. One background
//! thread turns records into JSON lines and writes them in batches. It is not woken for each record,
//! which would cost every request a system call; it looks by itself every few milliseconds and is
//! woken only when many records wait. When standard output or the disk is too slow, the queue
//! fills, lines are lost, and `weir_log_dropped_total` says how many: a reader that stalls never
//! stalls a stream.

mod json;
mod record;
mod sink;
mod writer;

pub use record::{AttemptOutcome, AttemptRecord, Record};
pub use writer::{Ledger, Writer};

#[cfg(test)]
mod tests;
