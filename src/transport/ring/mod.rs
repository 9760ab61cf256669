//! `io_uring`: one ring per worker, driven by the worker's runtime.
//!
//! What a worker's streams want done in one turn (sends, receives to arm, cancellations) goes to the
//! kernel with one system call, made before the thread waits; what was done meanwhile is read from
//! shared memory. Receives and accepts are armed once and complete many times; what is received lies
//! in memory that the ring provides ([`blocks`]).
//!
//! The runtime waits in epoll, where the ring's descriptor is one more event source, so timers and
//! everything else that runs on tokio stay as they are. The ring runs its task work whenever the
//! thread enters the kernel anyway (`COOP_TASKRUN`); with `DEFER_TASKRUN` a wait in epoll would not
//! see it.

mod blocks;
mod driver;
mod probe;
mod stream;

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::task::Waker;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use driver::Driver;

pub(crate) use blocks::Received;
pub(super) use probe::probe;
pub(super) use stream::{Accepting, Stream};

thread_local! {
    static DRIVER: RefCell<Option<Driver>> = const { RefCell::new(None) };
}

/// Gives this thread a ring, until [`stop`].
///
/// # Errors
///
/// What the kernel says: too old, or not allowed here.
pub(super) fn start() -> io::Result<()> {
    let driver = Driver::new()?;
    DRIVER.set(Some(driver));
    Ok(())
}

/// Takes the thread's ring away. Its streams must have been dropped.
pub(super) fn stop() {
    drop(DRIVER.take());
}

/// Whether this thread has a ring.
pub(super) fn is_running() -> bool {
    DRIVER.with_borrow(Option::is_some)
}

/// Ends the last turn before the thread waits.
pub(super) fn rest() {
    waking(Driver::rest);
}

/// Ends a turn: looks at what was done, has the kernel do what streams have asked for, wakes whom it
/// concerns.
pub(super) fn turn() {
    waking(Driver::turn);
}

/// Ends the turn where at most one task was woken since the thread had nothing to do. False without a
/// ring.
pub(super) fn send_ahead() -> bool {
    let alone = DRIVER.with_borrow(|driver| driver.as_ref().map(Driver::has_woken_one));
    if alone == Some(true) {
        turn();
    }
    alone.is_some()
}

/// Takes what the kernel has completed, right after the thread has waited: what it wakes runs before the
/// thread looks for other events.
pub(super) fn reap() {
    waking(Driver::reap);
}

/// Has the thread's driver do something, and wakes who waited for what came of it.
fn waking(operation: impl FnOnce(&mut Driver)) {
    let mut wakers = DRIVER.with_borrow_mut(|driver| {
        let Some(driver) = driver else { return Vec::new() };
        operation(driver);
        driver.take_wakers()
    });
    if wakers.capacity() == 0 {
        return;
    }
    wakers.drain(..).for_each(Waker::wake);
    // The list's memory serves the next turn.
    DRIVER.with_borrow_mut(|driver| {
        if let Some(driver) = driver {
            driver.keep_list(wakers);
        }
    });
}

/// The thread's driver for one operation of a stream.
fn with<R>(operation: impl FnOnce(&mut Driver) -> R) -> io::Result<R> {
    DRIVER.with_borrow_mut(|driver| match driver {
        Some(driver) => Ok(operation(driver)),
        None => Err(io::Error::other("the stream's thread has no ring any more")),
    })
}

/// Ends dropped streams that cannot send their last bytes, and gives memory back.
pub(super) fn sweep() {
    // Without a driver there is nothing that lingers.
    let _ = with(Driver::sweep);
}

/// The ring's, as an event source.
struct Descriptor(RawFd);

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0
    }
}

/// Watches the ring for as long as the runtime runs: completions that come while the thread waits
/// wake it.
pub(super) async fn watch() {
    let Some(descriptor) = DRIVER.with_borrow(|driver| driver.as_ref().map(Driver::descriptor))
    else {
        return;
    };
    // SAFETY: the descriptor is the ring's, which lives until `stop`; the runtime, and with it this
    // registration, is dropped before.
    let ring = match unsafe {
        AsyncFd::register_with_interest(Descriptor(descriptor), Interest::READABLE)
    } {
        Ok(ring) => ring,
        Err(error) => {
            log::error!("the ring cannot be waited for: {}", io::Error::from(error));
            return;
        }
    };
    while let Ok(mut ready) = ring.readable().await {
        ready.clear_ready();
        turn();
    }
}
