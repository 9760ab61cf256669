//! Byte streams: listening sockets, accepted and connected streams, the runtimes that drive them.
//!
//! [`Stream`] and [`Listener`] are the same whatever drives them: the worker's [`ring`] (`io_uring`) or
//! [`epoll`]. Over them go the requests of clients ([`downstream`]) and those for [`upstream`]s. The only
//! room that may contain `unsafe`.

#![expect(unsafe_code, reason = "memory shared with the kernel, and memory not initialised yet")]

mod arrived;
mod block;
mod certificate;
pub(crate) mod downstream;
mod epoll;
pub mod handover;
mod large;
pub mod listen;
pub mod pages;
#[cfg(target_os = "linux")]
mod ring;
mod runtime;
mod settings;
mod spare;
mod stream;
pub mod tls;
pub mod upstream;

use std::io::IoSlice;
use std::net::IpAddr;
use std::time::Duration;

use socket2::SockRef;

pub(crate) use arrived::Arrived;
pub use block::poll_read_bytes;
pub use certificate::ClientCertificate;
pub use listen::Listener;
pub(crate) use runtime::send_ahead;
pub use runtime::{Choice, Drive, Runtime, choose, send_gathered};
pub use stream::Stream;

pub use settings::{
    ClientAuth, FileRef, Io, ListenerSettings, ListenerTls, RuntimeSettings, Threads,
};

/// What a stream keeps at most. A write that goes beyond it goes to the socket at once.
const GATHERED_BYTES_MAX: usize = 16 * 1024;
/// Reads of a worker's streams after which its writes are sent although there is more to do.
const READS_PER_TURN_MAX: u32 = 64;
/// Callers that a worker listens to between two looks at what else has come. Of what has come from
/// upstreams it misses nothing meanwhile: what was begun is finished first, while it is still in the
/// processor's cache, and tokens under way do not wait behind new requests.
const CALLERS_PER_LOOK: usize = 16;
/// How often a worker's thread looks at what it keeps and may not need any more.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// How long a dropped stream tries to send what it has kept.
const LINGER: Duration = Duration::from_secs(30);

/// Spares a socket what finds out how much a network carries, where the other end is on this machine.
/// BBR, which many servers have for all of their connections, spaces out by timers of the kernel what
/// is sent; Reno, which every Linux has (`tcp(7)`, `TCP_CONGESTION`), sends it at once.
fn spare_congestion_control(socket: &SockRef<'_>, other: IpAddr) {
    #[cfg(target_os = "linux")]
    if other.is_loopback()
        && let Err(error) = socket.set_tcp_congestion(b"reno")
    {
        // It is sent all the same.
        log::debug!("Reno cannot be used with {other}: {error}");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (socket, other);
}

/// The first of several parts that is not empty, where there is one.
fn first<'p>(parts: &'p [IoSlice<'_>]) -> &'p [u8] {
    parts.iter().find(|part| !part.is_empty()).map_or(&[], |part| part)
}
