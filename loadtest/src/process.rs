//! Processes that a scenario starts, watches and ends. Nothing else is ever signalled.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};
use serde::Serialize;

/// How long a process may take to end after it was asked to.
const END_WAIT: Duration = Duration::from_secs(5);

/// A child process. Dropping it ends it.
#[derive(Debug)]
pub struct Child {
    child: std::process::Child,
    name: String,
}

/// CPU time of a process and its children.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct CpuTime {
    /// In user space.
    pub user_s: f64,
    /// In the kernel.
    pub system_s: f64,
}

impl CpuTime {
    /// What was spent since `earlier`.
    #[must_use]
    pub fn since(self, earlier: CpuTime) -> Self {
        Self { user_s: self.user_s - earlier.user_s, system_s: self.system_s - earlier.system_s }
    }
}

impl Child {
    /// Starts a program. What it prints goes to `log`. With `cores`, all its threads stay there.
    pub fn start<A: AsRef<OsStr>>(
        name: &str,
        program: &Path,
        arguments: &[A],
        environment: &[(String, String)],
        log: &Path,
        cores: &[usize],
    ) -> io::Result<Self> {
        let mut command = if cores.is_empty() {
            Command::new(program)
        } else {
            let list: Vec<String> = cores.iter().map(usize::to_string).collect();
            let mut command = Command::new("taskset");
            command.args(["-c", &list.join(",")]).arg(program);
            command
        };
        let output = File::options().create(true).append(true).open(log)?;
        command
            .args(arguments)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        Ok(Self { child: command.spawn()?, name: name.to_owned() })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::other("not a process id"))?;
        kill_process(pid, signal).map_err(io::Error::from)
    }

    /// Waits for its end; false when it still runs after `limit`.
    pub fn wait(&mut self, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        while self.runs() {
            if Instant::now() >= until {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        true
    }

    /// Waits until something answers on `address`.
    pub fn ready(&mut self, address: SocketAddr, limit: Duration) -> Result<(), String> {
        let until = Instant::now() + limit;
        loop {
            if TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_ok() {
                return Ok(());
            }
            if !self.runs() {
                return Err(format!("{} ended before it listened on {address}", self.name));
            }
            if Instant::now() >= until {
                return Err(format!("{} does not listen on {address}", self.name));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.runs() {
            // It may have ended between the two; then there is nothing left to signal.
            let _ = self.signal(Signal::TERM);
            if !self.wait(END_WAIT) {
                let _ = self.child.kill();
            }
        }
        let _ = self.child.wait();
    }
}

/// CPU time of a process, its threads, and its child processes with theirs.
pub fn cpu_time(pid: u32) -> Option<CpuTime> {
    let mut total = own_cpu_time(pid)?;
    for child in children(pid) {
        if let Some(CpuTime { user_s, system_s }) = own_cpu_time(child) {
            total.user_s += user_s;
            total.system_s += system_s;
        }
    }
    Some(total)
}

/// All of it to the nanosecond, as the process's own clock has it; how it is shared between user space
/// and the kernel is only known in ticks of the system, of which a second has about a hundred.
fn own_cpu_time(pid: u32) -> Option<CpuTime> {
    let (user, system) = own_cpu_ticks(pid)?;
    let all = own_clock(pid)?.as_secs_f64();
    let user_s = all * user as f64 / (user + system).max(1) as f64;
    Some(CpuTime { user_s, system_s: all - user_s })
}

/// The process's own clock of CPU time. Without one where `/proc` is missing as well.
fn own_clock(pid: u32) -> Option<Duration> {
    #[cfg(target_os = "linux")]
    {
        let pid = nix::unistd::Pid::from_raw(pid.cast_signed());
        let clock = nix::time::clock_getcpuclockid(pid).ok()?;
        nix::time::clock_gettime(clock).ok().map(Duration::from)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = pid;
        None
    }
}

/// `utime` and `stime` of proc(5), the 14th and 15th fields of `stat`.
fn own_cpu_ticks(pid: u32) -> Option<(u64, u64)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command name may hold blanks and parentheses; fields are counted after its end.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// Direct children, as the kernel lists them per thread.
pub fn children(pid: u32) -> Vec<u32> {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    tasks
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("children")).ok())
        .flat_map(|list| {
            list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()
        })
        .collect()
}

/// Resident memory in bytes, its children's included.
pub fn resident_bytes(pid: u32) -> Option<u64> {
    let own = |pid: u32| -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.split_ascii_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
    };
    Some(own(pid)? + children(pid).into_iter().filter_map(own).sum::<u64>())
}

/// Open descriptors.
pub fn open_fds(pid: u32) -> Option<usize> {
    Some(std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count())
}

/// A loopback address that nothing listens on now.
pub fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind(("127.0.0.1", 0))?.local_addr()
}

/// A program that stands beside the running executable.
pub fn sibling(name: &str) -> PathBuf {
    std::env::current_exe()
        .ok()
        .and_then(|own| Some(own.parent()?.join(name)))
        .unwrap_or_else(|| PathBuf::from(name))
}

/// A directory for a scenario's files, removed with everything in it at the end unless kept.
#[derive(Debug)]
pub struct Workspace {
    path: PathBuf,
    keep: bool,
}

impl Workspace {
    /// Makes one below the system's temporary directory, or uses `path` and keeps it.
    pub fn new(path: Option<PathBuf>) -> io::Result<Self> {
        let keep = path.is_some();
        let path = path.unwrap_or_else(|| {
            std::env::temp_dir().join(format!("weir-loadtest-{}", std::process::id()))
        });
        std::fs::create_dir_all(&path)?;
        Ok(Self { path, keep })
    }

    /// A directory in it, which lives as long as it does.
    pub fn part(&self, name: &str) -> io::Result<Self> {
        Self::new(Some(self.file(name)))
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        if !self.keep {
            // A file that cannot be removed is the operator's to look at.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_watched_and_ended() {
        let workspace = Workspace::new(None).expect("a temporary directory");
        let log = workspace.file("sleep.log");
        let mut child = Child::start("sleep", Path::new("sleep"), &["30"], &[], &log, &[])
            .expect("sleep starts");
        assert!(child.runs());
        assert!(cpu_time(child.pid()).is_some());
        assert!(open_fds(child.pid()).is_some());
        child.signal(Signal::TERM).expect("it can be signalled");
        assert!(child.wait(Duration::from_secs(5)));
        assert!(!child.runs());
    }

    #[test]
    fn own_memory_can_be_read() {
        assert!(resident_bytes(std::process::id()).is_some_and(|bytes| bytes > 100_000));
    }
}
