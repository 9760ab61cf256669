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

/// Has connections whose first packet comes in on this core accepted here rather than on another
/// socket of the address; `None` leaves it to chance again. `SO_INCOMING_CPU` of socket(7), which
/// decides among sockets that share an address since Linux 6.2.
///
/// # Errors
///
/// The system does not know the option.
pub fn prefer_cpu(listener: &TcpListener, cpu: Option<usize>) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    // It becomes -1, which is none.
    return SockRef::from(listener).set_cpu_affinity(cpu.unwrap_or(usize::MAX));
    #[cfg(not(target_os = "linux"))]
    match (listener, cpu) {
        (_, None) => Ok(()),
        (_, Some(_)) => Err(io::ErrorKind::Unsupported.into()),
    }
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
    #[cfg(target_os = "linux")]
    fn connections_go_where_their_first_packet_came_in() {
        use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
        use nix::unistd::Pid;
        let release =
            std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("the system says it");
        let version: Vec<u32> =
            release.split(['.', '-']).map_while(|number| number.parse().ok()).collect();
        if version[..] < [6, 2][..] {
            eprintln!(
                "Linux {} does not ask sockets of one address for their core",
                release.trim()
            );
            return;
        }
        let own = Pid::from_raw(0);
        let allowed = sched_getaffinity(own).expect("affinity");
        let cpus = (0..CpuSet::count()).filter(|cpu| allowed.is_set(*cpu).unwrap_or(false));
        let cpus: Vec<usize> = cpus.take(4).collect();
        let first = bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("bind");
        let address = first.local_addr().expect("address");
        let mut listeners = vec![first];
        listeners.extend((1..cpus.len()).map(|_| bind(address).expect("bind")));
        // What was connected may come into the queue a little later.
        let accepted = |listeners: &[TcpListener], clients: usize| -> Vec<usize> {
            let mut all = vec![0; listeners.len()];
            let give_up = std::time::Instant::now() + std::time::Duration::from_secs(10);
            while all.iter().sum::<usize>() < clients && std::time::Instant::now() < give_up {
                for (count, listener) in all.iter_mut().zip(listeners) {
                    *count += std::iter::from_fn(|| listener.accept().ok()).count();
                }
            }
            all
        };
        let connect = |count| -> Vec<std::net::TcpStream> {
            let connect = || std::net::TcpStream::connect(address).expect("connect");
            std::iter::repeat_with(connect).take(count).collect()
        };
        for (listener, cpu) in listeners.iter().zip(&cpus) {
            prefer_cpu(listener, Some(*cpu)).expect("known");
        }
        for (at, cpu) in cpus.iter().enumerate() {
            let mut only = CpuSet::new();
            only.set(*cpu).expect("a core");
            // Of this thread, which ends with the test. On the loopback the packet comes in where it
            // is sent.
            sched_setaffinity(own, &only).expect("pinned");
            let clients = connect(32);
            let all = accepted(&listeners, clients.len());
            assert_eq!(all[at], clients.len(), "core {cpu}: {all:?}");
        }
        for listener in &listeners {
            prefer_cpu(listener, None).expect("known");
        }
        let clients = connect(256);
        let all = accepted(&listeners, clients.len());
        assert_eq!(all.iter().sum::<usize>(), clients.len());
        assert!(all.iter().all(|count| *count > 0), "by chance again: {all:?}");
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
