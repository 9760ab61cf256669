//! What a client is told of its limits: the headers that `OpenAI`'s API sends, on answers and refusals
//! alike. An upstream's own do not go through to a caller that has limits here.

use crate::limit::{Level, Standing};
use crate::wire::fields::{Fields, Name};

const REQUESTS: [Name; 3] = [
    Name::XRatelimitLimitRequests,
    Name::XRatelimitRemainingRequests,
    Name::XRatelimitResetRequests,
];
const TOKENS: [Name; 3] =
    [Name::XRatelimitLimitTokens, Name::XRatelimitRemainingTokens, Name::XRatelimitResetTokens];

/// Adds what is left of the limits, the soft budgets that are used up, and the pool that they lead to.
pub(super) fn say(headers: &mut Fields, standing: &Standing, diverted_to: Option<&str>) {
    level(headers, REQUESTS, standing.requests);
    level(headers, TOKENS, standing.tokens);
    if let Some(pool) = diverted_to {
        headers.set(Name::XWeirBudgetPool, pool);
    }
    if !standing.warnings.is_empty() {
        let texts: Vec<&str> = standing.warnings.iter().map(|one| one.text.as_str()).collect();
        headers.set(Name::XWeirBudgetWarning, &texts.join(", "));
    }
}

fn level(headers: &mut Fields, names: [Name; 3], level: Option<Level>) {
    let [limit, remaining, reset] = names;
    let Some(level) = level else {
        // An upstream's limits are not the caller's.
        for name in [limit, remaining, reset] {
            headers.remove(name);
        }
        return;
    };
    headers.set_number(limit, level.limit);
    headers.set_number(remaining, level.remaining);
    headers.set_written(reset, |out| duration(level.reset_ns.div_ceil(1_000_000), out));
}

/// Appends milliseconds as `OpenAI` writes them: `12ms`, `8.64s`, `6m0s`, `1h2m3s`.
fn duration(ms: u64, out: &mut Vec<u8>) {
    if ms < 1000 {
        number(ms, out);
        out.extend_from_slice(b"ms");
        return;
    }
    let (hours, minutes) = (ms / 3_600_000, ms / 60_000 % 60);
    if hours > 0 {
        number(hours, out);
        out.push(b'h');
    }
    if hours > 0 || minutes > 0 {
        number(minutes, out);
        out.push(b'm');
    }
    number(ms / 1000 % 60, out);
    let thousandths = ms % 1000;
    if thousandths > 0 {
        let digits = [thousandths / 100, thousandths / 10 % 10, thousandths % 10];
        let digits = digits.map(|digit| b'0' + digit as u8);
        let kept = digits.iter().rposition(|digit| *digit != b'0').map_or(0, |last| last + 1);
        out.push(b'.');
        out.extend_from_slice(&digits[..kept]);
    }
    out.push(b's');
}

fn number(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_openai_does() {
        let cases = [
            (0, "0ms"),
            (12, "12ms"),
            (1000, "1s"),
            (1001, "1.001s"),
            (8_640, "8.64s"),
            (59_900, "59.9s"),
            (60_010, "1m0.01s"),
            (360_000, "6m0s"),
            (3_600_000, "1h0m0s"),
            (3_723_000, "1h2m3s"),
            (u64::MAX, "5124095576030h25m51.615s"),
        ];
        for (ms, text) in cases {
            let mut written = Vec::new();
            duration(ms, &mut written);
            assert_eq!(written, text.as_bytes());
        }
    }

    #[test]
    fn an_upstreams_limits_are_not_said_to_be_the_callers() {
        let mut headers = Fields::default();
        for name in REQUESTS.into_iter().chain(TOKENS) {
            headers.set(name, "7");
        }
        let level = Level { limit: 100, remaining: 99, reset_ns: 60_000_000_000 };
        say(&mut headers, &Standing { requests: Some(level), ..Standing::default() }, None);
        let said: Vec<_> =
            REQUESTS.into_iter().map(|name| headers.text(name).expect("text")).collect();
        assert_eq!(said, ["100", "99", "1m0s"]);
        assert!(TOKENS.into_iter().all(|name| !headers.contains(name)));
    }
}
