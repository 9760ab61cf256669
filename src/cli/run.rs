//! `weir run`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::{CONFIG_DEFAULT, RunArgs, fail};

/// Runs the proxy until a signal ends it.
pub(super) fn run(args: RunArgs) -> ExitCode {
    let present = || Path::new(CONFIG_DEFAULT).exists().then(|| PathBuf::from(CONFIG_DEFAULT));
    serve(args.config.or_else(present).as_deref(), args.upgrade)
}

/// `config: None` stands for the built-in default.
fn serve(config: Option<&Path>, upgrade: bool) -> ExitCode {
    fail(format_args!("no server to run {config:?} with (upgrade: {upgrade})"))
}
