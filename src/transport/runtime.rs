//! The runtime of one worker, and what drives its sockets.

use std::fmt;
use std::future::Future;
use std::io;

#[cfg(target_os = "linux")]
use super::ring;
use super::settings::Io;
use super::{SWEEP_EVERY, epoll, large};

/// What drives a worker's sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drive {
    /// `io_uring`.
    Ring,
    /// epoll, or what the system has in its place.
    Epoll,
}

impl Drive {
    /// Its name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Drive::Ring => "io_uring",
            Drive::Epoll => "epoll",
        }
    }
}

impl fmt::Display for Drive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What drives the sockets, and why it is not `io_uring` where it could have been.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// It.
    pub drive: Drive,
    /// Why `io_uring` cannot be used here. `None` where it is, or was not asked for.
    pub refused: Option<String>,
}

/// Tries what the settings ask for, for real: bytes go through a ring and back.
///
/// # Errors
///
/// Why `io_uring` cannot be used, where nothing else will do.
pub fn choose(io: Io) -> Result<Choice, String> {
    let refused = match io {
        Io::Epoll => return Ok(Choice { drive: Drive::Epoll, refused: None }),
        Io::Auto | Io::IoUring => probe(),
    };
    match refused {
        Ok(()) => Ok(Choice { drive: Drive::Ring, refused: None }),
        Err(reason) if io == Io::Auto => Ok(Choice { drive: Drive::Epoll, refused: Some(reason) }),
        Err(reason) => Err(reason),
    }
}

#[cfg(target_os = "linux")]
fn probe() -> Result<(), String> {
    ring::probe()
}

#[cfg(not(target_os = "linux"))]
fn probe() -> Result<(), String> {
    Err("this system has no io_uring".into())
}

/// A runtime for the calling thread alone, whose streams gather their writes until it waits.
#[derive(Debug)]
pub struct Runtime {
    tokio: tokio::runtime::Runtime,
    drive: Drive,
}

impl Runtime {
    /// Prepares the thread. A thread has one runtime at a time.
    ///
    /// # Errors
    ///
    /// What the system says to its event queue or to the ring.
    pub fn new(drive: Drive) -> io::Result<Self> {
        epoll::gather_on_this_thread();
        match drive {
            Drive::Epoll => {}
            #[cfg(target_os = "linux")]
            Drive::Ring => ring::start()?,
            #[cfg(not(target_os = "linux"))]
            Drive::Ring => return Err(io::ErrorKind::Unsupported.into()),
        }
        let mut tokio = tokio::runtime::Builder::new_current_thread();
        tokio.enable_all().on_thread_park(send_gathered);
        #[cfg(target_os = "linux")]
        if drive == Drive::Ring {
            tokio.on_thread_unpark(ring::reap);
        }
        let tokio = tokio.build()?;
        Ok(Self { tokio, drive })
    }

    /// Runs a future, and with it what it spawns, to its end.
    pub fn block_on<F: Future>(self, future: F) -> F::Output {
        self.tokio.spawn(sweeps());
        #[cfg(target_os = "linux")]
        if self.drive == Drive::Ring {
            self.tokio.spawn(ring::watch());
        }
        let output = self.tokio.block_on(future);
        // What was spawned, and with it every stream, ends before the ring does.
        drop(self.tokio);
        #[cfg(target_os = "linux")]
        if self.drive == Drive::Ring {
            // What the streams have kept goes out.
            ring::turn();
            ring::stop();
        }
        output
    }
}

/// Has what the thread keeps looked at, now and then.
async fn sweeps() {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        large::release_unused();
        #[cfg(target_os = "linux")]
        ring::sweep();
    }
}

/// Sends what was gathered at once, where nobody else was woken with the caller: what is left for it to do
/// is done while its bytes are on the way. Where there are others, theirs go together.
pub(crate) fn send_ahead() {
    #[cfg(target_os = "linux")]
    if ring::send_ahead() {
        return;
    }
    epoll::send_ahead();
}

/// Sends what this thread's streams have gathered. The worker's runtime does so by itself whenever it
/// waits; only what is gathered after its last wait is for the worker to send.
pub fn send_gathered() {
    epoll::turn();
    #[cfg(target_os = "linux")]
    ring::rest();
}

#[cfg(all(test, target_os = "linux"))]
mod tests;
