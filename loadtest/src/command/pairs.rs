//! `weir-loadtest pairs`

use clap::Args;

use crate::pairs;
use crate::report;
use crate::stand::Settings;

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    plan: pairs::Plan,
}

impl Arguments {
    /// Measures and reports. False when a pair is above the bound.
    pub fn run(&self) -> Result<bool, String> {
        let findings = pairs::run(&self.settings, &self.plan)?;
        print!("{}", pairs::render(&findings));
        if let Some(path) = &self.settings.json {
            report::write_json(path, &findings)?;
        }
        Ok(self.plan.is_within_bound(&findings))
    }
}
