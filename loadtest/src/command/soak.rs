//! `weir-loadtest soak`

use clap::Args;

use crate::report;
use crate::scenario::{Check, soak};
use crate::stand::Settings;

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    plan: soak::Plan,
}

impl Arguments {
    /// Runs it. False when a check failed.
    pub fn run(&self) -> Result<bool, String> {
        let findings = soak::run(&self.settings, &self.plan)?;
        println!("{}\n{}", report::summary(&findings.load), soak::render(&findings));
        if let Some(path) = &self.settings.json {
            report::write_json(path, &findings)?;
        }
        Ok(Check::print_all(&findings.checks))
    }
}
