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

/// The load must cost less than what it measures.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    command::main()
}
