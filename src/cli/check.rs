//! `weir check` and `weir schema`.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use super::{CONFIG_DEFAULT, CheckArgs, fail};
use crate::config::{Diagnostic, render};
use crate::plan::{self, Source};

/// Checks a configuration.
pub(super) fn check(args: CheckArgs) -> ExitCode {
    let path = args.config.unwrap_or_else(|| CONFIG_DEFAULT.into());
    match checked(&path) {
        Ok(source) => {
            let file = &source.file;
            println!(
                "{}: valid ({}, {}, {})",
                source.name,
                number(file.providers.len(), "provider"),
                number(file.pools.len(), "pool"),
                number(file.routes.len(), "route"),
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

fn checked(path: &Path) -> Result<Source, Vec<Diagnostic>> {
    let source = Source::load(path)?;
    let found = plan::check(&source);
    if found.is_empty() { Ok(source) } else { Err(found) }
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
