//! Listening sockets: one per worker and address, spread by the kernel (`SO_REUSEPORT`).

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

#[cfg(target_os = "linux")]
use super::ring;
use super::{Stream, epoll, spare_congestion_control};

/// Connections that may wait to be accepted, per socket. The kernel caps it at `somaxconn`.
const BACKLOG: i32 = 4096;

/// Binds one listening socket that others may share its address with.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    #[cfg(unix)]
    socket.set_reuse_port(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    // What is accepted has it from here.
    spare_congestion_control(&SockRef::from(&socket), address.ip());
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Whether another process already listens on the address. `SO_REUSEPORT` alone would let two
/// instances of one user share a port in silence, each with half of the connections.
pub fn taken(address: SocketAddr) -> io::Result<bool> {
    if address.port() == 0 {
        return Ok(false);
    }
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    match socket.bind(&address.into()) {
        Ok(()) => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(true),
        Err(error) => Err(error),
    }
}

/// A listening socket that a worker accepts on.
#[derive(Debug)]
pub struct Listener(Accepting);

#[derive(Debug)]
enum Accepting {
    Epoll(epoll::Accepting),
    #[cfg(target_os = "linux")]
    Ring(ring::Accepting),
}

impl Listener {
    /// Takes over a listening socket that does not block. Called on the thread that will use it,
    /// inside its runtime.
    ///
    /// # Errors
    ///
    /// What the system says to its registration.
    pub fn new(tcp: TcpListener) -> io::Result<Self> {
        #[cfg(target_os = "linux")]
        if ring::is_running() {
            return ring::Accepting::new(tcp).map(Accepting::Ring).map(Self);
        }
        epoll::Accepting::new(tcp).map(Accepting::Epoll).map(Self)
    }

    /// The next connection. `None` once the listener has stopped and what it had accepted before is
    /// taken. Cancel safe.
    pub async fn accept(&mut self) -> Option<io::Result<Stream>> {
        let accepted = match &mut self.0 {
            Accepting::Epoll(listener) => listener.accept().await,
            #[cfg(target_os = "linux")]
            Accepting::Ring(listener) => listener.accept().await,
        };
        accepted.map(|tcp| tcp.and_then(Stream::of_nonblocking))
    }

    /// Accepts no more.
    pub fn stop(&mut self) {
        match &mut self.0 {
            Accepting::Epoll(listener) => listener.stop(),
            #[cfg(target_os = "linux")]
            Accepting::Ring(listener) => listener.stop(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn only_what_stays_on_this_machine_is_sent_without_congestion_control() {
        let algorithm = |address: [u8; 4]| {
            let listener = bind(SocketAddr::from((address, 0))).expect("bind");
            let algorithm = SockRef::from(&listener).tcp_congestion().expect("algorithm");
            String::from_utf8_lossy(&algorithm).trim_end_matches('\0').to_owned()
        };
        let usual = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control");
        assert_eq!(algorithm([127, 0, 0, 1]), "reno");
        assert_eq!(algorithm([0, 0, 0, 0]), usual.expect("the system says it").trim_end());
    }

    #[test]
    fn two_sockets_share_an_address_and_a_third_party_sees_it_taken() {
        let first = bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("bind");
        let address = first.local_addr().expect("address");
        let second = bind(address).expect("share");
        assert_eq!(second.local_addr().expect("address"), address);
        assert!(taken(address).expect("probe"));
        drop((first, second));
        assert!(!taken(address).expect("probe"));
    }
}
