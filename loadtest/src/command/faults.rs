//! `weir-loadtest faults`

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::drive::Summary;
use crate::report;
use crate::scenario::{Check, cancel, kill, ledger, prompt, reload, table, upgrade};
use crate::stand::Settings;

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    settings: Settings,
    /// Write the report as one HTML page.
    #[arg(long, value_name = "FILE", global = true)]
    html: Option<PathBuf>,
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
    /// weir is killed in the middle of the load; its ledger must equal the upstreams' own books.
    Ledger(ledger::Plan),
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
                self.close("faults", &table::render(&findings), &findings, &findings.checks)
            }
            Scenario::Cancel(plan) => {
                let findings = cancel::run(&self.settings, plan)?;
                let shown = cancel::render(&findings);
                self.close("clients that go away", &shown, &findings, &findings.checks)
            }
            Scenario::Kill(plan) => {
                let findings = kill::run(&self.settings, plan)?;
                let shown = report::summary(&findings.load);
                self.close("an upstream is killed", &shown, &findings, &findings.checks)
            }
            Scenario::Ledger(plan) => {
                let findings = ledger::run(&self.settings, plan)?;
                let shown = ledger::render(&findings);
                self.close("the ledger", &shown, &findings, &findings.checks)
            }
            Scenario::Prompt(plan) => {
                let findings = prompt::run(&self.settings, plan)?;
                let shown =
                    runs(&[("alone", &findings.alone), ("beside large prompts", &findings.beside)]);
                self.close("large prompts", &shown, &findings, &findings.checks)
            }
            Scenario::Reload(plan) => {
                let findings = reload::run(&self.settings, plan)?;
                let shown = runs(&[
                    ("without reloads", &findings.calm.plain),
                    ("without reloads, streams", &findings.calm.streams),
                    ("with reloads", &findings.reloading.plain),
                    ("with reloads, streams", &findings.reloading.streams),
                ]);
                self.close("reloads", &shown, &findings, &findings.checks)
            }
            Scenario::Upgrade(plan) => {
                let findings = upgrade::run(&self.settings, plan)?;
                let shown = runs(&[("plain", &findings.plain), ("streams", &findings.streams)]);
                self.close("an upgrade", &shown, &findings, &findings.checks)
            }
        }
    }

    /// Shows and writes what was found. Whether all checks held.
    fn close(
        &self,
        about: &str,
        shown: &str,
        findings: &impl Serialize,
        checks: &[Check],
    ) -> Result<bool, String> {
        println!("{shown}");
        if let Some(path) = &self.settings.json {
            report::write_json(path, findings)?;
        }
        if let Some(path) = &self.html {
            report::checks_page(&format!("weir: {about}"), checks, shown).write(path)?;
        }
        Ok(Check::print_all(checks))
    }
}

/// Several runs of load, each under its heading.
fn runs(runs: &[(&str, &Summary)]) -> String {
    let shown =
        |(name, summary): &(&str, &Summary)| format!("{name}\n\n{}", report::summary(summary));
    runs.iter().map(shown).collect::<Vec<_>>().join("\n")
}
