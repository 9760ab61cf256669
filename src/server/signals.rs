//! The process's signals.

use std::io;

use tokio::signal::unix::{self, SignalKind};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    /// HUP.
    Reload,
    /// QUIT.
    Upgrade,
    /// TERM.
    Drain,
    /// INT.
    Fast,
}

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Open streams may finish within the drain time.
    Drain,
    /// At once.
    Fast,
}

/// Listens for all of them.
pub(super) struct Signals {
    hup: unix::Signal,
    quit: unix::Signal,
    term: unix::Signal,
    int: unix::Signal,
}

impl Signals {
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            hup: unix::signal(SignalKind::hangup())?,
            quit: unix::signal(SignalKind::quit())?,
            term: unix::signal(SignalKind::terminate())?,
            int: unix::signal(SignalKind::interrupt())?,
        })
    }

    pub(super) async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.hup.recv() => Signal::Reload,
            _ = self.quit.recv() => Signal::Upgrade,
            _ = self.term.recv() => Signal::Drain,
            _ = self.int.recv() => Signal::Fast,
        }
    }
}
