//! What a client is told of its limits: the headers that `OpenAI`'s API sends, on answers and refusals
//! alike. An upstream's own do not go through to a caller that has limits here.

use std::fmt::Write;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::respond::number;
use crate::limit::{Level, Standing};

const REQUESTS: [HeaderName; 3] = [
    HeaderName::from_static("x-ratelimit-limit-requests"),
    HeaderName::from_static("x-ratelimit-remaining-requests"),
    HeaderName::from_static("x-ratelimit-reset-requests"),
];
const TOKENS: [HeaderName; 3] = [
    HeaderName::from_static("x-ratelimit-limit-tokens"),
    HeaderName::from_static("x-ratelimit-remaining-tokens"),
    HeaderName::from_static("x-ratelimit-reset-tokens"),
];
const BUDGET_POOL: HeaderName = HeaderName::from_static("x-weir-budget-pool");
const BUDGET_WARNING: HeaderName = HeaderName::from_static("x-weir-budget-warning");

/// Adds what is left of the limits, the soft budgets that are used up, and the pool that they lead to.
pub(super) fn say(headers: &mut HeaderMap, standing: &Standing, diverted_to: Option<&str>) {
    level(headers, REQUESTS, standing.requests);
    level(headers, TOKENS, standing.tokens);
    if let Some(Ok(pool)) = diverted_to.map(HeaderValue::from_str) {
        headers.insert(BUDGET_POOL, pool);
    }
    if !standing.warnings.is_empty() {
        let texts: Vec<&str> = standing.warnings.iter().map(|one| one.text.as_str()).collect();
        if let Ok(value) = HeaderValue::from_str(&texts.join(", ")) {
            headers.insert(BUDGET_WARNING, value);
        }
    }
}

fn level(headers: &mut HeaderMap, names: [HeaderName; 3], level: Option<Level>) {
    let [limit, remaining, reset] = names;
    let Some(level) = level else {
        // An upstream's limits are not the caller's.
        for name in [limit, remaining, reset] {
            headers.remove(name);
        }
        return;
    };
    headers.insert(limit, number(level.limit));
    headers.insert(remaining, number(level.remaining));
    if let Ok(value) = HeaderValue::from_str(&duration(level.reset_ns.div_ceil(1_000_000))) {
        headers.insert(reset, value);
    }
}

/// Milliseconds as `OpenAI` writes them: `12ms`, `8.64s`, `6m0s`, `1h2m3s`.
fn duration(ms: u64) -> String {
    if ms < 1000 {
        return format!("{ms}ms");
    }
    let (hours, minutes) = (ms / 3_600_000, ms / 60_000 % 60);
    let mut text = String::new();
    // Writing to a `String` cannot fail.
    if hours > 0 {
        let _ = write!(text, "{hours}h");
    }
    if hours > 0 || minutes > 0 {
        let _ = write!(text, "{minutes}m");
    }
    let _ = write!(text, "{}s", (ms % 60_000) as f64 / 1000.0);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_openai_does() {
        let cases =
            [(0, "0ms"), (12, "12ms"), (8_640, "8.64s"), (360_000, "6m0s"), (3_723_000, "1h2m3s")];
        for (ms, text) in cases {
            assert_eq!(duration(ms), text);
        }
    }

    #[test]
    fn an_upstreams_limits_are_not_said_to_be_the_callers() {
        let mut headers = HeaderMap::new();
        for name in REQUESTS.iter().chain(&TOKENS) {
            headers.insert(name, HeaderValue::from_static("7"));
        }
        let level = Level { limit: 100, remaining: 99, reset_ns: 60_000_000_000 };
        say(&mut headers, &Standing { requests: Some(level), ..Standing::default() }, None);
        let said: Vec<_> =
            REQUESTS.iter().map(|name| headers[name].to_str().expect("text")).collect();
        assert_eq!(said, ["100", "99", "1m0s"]);
        assert!(TOKENS.iter().all(|name| !headers.contains_key(name)));
    }
}
