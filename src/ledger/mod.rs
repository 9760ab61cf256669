//! One record per request, and the bounded buffers and writer that bring it to the access log off the
//! hot path.
//!
//! A request's end becomes visible here and nowhere else: [`Ledger::count`] counts its record in the
//! metrics (a few atomic additions), [`Ledger::enter`] appends it as a JSON line to a buffer of its
//! thread. One background thread takes these buffers away and writes them. It is not woken for each
//! line, which would cost every request a system call; it looks by itself every 40 ms, less often while
//! there are none, and is woken only when much waits. When standard output or the disk is too slow, the buffers
//! fill, lines are lost, and `weir_log_dropped_total` says how many: a reader that stalls never
//! stalls a stream.
//!
//! Where a database is configured, the record also goes to the ledger of record in it, by the same
//! kind of buffer: see [`books`]. There it is accounted for, and not lost while there is room.

pub mod archive;
pub mod books;
mod entry;
pub mod export;
mod json;
mod line;
mod listing;
mod parquet;
pub mod query;
pub mod reconcile;
mod record;
pub mod select;
mod settings;
mod sink;
pub mod spent;
pub mod verify;
mod writer;

pub use record::{AttemptOutcome, AttemptRecord, Record};
pub use settings::Settings;
pub use writer::{Ledger, Writer};

#[cfg(test)]
mod tests;
