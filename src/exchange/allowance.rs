//! What a client is told of its limits: the headers that `OpenAI`'s API sends, on answers and refusals
//! alike. An upstream's own do not go through to a caller that has limits here.
//!
//! Every answer to a caller with limits has six of them, and each is new: made as entries of a map of
//! headers they cost a request more than its limits do. So they travel beside the map, and whoever
//! writes the answer's head writes them as they are ([`Levels::write`]).

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::limit::{Level, Standing};

const NAMES: [[&str; 3]; 2] = [
    ["x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"],
    ["x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"],
];
/// Digits of the largest number, and characters of the longest duration.
const VALUE_BYTES_MAX: usize = 32;
const BUDGET_POOL: HeaderName = HeaderName::from_static("x-weir-budget-pool");
const BUDGET_WARNING: HeaderName = HeaderName::from_static("x-weir-budget-warning");

/// What is left of the limits that a request is under.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Levels([Option<Level>; 2]);

impl Levels {
    pub(super) fn of(standing: &Standing) -> Self {
        Self([standing.requests, standing.tokens])
    }

    /// Appends them to the head of an answer of HTTP/1.1.
    pub(crate) fn write(&self, to: &mut Vec<u8>) {
        self.each(|name, value| {
            to.extend_from_slice(name.as_bytes());
            to.extend_from_slice(b": ");
            to.extend_from_slice(value);
            to.extend_from_slice(b"\r\n");
        });
    }

    /// Adds them to the headers of an answer.
    pub(super) fn say(&self, headers: &mut HeaderMap) {
        self.each(|name, value| {
            if let Ok(value) = HeaderValue::from_bytes(value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        });
    }

    fn each(&self, mut each: impl FnMut(&'static str, &[u8])) {
        for ([limit, remaining, reset], level) in NAMES.into_iter().zip(self.0) {
            let Some(level) = level else { continue };
            let mut digits = itoa::Buffer::new();
            each(limit, digits.format(level.limit).as_bytes());
            each(remaining, digits.format(level.remaining).as_bytes());
            each(reset, Text::duration(level.reset_ns.div_ceil(1_000_000)).bytes());
        }
    }
}

/// Whether a header says what only [`Levels`] may say.
pub(super) fn is_level(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.starts_with("x-ratelimit-") && NAMES.as_flattened().contains(&name)
}

/// Adds the soft budgets that are used up, and the pool that they lead to.
pub(super) fn say(headers: &mut HeaderMap, standing: &Standing, diverted_to: Option<&str>) {
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

/// A short text, in place.
struct Text {
    bytes: [u8; VALUE_BYTES_MAX],
    end: usize,
}

impl Text {
    /// Milliseconds as `OpenAI` writes them: `12ms`, `8.64s`, `6m0s`, `1h2m3s`.
    fn duration(ms: u64) -> Self {
        let mut text = Self { bytes: [0; VALUE_BYTES_MAX], end: 0 };
        if ms < 1000 {
            text.number(ms);
            text.push(b"ms");
            return text;
        }
        let (hours, minutes) = (ms / 3_600_000, ms / 60_000 % 60);
        if hours > 0 {
            text.number(hours);
            text.push(b"h");
        }
        if hours > 0 || minutes > 0 {
            text.number(minutes);
            text.push(b"m");
        }
        text.number(ms / 1000 % 60);
        let thousandths = ms % 1000;
        if thousandths > 0 {
            let digits = [thousandths / 100, thousandths / 10 % 10, thousandths % 10];
            let digits = digits.map(|digit| b'0' + digit as u8);
            let kept = digits.iter().rposition(|digit| *digit != b'0').map_or(0, |last| last + 1);
            text.push(b".");
            text.push(&digits[..kept]);
        }
        text.push(b"s");
        text
    }

    fn number(&mut self, number: u64) {
        self.push(itoa::Buffer::new().format(number).as_bytes());
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes[self.end..self.end + bytes.len()].copy_from_slice(bytes);
        self.end += bytes.len();
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.end]
    }
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
            assert_eq!(Text::duration(ms).bytes(), text.as_bytes());
        }
    }

    #[test]
    fn both_ways_say_the_same() {
        let level = Level { limit: 100, remaining: 99, reset_ns: 60_000_000_000 };
        let levels = Levels([Some(level), None]);
        let mut head = Vec::new();
        levels.write(&mut head);
        assert_eq!(
            String::from_utf8_lossy(&head),
            "x-ratelimit-limit-requests: 100\r\nx-ratelimit-remaining-requests: 99\r\n\
             x-ratelimit-reset-requests: 1m0s\r\n"
        );
        let mut headers = HeaderMap::new();
        levels.say(&mut headers);
        let lines: Vec<String> = headers
            .iter()
            .map(|(name, value)| format!("{name}: {}\r\n", value.to_str().expect("text")))
            .collect();
        assert_eq!(lines.concat().as_bytes(), head);
        assert!(headers.keys().all(is_level));
    }
}
