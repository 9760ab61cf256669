//! What figures were measured on, and when.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

/// A machine and a moment.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// The processor's name.
    pub cpu: String,
    /// Cores that this program may run on.
    pub cores: usize,
    /// Memory, in bytes.
    pub memory_bytes: u64,
    /// System and kernel.
    pub kernel: String,
    /// Date and time of the run, UTC.
    pub date: String,
    /// Version of this program.
    pub version: &'static str,
    /// The command that was run.
    pub command: String,
}

impl Machine {
    /// This machine, now.
    pub fn here() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let memory = field(&read("/proc/meminfo"), "MemTotal");
        let kib = memory.and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
        let seconds =
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Self {
            cpu: field(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| "unknown".into()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: kib.unwrap_or_default() * 1024,
            kernel: format!(
                "{} {} {}",
                read("/proc/sys/kernel/ostype").trim(),
                read("/proc/sys/kernel/osrelease").trim(),
                std::env::consts::ARCH
            ),
            date: date(seconds),
            version: env!("CARGO_PKG_VERSION"),
            command: command(std::env::args()),
        }
    }

    /// The facts with their names.
    pub fn facts(&self) -> Vec<(&'static str, String)> {
        vec![
            ("date", self.date.clone()),
            ("processor", self.cpu.clone()),
            ("cores", self.cores.to_string()),
            ("memory", format!("{:.1} GB", self.memory_bytes as f64 / 1e9)),
            ("kernel", self.kernel.clone()),
            ("weir-loadtest", self.version.to_owned()),
        ]
    }
}

/// What is to be said when the machine is busy with something else before a measurement begins.
pub fn busy() -> Option<String> {
    let text = std::fs::read_to_string("/proc/loadavg").ok()?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    busy_at(text.split(' ').next()?.parse().ok()?, cores)
}

fn busy_at(load: f64, cores: usize) -> Option<String> {
    (load > cores as f64 / 4.0).then(|| {
        format!(
            "The machine was not idle when this began (load average {load:.1} on {cores} cores): \
            latencies and the results of searches are worse than they would be."
        )
    })
}

/// The command line without the directory of the program.
fn command(arguments: impl Iterator<Item = String>) -> String {
    let mut words: Vec<String> = arguments.collect();
    if let Some(program) = words.first_mut() {
        *program = program.rsplit('/').next().unwrap_or_default().to_owned();
    }
    words.join(" ")
}

/// Seconds since 1970 as date and time, UTC (Gregorian calendar, counted from March so that the
/// day that may be missing is the last of the year).
fn date(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year}-{month:02}-{day:02} {:02}:{:02} UTC", rest / 3600, rest / 60 % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_right_around_leap_days() {
        assert_eq!(date(0), "1970-01-01 00:00 UTC");
        assert_eq!(date(951_782_400), "2000-02-29 00:00 UTC");
        assert_eq!(date(1_709_251_199), "2024-02-29 23:59 UTC");
        assert_eq!(date(1_735_689_600), "2025-01-01 00:00 UTC");
    }

    #[test]
    fn a_busy_machine_is_told_from_an_idle_one() {
        assert!(busy_at(0.4, 2).is_none());
        assert!(busy_at(7.1, 2).is_some_and(|note| note.contains("7.1 on 2 cores")));
    }

    #[test]
    fn the_command_does_not_say_where_the_program_lies() {
        let words = ["/home/me/weir-loadtest", "compare", "--quick"];
        assert_eq!(command(words.map(str::to_owned).into_iter()), "weir-loadtest compare --quick");
    }
}
