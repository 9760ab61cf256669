//! `weir check` and `weir schema`.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use super::{CONFIG_DEFAULT, CheckArgs, fail};
use crate::config::{Diagnostic, render};
use crate::plan::{self, Environment, Plan, Source};

/// Checks a configuration.
pub(super) fn check(args: CheckArgs) -> ExitCode {
    let path = args.config.unwrap_or_else(|| CONFIG_DEFAULT.into());
    match compiled(&path) {
        Ok(plan) => {
            for skipped in &plan.skipped {
                println!("route {} is left out: {}", skipped.route, skipped.reason);
            }
            println!(
                "{}: valid ({}, {}, {})",
                plan.name,
                number(plan.providers.len(), "provider"),
                number(plan.pools.len(), "pool"),
                number(plan.file.routes.len(), "route"),
            );
            ExitCode::SUCCESS
        }
        Err(diagnostics) => {
            eprint!("{}", render(&diagnostics));
            eprintln!("{}", number(diagnostics.len(), "error"));
            ExitCode::FAILURE
        }
    }
}

fn compiled(path: &Path) -> Result<Plan, Vec<Diagnostic>> {
    plan::compile(&Source::load(path)?, &Environment::default(), None)
}

fn number(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Prints the JSON Schema of the configuration.
pub(super) fn schema() -> ExitCode {
    let text = match serde_json::to_string_pretty(plan::schema()) {
        Ok(text) => text,
        Err(error) => return fail(error),
    };
    // A reader that closed the pipe early is no failure of ours.
    match writeln!(io::stdout().lock(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => fail(error),
        _ => ExitCode::SUCCESS,
    }
}
