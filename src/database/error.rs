//! What can go wrong with a database, as far as somebody acts on it.

use std::fmt;

/// The kind of a failure; the label in logs and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Another process holds the lock.
    Locked,
    /// No space is left.
    Full,
    /// It cannot be written to.
    ReadOnly,
    /// The disk failed.
    Io,
    /// There is no connection.
    Away,
    /// It took too long.
    Timeout,
    /// The file is damaged.
    Corrupt,
    /// Too much waits for it.
    Busy,
    /// A rule of a table forbids it: such a row exists already.
    Constraint,
    /// What is asked for is not kept any more.
    Gone,
    /// Anything else: a mistake in the statement, or a table of another version.
    Other,
}

impl Fault {
    /// The label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Fault::Locked => "locked",
            Fault::Full => "full",
            Fault::ReadOnly => "read_only",
            Fault::Io => "io",
            Fault::Away => "away",
            Fault::Timeout => "timeout",
            Fault::Corrupt => "corrupt",
            Fault::Busy => "busy",
            Fault::Constraint => "constraint",
            Fault::Gone => "gone",
            Fault::Other => "other",
        }
    }

    /// Whether it is the database's own state, so that the same work may go well later.
    pub const fn is_state(self) -> bool {
        !matches!(self, Fault::Busy | Fault::Constraint | Fault::Gone | Fault::Other)
    }
}

/// A failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Its kind.
    pub fault: Fault,
    /// What the engine says of it. For the log.
    pub message: String,
}

impl Error {
    /// A failure of this kind.
    pub fn new(fault: Fault, message: impl Into<String>) -> Self {
        Self { fault, message: message.into() }
    }

    pub(super) fn busy() -> Self {
        Self::new(Fault::Busy, "too much waits for the database")
    }

    pub(super) fn ended() -> Self {
        Self::new(Fault::Away, "the thread of the database has ended")
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
