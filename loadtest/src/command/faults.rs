//! `weir-loadtest faults`

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::report;
use crate::scenario::{Check, table};
use crate::stand::Settings;

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    settings: Settings,
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Debug, Subcommand)]
enum Scenario {
    /// Every fault alone and beside a healthy target, streaming and not.
    Table(table::Plan),
}

impl Arguments {
    /// Runs the scenario. False when a check failed.
    pub fn run(&self) -> Result<bool, String> {
        match &self.scenario {
            Scenario::Table(plan) => {
                let findings = table::run(&self.settings, plan)?;
                println!("{}", table::render(&findings));
                self.close(&findings, &findings.checks)
            }
        }
    }

    fn close(&self, findings: &impl Serialize, checks: &[Check]) -> Result<bool, String> {
        if let Some(path) = &self.settings.json {
            report::write_json(path, findings)?;
        }
        Ok(Check::print_all(checks))
    }
}
