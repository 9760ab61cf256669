//! The runtime of one worker.

use std::io;

use super::stream;

/// A runtime for the calling thread alone, whose streams gather their writes until it waits.
///
/// # Errors
///
/// What the system says to its event queue.
pub fn runtime() -> io::Result<tokio::runtime::Runtime> {
    stream::gather_on_this_thread();
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .on_thread_park(stream::send_gathered)
        .build()
}
