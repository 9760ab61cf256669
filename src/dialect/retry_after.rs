//! When a provider wants to be asked again.
//!
//! `Retry-After` (RFC 9110: seconds or a date) is the common word; some providers say it in
//! milliseconds, and some do not say it at all but tell when the exhausted part of a quota is full
//! again. A reset is only believed when the same answer says that nothing remains of that quota:
//! otherwise it is the end of a window that still has room.

use std::time::{Duration, UNIX_EPOCH};

use super::Dialect;
use crate::wire::fields::Fields;

/// No provider is left alone for longer than this on its own word.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Pairs of headers: what remains of a quota, and when it is full again.
type Quota = (&'static str, &'static str);

const QUOTAS: [Quota; 4] = [
    ("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
    ("x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
    ("x-ratelimit-remaining", "x-ratelimit-reset"),
    ("ratelimit-remaining", "ratelimit-reset"),
];

const ANTHROPIC_QUOTAS: [Quota; 4] = [
    ("anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-reset"),
    ("anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-reset"),
    ("anthropic-ratelimit-input-tokens-remaining", "anthropic-ratelimit-input-tokens-reset"),
    ("anthropic-ratelimit-output-tokens-remaining", "anthropic-ratelimit-output-tokens-reset"),
];

/// How long to leave a provider alone, by the headers of its answer. `None` when it does not say.
pub fn retry_after(headers: &Fields, dialect: Dialect, now_unix_ms: u64) -> Option<Duration> {
    let quotas = if dialect == Dialect::Anthropic { &ANTHROPIC_QUOTAS } else { &QUOTAS };
    let wait = text(headers, "retry-after-ms")
        .and_then(|value| scaled(value, 0.001))
        .or_else(|| text(headers, "retry-after").and_then(|value| delay(value, now_unix_ms)))
        .or_else(|| {
            let exhausted = quotas.iter().filter(|(remaining, _)| is_zero(headers, remaining));
            exhausted.filter_map(|(_, reset)| moment(text(headers, reset)?, now_unix_ms)).max()
        })?;
    Some(wait.min(RETRY_AFTER_MAX))
}

fn text<'a>(headers: &'a Fields, name: &str) -> Option<&'a str> {
    headers.text(name).map(str::trim)
}

fn is_zero(headers: &Fields, name: &str) -> bool {
    text(headers, name).and_then(|value| value.parse::<f64>().ok()).is_some_and(|left| left <= 0.0)
}

/// `Retry-After`: seconds, or a date.
fn delay(value: &str, now_unix_ms: u64) -> Option<Duration> {
    scaled(value, 1.0).or_else(|| {
        let at = httpdate::parse_http_date(value).ok()?.duration_since(UNIX_EPOCH).ok()?;
        Some(until(at, now_unix_ms))
    })
}

/// A reset header: `6m0s`, `17ms`, seconds, a Unix time in seconds or milliseconds, or a date.
fn moment(value: &str, now_unix_ms: u64) -> Option<Duration> {
    /// Nobody waits for thirty years: a number beyond is a time, not a duration.
    const SECONDS_MAX: f64 = 1e9;
    const UNIX_SECONDS_MAX: f64 = 1e11;
    let Some(number) = number(value) else {
        return units(value)
            .or_else(|| Some(until(rfc3339(value)?, now_unix_ms)))
            .or_else(|| delay(value, now_unix_ms));
    };
    if number < SECONDS_MAX {
        Duration::try_from_secs_f64(number).ok()
    } else if number < UNIX_SECONDS_MAX {
        Some(until(Duration::try_from_secs_f64(number).ok()?, now_unix_ms))
    } else {
        Some(until(Duration::try_from_secs_f64(number / 1000.0).ok()?, now_unix_ms))
    }
}

fn until(at: Duration, now_unix_ms: u64) -> Duration {
    at.saturating_sub(Duration::from_millis(now_unix_ms))
}

/// A plain decimal number, without the exponents and names that `f64` would also read.
fn number(value: &str) -> Option<f64> {
    let plain = value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if plain { value.parse().ok() } else { None }
}

fn scaled(value: &str, unit_s: f64) -> Option<Duration> {
    Some(Duration::from_secs_f64((number(value)? * unit_s).min(RETRY_AFTER_MAX.as_secs_f64())))
}

/// A delay that stands in a body (`34.5s`).
pub(super) fn retry_delay(value: &str) -> Option<Duration> {
    units(value).map(|delay| delay.min(RETRY_AFTER_MAX))
}

/// `1h2m3.5s`, `6m0s`, `17ms`.
fn units(value: &str) -> Option<Duration> {
    let mut total_s = 0.0;
    let mut rest = value;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let amount = number(&rest[..digits])?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        total_s += amount
            * match &rest[..letters] {
                "d" => 86_400.0,
                "h" => 3_600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 0.001,
                "us" | "µs" => 1e-6,
                "ns" => 1e-9,
                _ => return None,
            };
        rest = &rest[letters..];
    }
    if value.is_empty() { None } else { Duration::try_from_secs_f64(total_s).ok() }
}

/// `2026-01-27T12:34:56.789Z`, `…+02:00`, as a time since the Unix epoch.
fn rfc3339(value: &str) -> Option<Duration> {
    let (date, time) = value.split_once(['T', 't', ' '])?;
    let mut date = date.splitn(3, '-');
    let (year, month, day) = (digits(date.next()?)?, digits(date.next()?)?, digits(date.next()?)?);
    let zone_at = time.find(['Z', 'z', '+', '-'])?;
    let (clock, zone) = time.split_at(zone_at);
    let mut clock = clock.splitn(3, ':');
    let (hour, minute) = (digits(clock.next()?)?, digits(clock.next()?)?);
    let second = number(clock.next()?)?;
    let offset_s = match zone.split_at_checked(1)? {
        ("Z" | "z", "") => 0,
        (sign, zone) => {
            let (hours, minutes) = zone.split_once(':')?;
            let offset_s = digits(hours)? * 3600 + digits(minutes)? * 60;
            if sign == "-" { -offset_s } else { offset_s }
        }
    };
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 {
        return None;
    }
    let seconds = days_since_epoch(year, month, day) * 86_400 + hour * 3600 + minute * 60;
    Duration::try_from_secs_f64((seconds - offset_s) as f64 + second.min(60.0)).ok()
}

