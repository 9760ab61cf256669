//! Where the database is: settings with their secret resolved.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::{Engine, Settings, Synchronous};
use crate::config::Secret;

/// Where the database is, and how it is to be treated.
#[derive(Clone, Debug)]
pub struct Place {
    pub(super) at: At,
    pub(super) synchronous: Synchronous,
    pub(super) busy: Duration,
    slow: Duration,
}

/// A file or a server.
#[derive(Clone, Debug)]
pub(super) enum At {
    File(PathBuf),
    Server { url: Secret, ca: Option<PathBuf> },
}

impl Place {
    /// From the settings.
    ///
    /// # Errors
    ///
    /// What is wrong, with the setting that it concerns (below `storage`).
    pub fn of(settings: &Settings) -> Result<Self, (&'static str, String)> {
        let at = match (&settings.path, &settings.url) {
            (Some(path), None) => At::File(path.clone()),
            (None, Some(url)) => {
                let url = url.resolve().map_err(|error| (".url", error.to_string()))?;
                let url = url.ok_or((".url", "the database cannot be optional".to_owned()))?;
                At::Server { url, ca: settings.ca.clone() }
            }
            _ => {
                let message = "write exactly one of `path` (a file) and `url` (PostgreSQL)";
                return Err(("", message.to_owned()));
            }
        };
        let place = Self {
            at,
            synchronous: settings.synchronous,
            busy: settings.busy.0,
            slow: settings.slow.0,
        };
        if let At::Server { url, .. } = &place.at {
            super::postgres::check_url(url.expose()).map_err(|message| (".url", message))?;
        }
        Ok(place)
    }

    /// A file, treated as by default.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        let defaults = Settings::default();
        Self {
            at: At::File(path.into()),
            synchronous: defaults.synchronous,
            busy: defaults.busy.0,
            slow: defaults.slow.0,
        }
    }

    /// The file, where it is one.
    pub fn path(&self) -> Option<&PathBuf> {
        match &self.at {
            At::File(path) => Some(path),
            At::Server { .. } => None,
        }
    }

    /// What speaks there.
    pub fn engine(&self) -> Engine {
        match self.at {
            At::File(_) => Engine::Sqlite,
            At::Server { .. } => Engine::Postgres,
        }
    }

    pub(super) fn slow(&self) -> Duration {
        self.slow
    }

    /// What no waiting can mend.
    pub(super) fn check(&self) -> Result<(), String> {
        let At::File(path) = &self.at else { return Ok(()) };
        if path.is_dir() {
            return Err(format!("storage: {} is a folder: name the file", path.display()));
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        match folder {
            Some(folder) if !folder.is_dir() => {
                Err(format!("storage: there is no folder {}", folder.display()))
            }
            _ => Ok(()),
        }
    }
}

/// Without the password.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.at {
            At::File(path) => write!(f, "{}", path.display()),
            At::Server { url, .. } => f.write_str(&super::postgres::without_password(url.expose())),
        }
    }
}
