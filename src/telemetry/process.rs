//! What the operating system says of this process. Read when somebody scrapes, never kept.

use std::fs;
use std::sync::OnceLock;

use crate::clock::unix_s;

/// The process at one moment. What the system does not tell is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Process {
    /// User and system time of all threads, in seconds.
    pub cpu_s: Option<f64>,
    /// Resident memory.
    pub resident_bytes: Option<u64>,
    /// Open file descriptors.
    pub open_fds: Option<u64>,
    /// Most file descriptors it may open.
    pub max_fds: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
    /// When it was first asked, in Unix seconds: for a server the moment it starts.
    pub started_unix_s: Option<u64>,
}

impl Process {
    /// Asks the system. Memory, descriptors and threads are told on Linux only.
    pub fn read() -> Self {
        static STARTED: OnceLock<u64> = OnceLock::new();
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        Self {
            cpu_s: cpu_s(),
            resident_bytes: field(&status, "VmRSS:").map(|kib| kib * 1024),
            open_fds: open_fds(),
            max_fds: max_fds(),
            threads: field(&status, "Threads:"),
            started_unix_s: Some(*STARTED.get_or_init(unix_s)),
        }
    }
}

/// The number after `name` in `/proc/self/status`.
fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

fn open_fds() -> Option<u64> {
    // The directory's own descriptor is not counted.
    fs::read_dir("/proc/self/fd").ok().map(|entries| (entries.count() as u64).saturating_sub(1))
}

fn cpu_s() -> Option<f64> {
    use nix::sys::resource::{UsageWho, getrusage};
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    let seconds =
        |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    Some(seconds(usage.user_time()) + seconds(usage.system_time()))
}

fn max_fds() -> Option<u64> {
    use nix::sys::resource::{Resource, getrlimit};
    getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(soft, _hard)| soft)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn linux_tells_everything() {
        let process = Process::read();
        assert!(process.cpu_s.is_some_and(|s| s >= 0.0));
        assert!(process.resident_bytes.is_some_and(|bytes| bytes > 100_000));
        assert!(process.open_fds.is_some_and(|fds| fds >= 3));
        assert!(process.max_fds >= process.open_fds);
        assert!(process.threads.is_some_and(|threads| threads >= 1));
    }

    #[test]
    fn a_status_without_the_field_is_no_error() {
        assert_eq!(field("VmRSS:\t  12 kB\n", "VmRSS:"), Some(12));
        assert_eq!(field("VmRSS:\n", "VmRSS:"), None);
        assert_eq!(field("", "VmRSS:"), None);
    }
}
