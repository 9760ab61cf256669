//! Listeners and the threads behind them: one current-thread runtime each, so that a connection never
//! moves between cores.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::h1;
use super::shared::{Ack, Command, Shared};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;
/// Commands that may wait for a thread.
const COMMANDS_MAX: usize = 32;
/// A pause before accepting again when the process is out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// Opens a listening socket.
pub(super) fn bind(address: SocketAddr, shared_port: bool) -> io::Result<StdListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared_port)?;
    socket.set_nonblocking(true)?;
    // What is accepted has it from here. Where the system has BBR, its timers would space answers out.
    #[cfg(target_os = "linux")]
    if address.ip().is_loopback() {
        let _ = socket.set_tcp_congestion(b"reno");
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Starts a thread that serves a listener. `steered` listeners obey commands.
pub(super) fn start(
    number: usize,
    listener: StdListener,
    shared: Arc<Shared>,
    steered: bool,
) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (sender, commands) = mpsc::channel(COMMANDS_MAX);
    shared.add_thread(sender);
    #[cfg(feature = "cli")]
    let core = shared.settings.cores.get(number).copied();
    #[cfg(all(feature = "cli", target_os = "linux"))]
    if let Some(core) = core {
        socket2::SockRef::from(&listener).set_cpu_affinity(core)?;
    }
    std::thread::Builder::new().name(format!("mock-{number}")).spawn(move || {
        #[cfg(feature = "cli")]
        if let Some(core) = core {
            crate::cores::pin_thread(core);
        }
        let served = runtime.block_on(async {
            let address = listener.local_addr()?;
            let listener = Some(TcpListener::from_std(listener)?);
            let shared_port = shared.settings.threads > 1;
            let door = Door { listener, address, shared_port, steered, reopen: None };
            door.serve(commands, shared).await;
            io::Result::Ok(())
        });
        if let Err(error) = served {
            eprintln!("simulated upstream: {error}");
        }
    })
}

/// A listener that can be closed and opened again.
struct Door {
    listener: Option<TcpListener>,
    address: SocketAddr,
    shared_port: bool,
    steered: bool,
    reopen: Option<Instant>,
}

impl Door {
    /// Serves until the last sender of commands is gone.
    async fn serve(mut self, mut commands: mpsc::Receiver<Command>, shared: Arc<Shared>) {
        let mut connections = JoinSet::new();
        loop {
            let reopen = self.reopen;
            tokio::select! {
                biased;
                command = commands.recv() => match command {
                    None => return,
                    Some(command) => self.obey(command, &mut connections).await,
                },
                () = sleep_until(reopen), if reopen.is_some() => {
                    if let Err(error) = self.open() {
                        eprintln!("simulated upstream cannot listen again: {error}");
                    }
                }
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
                accepted = accept(self.listener.as_ref()), if self.listener.is_some() => {
                    match accepted {
                        Ok(io) => { connections.spawn(connection(io, Arc::clone(&shared))); }
                        Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
                    }
                }
            }
        }
    }

    async fn obey(&mut self, command: Command, connections: &mut JoinSet<()>) {
        let answer = |ack: Ack, result| {
            if let Some(ack) = ack {
                // Whoever asked may have stopped waiting.
                let _ = ack.send(result);
            }
        };
        match command {
            Command::Pause(pause, ack) => {
                if self.steered {
                    self.listener = None;
                    self.reopen = pause.map(|pause| Instant::now() + pause);
                }
                answer(ack, Ok(()));
            }
            Command::Resume(ack) => answer(ack, self.open()),
            Command::Disconnect(ack) => {
                if self.steered {
                    connections.shutdown().await;
                }
                answer(ack, Ok(()));
            }
        }
    }

    fn open(&mut self) -> io::Result<()> {
        self.reopen = None;
        if self.listener.is_none() {
            self.listener = Some(TcpListener::from_std(bind(self.address, self.shared_port)?)?);
        }
        Ok(())
    }
}

async fn sleep_until(moment: Option<Instant>) {
    if let Some(moment) = moment {
        tokio::time::sleep_until(moment).await;
    }
}

async fn accept(listener: Option<&TcpListener>) -> io::Result<TcpStream> {
    match listener {
        Some(listener) => listener.accept().await.map(|(io, _)| io),
        None => std::future::pending().await,
    }
}

/// Counts a connection as open while it lives.
struct ConnectionOpen(Arc<Shared>);

impl Drop for ConnectionOpen {
    fn drop(&mut self) {
        self.0.books.connections_open.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn connection(io: TcpStream, shared: Arc<Shared>) {
    shared.books.connections.fetch_add(1, Ordering::Relaxed);
    shared.books.connections_open.fetch_add(1, Ordering::Relaxed);
    let open = ConnectionOpen(Arc::clone(&shared));
    let _ = io.set_nodelay(true);
    // A connection that breaks is part of the business here: it is in the books, not in a log.
    let _ = h1::serve(io, shared).await;
    drop(open);
}

/// Waits for SIGINT or SIGTERM.
pub(super) fn wait_for_signal() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
        Ok(())
    })
}
