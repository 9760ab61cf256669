//! The process log: what weir itself has to say, one line each, on standard error.
//!
//! pingora reports through the same `log` crate and considers a client that goes away an error. For
//! an edge proxy that is everyday life and nobody's fault, so libraries are heard from `warn` up and
//! their reports about clients only at `debug`. Lines are bounded in length and in number a second,
//! so that a storm of failures cannot stall workers in writes to a slow terminal or fill a disk.

use std::fmt::Write as _;
use std::io::Write as _;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use log::{LevelFilter, Log, Metadata, Record};

use super::metrics::Metrics;
use super::text::{prefix, timestamp};
use crate::clock::unix_ms;

/// Most lines a second; errors are always written.
const LINES_PER_SECOND_MAX: u64 = 200;

/// Longest message in bytes; the rest is cut off.
const MESSAGE_BYTES_MAX: usize = 4096;

/// The level from which weir's own lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level(LevelFilter);

impl FromStr for Level {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "error" => Ok(Level(LevelFilter::Error)),
            "warn" => Ok(Level(LevelFilter::Warn)),
            "info" => Ok(Level(LevelFilter::Info)),
            "debug" => Ok(Level(LevelFilter::Debug)),
            _ => Err(format!("`{text}` is not a log level: write error, warn, info or debug")),
        }
    }
}

impl Level {
    /// The default.
    pub const INFO: Level = Level(LevelFilter::Info);

    /// Makes it the level of the process, now; a reload may do so at any time.
    pub fn apply(self) {
        log::set_max_level(self.0);
    }
}

/// The process log.
#[derive(Default)]
pub struct ProcessLog {
    metrics: OnceLock<Arc<Metrics>>,
    /// The second being counted in the upper half, its lines in the lower.
    window: AtomicU64,
}

impl ProcessLog {
    /// Becomes the process's logger. Lost lines are counted in the metrics given here.
    ///
    /// A second call changes the level only.
    pub fn install(level: Level, metrics: Arc<Metrics>) {
        static LOG: OnceLock<ProcessLog> = OnceLock::new();
        let log = LOG.get_or_init(ProcessLog::default);
        let _ = log.metrics.set(metrics);
        // The only error is that a logger is there already.
        let _ = log::set_logger(log);
        level.apply();
    }

    /// Counts a line; `None` when this second has had enough.
    fn admit(&self, now_s: u64) -> Option<()> {
        let second = now_s & 0xffff_ffff;
        let counted = self.window.fetch_update(Relaxed, Relaxed, |window| {
            Some(if window >> 32 == second { window + 1 } else { second << 32 | 1 })
        });
        let before = counted.unwrap_or_default();
        let lines = if before >> 32 == second { before & 0xffff_ffff } else { 0 };
        (lines < LINES_PER_SECOND_MAX).then_some(())
    }
}

impl Log for ProcessLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= heard_from(metadata.target(), log::max_level())
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let now_ms = unix_ms();
        let line = line(record, now_ms);
        if blames_client(record.target(), &line) && log::max_level() < LevelFilter::Debug {
            return;
        }
        if self.admit(now_ms / 1000).is_none() && record.level() > log::Level::Error {
            if let Some(metrics) = self.metrics.get() {
                metrics.log_dropped("process", 1);
            }
            return;
        }
        // There is nobody left to tell when standard error fails.
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }

    fn flush(&self) {}
}

/// From which level on `target` is heard when weir's own level is `own`.
fn heard_from(target: &str, own: LevelFilter) -> LevelFilter {
    let ours = target == "weir" || target.starts_with("weir::");
    if ours { own } else { own.min(LevelFilter::Warn) }
}

/// Whether a library's report is about what a client did: it left, or it spoke something else.
fn blames_client(target: &str, line: &str) -> bool {
    const MARKS: [&str; 5] = [
        // pingora names the side at fault at the beginning of its errors.
        "Downstream ",
        "from downstream",
        "to downstream",
        "H2 handshake error",
        "Downstream handshake",
    ];
    target.starts_with("pingora") && MARKS.iter().any(|mark| line.contains(mark))
}

/// `TIME LEVEL target: message`, in one line whatever the message holds.
fn line(record: &Record<'_>, unix_ms: u64) -> String {
    let message = record.args().to_string();
    let message = prefix(&message, MESSAGE_BYTES_MAX);
    let mut line = String::with_capacity(message.len() + 64);
    line.push_str(&String::from_utf8_lossy(&timestamp(unix_ms)));
    // Writing to a string cannot fail.
    let _ = write!(line, " {:<5} {}: ", record.level(), record.target());
    for c in message.chars() {
        match c {
            '\n' => line.push_str("\\n"),
            c if c.is_control() => {
                let _ = write!(line, "\\u{{{:x}}}", c as u32);
            }
            c => line.push(c),
        }
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(target: &str, message: &str) -> String {
        line(
            &Record::builder()
                .level(log::Level::Warn)
                .target(target)
                .args(format_args!("{message}"))
                .build(),
            0,
        )
    }

    #[test]
    fn a_line_is_one_line() {
        assert_eq!(
            text("weir::server", "listening\non \u{1b}[31m127.0.0.1 é"),
            "1970-01-01T00:00:00.000Z WARN  weir::server: listening\\non \\u{1b}[31m127.0.0.1 é\n"
        );
        assert!(text("weir", &"é".repeat(5000)).len() < MESSAGE_BYTES_MAX + 64);
    }

    #[test]
    fn libraries_are_heard_from_warn() {
        assert_eq!(heard_from("weir::pool", LevelFilter::Debug), LevelFilter::Debug);
        assert_eq!(heard_from("weirdo", LevelFilter::Debug), LevelFilter::Warn);
        assert_eq!(heard_from("pingora_core::server", LevelFilter::Info), LevelFilter::Warn);
        assert_eq!(heard_from("pingora_core::server", LevelFilter::Error), LevelFilter::Error);
    }

    #[test]
    fn clients_that_leave_are_not_news() {
        let gone = "Fail to proxy: Downstream ConnectionClosed context: while reading";
        assert!(blames_client("pingora_proxy", gone));
        assert!(!blames_client("weir::exchange", gone));
        assert!(!blames_client("pingora_proxy", "Fail to proxy: Upstream ConnectRefused"));
    }

    #[test]
    fn a_storm_is_bounded_and_the_next_second_is_free() {
        let log = ProcessLog::default();
        let written = (0..1000).filter(|_| log.admit(10).is_some()).count();
        assert_eq!(written as u64, LINES_PER_SECOND_MAX);
        assert!(log.admit(11).is_some());
    }

    #[test]
    fn levels_have_names() {
        assert_eq!("debug".parse(), Ok(Level(LevelFilter::Debug)));
        assert!("verbose".parse::<Level>().is_err_and(|error| error.contains("warn")));
    }
}
