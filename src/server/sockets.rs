//! The listening sockets of all workers: bound at start or taken over from a running process.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use pingora_core::listeners::tls::Acceptor;

use super::worker::Socket;
use crate::plan::Plan;
use crate::transport::{handover, listen, tls};

/// How long a new process waits for the running one to hand over.
const HANDOVER_WAIT: Duration = Duration::from_secs(120);

/// TLS by listener address, swapped at reload.
pub(super) type Acceptors = HashMap<SocketAddr, Arc<ArcSwap<Acceptor>>>;

/// Sockets for every worker, in the order of the workers.
pub(super) struct Bound {
    workers: usize,
    sockets: Vec<(SocketAddr, TcpListener)>,
    acceptors: Acceptors,
    upgrade_path: PathBuf,
}

/// What the control thread keeps of them: a second descriptor of each, to hand over.
pub(super) struct Kept {
    descriptors: Vec<(SocketAddr, OwnedFd)>,
    acceptors: Acceptors,
    upgrade_path: PathBuf,
}

/// Opens what the plan wants, one socket an address and worker.
pub(super) fn open(plan: &Plan, upgrade: bool) -> Result<Bound, String> {
    let file = &plan.file;
    let workers = file.runtime.threads.count();
    let first = file.listeners.first().ok_or("no listener is configured")?;
    let upgrade_path = handover::default_path(first.address);
    let mut inherited = if upgrade { inherit(&upgrade_path)? } else { Vec::new() };
    let mut sockets = Vec::new();
    for listener in &file.listeners {
        let address = listener.address;
        let (mut ours, others): (Vec<_>, Vec<_>) =
            inherited.into_iter().partition(|(at, _)| *at == address);
        inherited = others;
        if ours.is_empty() && listen::taken(address).unwrap_or(false) {
            return Err(format!(
                "{address} is in use: stop what listens there, or take over from a running weir with `run --upgrade`"
            ));
        }
        while ours.len() < workers {
            let socket = listen::bind(address)
                .map_err(|error| format!("{address} cannot be listened on: {error}"))?;
            ours.push((address, socket));
        }
        sockets.append(&mut ours);
    }
    for (address, _) in inherited {
        log::info!("{address} is no longer listened on");
    }
    Ok(Bound { workers, sockets, acceptors: acceptors(plan)?, upgrade_path })
}

fn inherit(path: &std::path::Path) -> Result<Vec<(SocketAddr, TcpListener)>, String> {
    log::info!("waiting for the running weir to hand over at {}: send it QUIT", path.display());
    handover::receive(path, HANDOVER_WAIT).map_err(|error| format!("upgrade: {error}"))
}

/// The operators' listener. It shares its address as well, so that a new process can have it while
/// the old one still drains.
pub(super) fn admin(plan: &Plan, upgrade: bool) -> Result<TcpListener, String> {
    let address = plan.file.admin.address;
    if !upgrade && listen::taken(address).unwrap_or(false) {
        return Err(format!("the admin address {address} is in use: set `admin.address`"));
    }
    listen::bind(address)
        .map_err(|error| format!("the admin address {address} cannot be listened on: {error}"))
}

/// The TLS side of every listener that has one.
pub(super) fn acceptors(plan: &Plan) -> Result<Acceptors, String> {
    let mut acceptors = Acceptors::new();
    for listener in &plan.file.listeners {
        if let Some(settings) = &listener.tls {
            let acceptor = tls::acceptor(settings)
                .map_err(|error| format!("listener {}: {error}", listener.address))?;
            acceptors.insert(listener.address, Arc::new(ArcSwap::from_pointee(acceptor)));
        }
    }
    Ok(acceptors)
}

impl Bound {
    /// Deals the sockets out to the workers and keeps a descriptor of each.
    pub(super) fn split(self) -> Result<(Kept, Vec<Vec<Socket>>), String> {
        let Self { workers, sockets, acceptors, upgrade_path } = self;
        let mut dealt: Vec<Vec<Socket>> = (0..workers).map(|_| Vec::new()).collect();
        let mut descriptors = Vec::with_capacity(sockets.len());
        for (at, (address, listener)) in sockets.into_iter().enumerate() {
            let copy = listener.try_clone().map_err(|error| format!("{address}: {error}"))?;
            descriptors.push((address, OwnedFd::from(copy)));
            let tls = acceptors.get(&address).cloned();
            dealt[at % workers].push(Socket { address, listener, tls });
        }
        Ok((Kept { descriptors, acceptors, upgrade_path }, dealt))
    }
}

impl Kept {
    /// TLS by listener address.
    pub(super) fn acceptors(&self) -> Acceptors {
        self.acceptors.clone()
    }

    /// Hands every socket to the process that waits for them.
    pub(super) fn hand_over(&self) -> Result<(), String> {
        let sockets: Vec<_> = self
            .descriptors
            .iter()
            .map(|(address, descriptor)| (*address, descriptor.as_raw_fd()))
            .collect();
        handover::send(&self.upgrade_path, &sockets).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused => format!(
                "nobody waits at {}: start the new process first, with `weir run --upgrade`",
                self.upgrade_path.display()
            ),
            _ => format!("{}: {error}", self.upgrade_path.display()),
        })
    }
}
