//! Why something was not done.

use std::fmt;

use crate::database;

/// A failure.
#[derive(Debug)]
pub enum Error {
    /// What was asked for cannot be done, and why.
    Refused(Reason, String),
    /// The database cannot do it now.
    Database(database::Error),
}

/// Why it cannot be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// There is no such thing.
    NotFound,
    /// It does not fit what there is.
    Conflict,
    /// It makes no sense.
    Invalid,
}

impl Error {
    pub(super) fn not_found(what: impl Into<String>) -> Self {
        Self::Refused(Reason::NotFound, what.into())
    }

    pub(super) fn conflict(what: impl Into<String>) -> Self {
        Self::Refused(Reason::Conflict, what.into())
    }

    pub(super) fn invalid(what: impl Into<String>) -> Self {
        Self::Refused(Reason::Invalid, what.into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(_, message) => f.write_str(message),
            Self::Database(error) => write!(f, "the database: {error}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<database::Error> for Error {
    fn from(error: database::Error) -> Self {
        Self::Database(error)
    }
}
