//! `weir-loadtest compare`

use clap::Args;

use crate::compare;
use crate::report;
use crate::stand::Settings;

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    plan: compare::Plan,
}

impl Arguments {
    /// Measures and prints. There is nothing to fail but the measuring itself.
    pub fn run(&self) -> Result<bool, String> {
        let findings = compare::run(&self.settings, &self.plan)?;
        print!("{}", compare::render(&findings));
        if let Some(path) = &self.settings.json {
            report::write_json(path, &findings)?;
        }
        Ok(true)
    }
}
