//! Durations and sizes as the command line takes them.

use std::time::Duration;

/// Parses `500ms`, `2s`, `10m` or `1h`; a bare number is in seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let hint = || format!("`{text}` is not a duration: write 500ms, 2s, 10m or 1h");
    let number: f64 = number.parse().map_err(|_| hint())?;
    let seconds = match unit {
        "us" => number / 1e6,
        "ms" => number / 1e3,
        "" | "s" => number,
        "m" => number * 60.0,
        "h" => number * 3600.0,
        _ => return Err(hint()),
    };
    // A week: far above any run, far below what `Duration` cannot hold.
    if seconds > 604_800.0 {
        return Err(format!("`{text}` is too long: at most 168h"));
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// Parses `4096`, `64KiB` or `32MiB`.
pub fn size(text: &str) -> Result<usize, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let hint = || format!("`{text}` is not a size: write 4096, 64KiB or 32MiB");
    let number: usize = number.parse().map_err(|_| hint())?;
    let factor = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        _ => return Err(hint()),
    };
    number.checked_mul(factor).ok_or_else(|| format!("`{text}` is too large"))
}

/// Nanoseconds as a short text with a fitting unit.
pub fn show_ns(ns: u64) -> String {
    match ns {
        0 => "0".into(),
        1..10_000 => format!("{:.1}µs", ns as f64 / 1e3),
        10_000..1_000_000 => format!("{:.0}µs", ns as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.2}ms", ns as f64 / 1e6),
        _ => format!("{:.2}s", ns as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_need_a_known_unit() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("1h"), Ok(Duration::from_secs(3600)));
        assert_eq!(duration("7"), Ok(Duration::from_secs(7)));
        assert!(duration("7 parsecs").is_err());
        assert!(duration("").is_err());
        assert!(duration("1000h").is_err());
        assert_eq!(size("64KiB"), Ok(65_536));
        assert!(size("99999999999999999999").is_err());
        assert!(size("1QB").is_err());
    }

    #[test]
    fn nanoseconds_read_well() {
        assert_eq!(show_ns(95_000), "95µs");
        assert_eq!(show_ns(1_500_000), "1.50ms");
        assert_eq!(show_ns(2_000_000_000), "2.00s");
    }
}
