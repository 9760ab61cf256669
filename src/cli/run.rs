//! `weir run`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::{CONFIG_DEFAULT, RunArgs};
use crate::server::{self, RunOptions};

/// Runs the proxy until a signal ends it.
pub(super) fn run(args: RunArgs) -> ExitCode {
    let present = || Path::new(CONFIG_DEFAULT).exists().then(|| PathBuf::from(CONFIG_DEFAULT));
    let config = args.config.or_else(present);
    server::run(&RunOptions { config, upgrade: args.upgrade })
}
