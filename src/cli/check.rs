//! `weir check` and `weir schema`.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use super::{CONFIG_DEFAULT, CheckArgs, fail};
use crate::config::{Diagnostic, Position, render};
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
            eprint!("{}", shown(&path, &diagnostics, io::stderr().is_terminal()));
            eprintln!("{}", number(diagnostics.len(), "error"));
            ExitCode::FAILURE
        }
    }
}

/// One line each; for a person at a terminal with the line of the file below it.
fn shown(path: &Path, diagnostics: &[Diagnostic], person: bool) -> String {
    let text =
        if person { std::fs::read_to_string(path).unwrap_or_default() } else { String::new() };
    if text.is_empty() {
        return render(diagnostics);
    }
    diagnostics
        .iter()
        .flat_map(|diagnostic| [format!("{diagnostic}\n"), excerpt(&text, diagnostic.at)])
        .collect()
}

/// The line at `at` with a mark under the column; nothing where it is too long to help.
fn excerpt(text: &str, at: Position) -> String {
    const CHARS_MAX: usize = 160;
    let line = text.lines().nth((at.line as usize).wrapping_sub(1)).unwrap_or_default();
    if line.trim().is_empty() || line.chars().count() > CHARS_MAX {
        return String::new();
    }
    let before = " ".repeat((at.column as usize).saturating_sub(1));
    let line = line.replace('\t', " ");
    format!("{:>6} | {line}\n       | {before}^\n", at.line)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_marks_the_column() {
        let marked = excerpt("a: 1\n  bee: 2\n", Position::new(2, 3));
        assert_eq!(marked, "     2 |   bee: 2\n       |   ^\n");
        assert_eq!(excerpt("a: 1\n", Position::FILE), "");
        assert_eq!(excerpt("a: 1\n", Position::new(9, 1)), "");
    }
}
