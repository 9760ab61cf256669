//! The command line.

mod admin;
mod check;
mod count;
mod keys;
mod ledger;
mod limits;
mod run;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

/// Read where no `--config` is given.
const CONFIG_DEFAULT: &str = "conf/weir.yaml";

/// An edge proxy for LLM traffic: streams tokens, counts them exactly, and survives its upstreams.
///
/// Without a command it runs with conf/weir.yaml, or with the same configuration built in where
/// there is no such file.
#[derive(Debug, Parser)]
#[command(name = "weir", version, max_term_width = 100, after_help = SIGNALS)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

const SIGNALS: &str = "\
Signals while it runs:
  HUP    read the configuration again; a bad file changes nothing
  TERM   drain: open streams may finish within `runtime.drain`, then exit
  QUIT   hand the listening sockets to a process started with `run --upgrade`, then drain
  INT    exit at once

Exit status: 0 done, 1 the configuration is wrong or the command failed, 2 wrong usage.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the proxy
    Run(RunArgs),
    /// Check a configuration: every error with file, line, column and what would be right
    Check(CheckArgs),
    /// Print the JSON Schema of the configuration
    Schema,
    /// Count the tokens of a text or of a chat request
    ///
    /// The number goes to standard output; which vocabulary it was counted with, and whether that is
    /// the model's own, to standard error.
    Count(CountArgs),
    /// Work with callers' API keys
    ///
    /// All but `hash` asks the admin API of a running weir, with the token in `WEIR_ADMIN_TOKEN`.
    Keys {
        #[command(flatten)]
        to: admin::Where,
        #[command(subcommand)]
        command: admin::KeysCommand,
    },
    /// Ask for more than a key allows, and decide on it
    Access {
        #[command(flatten)]
        to: admin::Where,
        #[command(subcommand)]
        command: admin::AccessCommand,
    },
    /// Read and check the log of what administrators did
    Audit {
        #[command(flatten)]
        to: admin::Where,
        #[command(subcommand)]
        command: admin::AuditCommand,
    },
    /// Show what was used of limits and budgets
    ///
    /// It asks the admin API of a running weir, with the token in `WEIR_ADMIN_TOKEN`.
    Limits(limits::LimitsArgs),
    /// Show pools, targets, breakers and what is in flight, of a running weir
    State(admin::Where),
    /// Show which configuration is live in a running weir
    Status(admin::Where),
    /// Have a running weir read its configuration again; where it is wrong, show every error
    Reload(admin::Where),
    /// Print the `OpenAPI` document of a running weir's admin API
    Openapi(admin::Where),
    /// Ask, export and check the ledger
    #[command(subcommand)]
    Ledger(ledger::LedgerCommand),
}

#[derive(Debug, Default, Args)]
struct RunArgs {
    /// The configuration file [default: conf/weir.yaml, or the one built in]
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Take the listening sockets over from the running process, which then drains (send it QUIT)
    #[arg(short, long)]
    upgrade: bool,
}

#[derive(Debug, Args)]
struct CheckArgs {
    /// The configuration file [default: conf/weir.yaml]
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct CountArgs {
    /// The model whose tokens are meant (gpt-4o, llama-3.1-8b, …)
    #[arg(short, long, value_name = "NAME")]
    model: String,
    /// A text, or a chat request as JSON [default: standard input]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    match Cli::parse().command {
        None => run::run(RunArgs::default()),
        Some(Command::Run(args)) => run::run(args),
        Some(Command::Check(args)) => check::check(args),
        Some(Command::Schema) => check::schema(),
        Some(Command::Count(args)) => count::count(&args),
        Some(Command::Ledger(command)) => ledger::run(&command),
        Some(Command::Keys { to, command }) => admin::keys(&to, command),
        Some(Command::Access { to, command }) => admin::access(&to, command),
        Some(Command::Limits(args)) => limits::limits(args),
        Some(Command::Audit { to, command }) => admin::audit(&to, command),
        Some(Command::State(to)) => admin::get(&to, &["state"]),
        Some(Command::Status(to)) => admin::get(&to, &["config", "status"]),
        Some(Command::Reload(to)) => admin::reload(&to),
        Some(Command::Openapi(to)) => admin::get(&to, &["openapi.json"]),
    }
}

/// Reports why a command failed.
fn fail(message: impl std::fmt::Display) -> ExitCode {
    eprintln!("weir: {message}");
    ExitCode::FAILURE
}
