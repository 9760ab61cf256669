//! System calls of a process while something runs, counted by `perf`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::process::{Child, Signal, Workspace, children};

/// The event that stands for every system call.
const EVENT: &str = "raw_syscalls:sys_enter";
/// How long `perf` may take to get ready; it does not say when it is.
const READY: Duration = Duration::from_millis(500);
/// How long it may take to write its count.
const END: Duration = Duration::from_secs(5);

/// Counts the system calls of a process and its children while `run` does. The count fails where
/// `perf` is not there or not allowed to; that is apart from what `run` comes to.
pub fn count<T>(
    pid: u32,
    workspace: &Workspace,
    run: impl FnOnce() -> Result<T, String>,
) -> Result<(Result<u64, String>, T), String> {
    match Counting::start(pid, workspace) {
        Ok(counting) => {
            let result = run();
            let calls = counting.finish();
            Ok((calls, result?))
        }
        Err(error) => Ok((Err(error), run()?)),
    }
}

struct Counting {
    perf: Child,
    file: PathBuf,
}

impl Counting {
    fn start(pid: u32, workspace: &Workspace) -> Result<Self, String> {
        let pids: Vec<String> =
            std::iter::once(pid).chain(children(pid)).map(|pid| pid.to_string()).collect();
        let (file, log) = (workspace.file("perf.csv"), workspace.file("perf.log"));
        // What an earlier count left must not be taken for this one's.
        let _ = std::fs::remove_file(&file);
        let (list, out) = (pids.join(","), file.display().to_string());
        let arguments = ["stat", "-x", ",", "-o", &out, "-e", EVENT, "-p", &list];
        let mut perf = Child::start("perf", Path::new("perf"), &arguments, &[], &log, &[])
            .map_err(|error| format!("perf: {error}"))?;
        std::thread::sleep(READY);
        if perf.runs() {
            return Ok(Self { perf, file });
        }
        let said = std::fs::read_to_string(&log).unwrap_or_default();
        let line = said.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        Err(format!("perf cannot count system calls here: {line}"))
    }

    fn finish(mut self) -> Result<u64, String> {
        self.perf.signal(Signal::INT).map_err(|error| format!("perf: {error}"))?;
        self.perf.wait(END);
        let text = std::fs::read_to_string(&self.file).unwrap_or_default();
        parse(&text).ok_or_else(|| "perf counted no system calls".into())
    }
}

/// The count in what `perf stat -x ,` wrote.
fn parse(text: &str) -> Option<u64> {
    text.lines().find(|line| line.contains(EVENT))?.split(',').next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_and_what_is_no_count_is_not() {
        let text = "# started on a day\n\n12345,,raw_syscalls:sys_enter,2000,100.00,,\n";
        assert_eq!(parse(text), Some(12_345));
        assert_eq!(parse("<not supported>,,raw_syscalls:sys_enter,0,0,,\n"), None);
        assert_eq!(parse(""), None);
    }
}
