//! `weir-loadtest faults`

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::report;
use crate::scenario::{Check, cancel, kill, prompt, reload, table, upgrade};
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
    /// Clients go away in the middle; the upstream must see it at once.
    Cancel(cancel::Plan),
    /// One of two upstreams is killed in the middle of the load.
    Kill(kill::Plan),
    /// Prompts of megabytes beside small requests, which must not wait for them.
    Prompt(prompt::Plan),
    /// The configuration is read again and again under load, a quarter of the time invalid.
    Reload(reload::Plan),
    /// A new process takes over while streams are open and requests keep coming.
    Upgrade(upgrade::Plan),
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
            Scenario::Cancel(plan) => {
                let findings = cancel::run(&self.settings, plan)?;
                println!("{}", cancel::render(&findings));
                self.close(&findings, &findings.checks)
            }
            Scenario::Kill(plan) => {
                let findings = kill::run(&self.settings, plan)?;
                println!("{}", report::summary(&findings.load));
                self.close(&findings, &findings.checks)
            }
            Scenario::Prompt(plan) => {
                let findings = prompt::run(&self.settings, plan)?;
                println!("alone\n\n{}", report::summary(&findings.alone));
                println!("beside large prompts\n\n{}", report::summary(&findings.beside));
                self.close(&findings, &findings.checks)
            }
            Scenario::Reload(plan) => {
                let findings = reload::run(&self.settings, plan)?;
                for (name, arm) in
                    [("without reloads", &findings.calm), ("with reloads", &findings.reloading)]
                {
                    println!("{name}\n\n{}", report::summary(&arm.plain));
                    println!("{name}, streams\n\n{}", report::summary(&arm.streams));
                }
                self.close(&findings, &findings.checks)
            }
            Scenario::Upgrade(plan) => {
                let findings = upgrade::run(&self.settings, plan)?;
                println!("{}", report::summary(&findings.plain));
                println!("streams\n\n{}", report::summary(&findings.streams));
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
