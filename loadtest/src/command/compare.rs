//! `weir-loadtest compare`

use std::path::PathBuf;

use clap::Args;

use crate::compare::{self, Name};
use crate::report;
use crate::stand::Settings;

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    plan: compare::Plan,
    /// Write the report as one HTML page; by default beside the JSON.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

impl Arguments {
    /// Measures and reports. False when weir itself could not be measured.
    pub fn run(&self) -> Result<bool, String> {
        let findings = compare::run(&self.settings, &self.plan)?;
        print!("{}", compare::render(&findings));
        let json = self.settings.json.as_deref();
        if let Some(path) = json {
            report::write_json(path, &findings)?;
        }
        let beside = || json.map(|path| path.with_extension("html"));
        if let Some(path) = self.html.clone().or_else(beside) {
            compare::page(&findings).write(&path)?;
            eprintln!("report: {}", path.display());
        }
        Ok(findings.left_out.iter().all(|left_out| left_out.name != Name::Weir.as_str()))
    }
}
