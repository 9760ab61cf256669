//! The `weir-loadtest` command.

mod client;
mod command;
mod compare;
mod drive;
mod pairs;
mod process;
mod report;
mod scenario;
mod stand;
mod timer;
mod units;

use std::process::ExitCode;

fn main() -> ExitCode {
    command::main()
}
