//! The test stand: simulated upstreams and weir as child processes on loopback ports, and a view
//! into both.

mod metrics;
mod upstream;
mod weir;

pub use metrics::Metrics;
pub use upstream::Upstream;
pub use weir::{Config, Weir};

use std::path::PathBuf;

use crate::process::{Workspace, sibling};

/// Where a scenario finds its programs and puts its files.
#[derive(Clone, Debug, clap::Args)]
pub struct Settings {
    /// The weir executable; by default the one beside this program.
    #[arg(long, value_name = "FILE", global = true)]
    weir: Option<PathBuf>,
    /// Keep configuration, logs and results in this directory. Without it they are removed at the
    /// end.
    #[arg(long, value_name = "DIR", global = true)]
    keep: Option<PathBuf>,
    /// Worker threads of weir.
    #[arg(long, default_value_t = 1, global = true)]
    pub weir_threads: u16,
    /// What drives the sockets of weir: `runtime.io` of its configuration.
    #[arg(long, value_name = "IO", default_value = "auto", global = true)]
    pub weir_io: String,
    /// Write the result as JSON.
    #[arg(long, value_name = "FILE", global = true)]
    pub json: Option<PathBuf>,
}

impl Settings {
    /// The weir executable, from the root: a name alone would be looked for among the commands.
    pub fn weir_program(&self) -> PathBuf {
        let Some(weir) = &self.weir else { return sibling("weir") };
        std::path::absolute(weir).unwrap_or_else(|_| weir.clone())
    }

    /// A directory for the files of this run.
    pub fn workspace(&self) -> Result<Workspace, String> {
        Workspace::new(self.keep.clone()).map_err(|error| format!("no place for files: {error}"))
    }
}
