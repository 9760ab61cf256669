//! `weir-loadtest soak`

use std::path::PathBuf;

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
    /// Write the report as one HTML page.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

impl Arguments {
    /// Runs it. False when a check failed.
    pub fn run(&self) -> Result<bool, String> {
        let findings = soak::run(&self.settings, &self.plan)?;
        let shown = format!("{}\n{}", report::summary(&findings.load), soak::render(&findings));
        println!("{shown}");
        if let Some(path) = &self.settings.json {
            report::write_json(path, &findings)?;
        }
        if let Some(path) = &self.html {
            report::soak_page(&findings, &shown).write(path)?;
        }
        Ok(Check::print_all(&findings.checks))
    }
}