fn digits(text: &str) -> Option<i64> {
    let valid = (1..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if valid { text.parse().ok() } else { None }
}

/// Days from 1970-01-01 in the proleptic Gregorian calendar, counting years from March so that the
/// leap day is the last of its year.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    const DAYS_TO_EPOCH: i64 = 719_468;
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year
        - DAYS_TO_EPOCH
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 2026-01-27T12:00:00Z
    const NOW_UNIX_MS: u64 = 1_769_515_200_000;

    #[track_caller]
    fn check(dialect: Dialect, pairs: &[(&'static str, &'static str)], want_ms: Option<u64>) {
        let headers: Fields = pairs.iter().copied().collect();
        let got = retry_after(&headers, dialect, NOW_UNIX_MS);
        assert_eq!(got.map(|wait| wait.as_millis() as u64), want_ms, "{pairs:?}");
    }

    #[test]
    fn the_plain_headers() {
        let openai = Dialect::OpenAi;
        check(openai, &[("retry-after", "20")], Some(20_000));
        check(openai, &[("retry-after", "0")], Some(0));
        check(openai, &[("retry-after", "1.5")], Some(1_500));
        check(openai, &[("retry-after-ms", "750"), ("retry-after", "20")], Some(750));
        check(openai, &[("retry-after", "Tue, 27 Jan 2026 12:00:30 GMT")], Some(30_000));
        check(openai, &[("retry-after", "Tue, 27 Jan 2026 11:00:00 GMT")], Some(0));
        check(openai, &[("retry-after", "99999999999999999999")], Some(86_400_000));
    }

    #[test]
    fn what_is_no_time_is_not_believed() {
        for value in ["", "soon", "-5", "NaN", "inf", "1e9", "0x10", "5 minutes"] {
            check(Dialect::OpenAi, &[("retry-after", value)], None);
        }
        check(Dialect::OpenAi, &[], None);
    }

    #[test]
    fn resets_count_when_nothing_remains() {
        let spent = ("x-ratelimit-remaining-tokens", "0");
        let openai = Dialect::OpenAi;
        check(openai, &[spent, ("x-ratelimit-reset-tokens", "6m0s")], Some(360_000));
        check(openai, &[spent, ("x-ratelimit-reset-tokens", "17ms")], Some(17));
        check(openai, &[spent, ("x-ratelimit-reset-tokens", "1h2m3.5s")], Some(3_723_500));
        check(openai, &[spent, ("x-ratelimit-reset-tokens", "2.5")], Some(2_500));
        check(openai, &[spent, ("x-ratelimit-reset-tokens", "1769515260")], Some(60_000));
        check(openai, &[spent, ("x-ratelimit-reset-tokens", "1769515260000")], Some(60_000));
        check(openai, &[spent, ("x-ratelimit-reset-requests", "1s")], None);
        let left = ("x-ratelimit-remaining-tokens", "12");
        check(openai, &[left, ("x-ratelimit-reset-tokens", "6m0s")], None);
        let both = [
            spent,
            ("x-ratelimit-reset-tokens", "2s"),
            ("x-ratelimit-remaining-requests", "0"),
            ("x-ratelimit-reset-requests", "9s"),
        ];
        check(openai, &both, Some(9_000));
    }

    #[test]
    fn anthropic_resets_are_dates() {
        let spent = ("anthropic-ratelimit-output-tokens-remaining", "0");
        let name = "anthropic-ratelimit-output-tokens-reset";
        let anthropic = Dialect::Anthropic;
        check(anthropic, &[spent, (name, "2026-01-27T12:00:42Z")], Some(42_000));
        check(anthropic, &[spent, (name, "2026-01-27T14:00:42.250+02:00")], Some(42_250));
        check(anthropic, &[spent, (name, "2026-01-27T11:59:00Z")], Some(0));
        check(anthropic, &[spent, (name, "2026-13-27T11:59:00Z")], None);
        check(Dialect::OpenAi, &[spent, (name, "2026-01-27T12:00:42Z")], None);
    }

    #[test]
    fn days_agree_with_known_dates() {
        assert_eq!(days_since_epoch(1970, 1, 1), 0);
        assert_eq!(days_since_epoch(2000, 2, 29), 11_016);
        assert_eq!(days_since_epoch(2000, 3, 1), 11_017);
        assert_eq!(days_since_epoch(2026, 1, 27), 20_480);
    }

    proptest! {
        #[test]
        fn no_header_value_panics(value in "\\PC{0,40}") {
            let _ = moment(&value, NOW_UNIX_MS);
            let _ = delay(&value, NOW_UNIX_MS);
        }

        #[test]
        fn dates_agree_with_another_reader(unix_s in 0_u64..4_000_000_000) {
            let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(unix_s));
            let (year, month, day) = (&date[12..16], &date[8..11], &date[5..7]);
            let month = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct",
                "Nov", "Dec"].iter().position(|name| *name == month).expect("a month") + 1;
            let rfc = format!("{year}-{month:02}-{day}T{}Z", &date[17..25]);
            prop_assert_eq!(rfc3339(&rfc), Some(Duration::from_secs(unix_s)));
        }
    }
}
