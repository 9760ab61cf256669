//! The command line.

mod compare;
mod drive;
mod faults;
mod pairs;
mod soak;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Simulated LLM upstreams, an open-loop load generator, and scenarios for weir.
#[derive(Debug, Parser)]
#[command(name = "weir-loadtest", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Send load at a constant rate and measure what comes back.
    Drive(drive::Arguments),
    /// Measure weir beside nginx, `HAProxy`, Envoy and the LLM gateways that are installed.
    Compare(compare::Arguments),
    /// Measure what translation costs, for every pair of formats, beside forwarding.
    Pairs(pairs::Arguments),
    /// Run a scenario of faults against weir.
    Faults(faults::Arguments),
    /// Hours of mixed load with faults: memory flat, nothing lost.
    Soak(soak::Arguments),
    /// Serve as a simulated upstream until a signal.
    Mock(weir_loadtest::mock::Settings),
}

/// Runs the command that the arguments name. Ends with 1 when a check failed, 2 when it could not
/// be made.
pub fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Drive(arguments) => arguments.run(),
        Command::Compare(arguments) => arguments.run(),
        Command::Pairs(arguments) => arguments.run(),
        Command::Faults(arguments) => arguments.run(),
        Command::Soak(arguments) => arguments.run(),
        Command::Mock(settings) => {
            weir_loadtest::mock::run(settings).map(|()| true).map_err(|error| error.to_string())
        }
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("weir-loadtest: {error}");
            ExitCode::from(2)
        }
    }
}
