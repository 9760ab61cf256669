//! A record in the form in which it waits for the database: short, and made without an allocation.
//!
//! An entry is its length (four bytes, little-endian), a byte for the version of the form, numbers
//! of seven bits a byte (LEB128), and texts, each after its length. What was never known is an empty
//! text, or zero for a number that is written one higher.

use crate::clock::Duration;
use crate::dialect::{Dialect, Endpoint};
use crate::error::Kind;
use crate::telemetry::prefix;

use super::json::TEXT_BYTES_MAX;
use super::record::Record;

/// The form that is written. Every form that was ever released is read: the first has no `named`.
const VERSION: u8 = 2;

/// Kinds of tokens.
pub const TOKENS: usize = 8;

const STREAM: u64 = 1;
const HEDGED: u64 = 2;
const CLIENT_GONE: u64 = 4;
const BROKEN: u64 = 8;

/// An entry that was read; its texts lie in the buffer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each a column")]
pub struct Entry<'a> {
    /// When the request's head arrived.
    pub time_ms: u64,
    /// From its head to its end.
    pub duration_us: u64,
    /// From its head to the first token.
    pub ttft_us: Option<u64>,
    /// The status that the client got.
    pub status: u64,
    /// The answer was a stream.
    pub stream: bool,
    /// A second attempt was started because the first was slow.
    pub hedged: bool,
    /// The client left before the end.
    pub client_gone: bool,
    /// The answer broke after its first byte had reached the client.
    pub broken: bool,
    /// Number of attempts.
    pub attempts: u64,
    /// Tokens in the order of [`crate::telemetry::TOKEN_KINDS`].
    pub tokens: [u64; TOKENS],
    /// What they cost, where a price is known.
    pub cost_nano_usd: Option<u64>,
    /// Body bytes read from the client.
    pub body_in_bytes: u64,
    /// Body bytes written to the client.
    pub body_out_bytes: u64,
    /// The client's `x-request-id`, or ours.
    pub request_id: &'a str,
    /// The caller's tenant.
    pub tenant: &'a str,
    /// The caller's team.
    pub team: &'a str,
    /// The name of the caller's key.
    pub key: &'a str,
    /// The end user that the request names.
    pub user: &'a str,
    /// The route that matched.
    pub route: &'a str,
    /// The pool that answered, or was to answer.
    pub pool: &'a str,
    /// The endpoint.
    pub endpoint: &'a str,
    /// The wire format that the client speaks.
    pub dialect: &'a str,
    /// The model that the client named.
    pub model_asked: &'a str,
    /// The model that the upstream was asked for.
    pub model_served: &'a str,
    /// The provider that answered, or was tried last.
    pub provider: &'a str,
    /// The target that was tried last.
    pub target: &'a str,
    /// What went wrong.
    pub error: &'a str,
    /// Who counted the tokens.
    pub source: &'a str,
    /// The prices under which the cost was reckoned.
    pub prices: &'a str,
    /// Every attempt as `target outcome status milliseconds`, one a line, where there was more than
    /// one.
    pub tried: &'a str,
    /// What expressions named of the request, where budgets are counted by that.
    pub named: &'a str,
}

/// Appends a record.
pub fn write(record: &Record, out: &mut Vec<u8>) {
    let begin = out.len();
    out.extend_from_slice(&[0, 0, 0, 0, VERSION]);
    number(record.time_unix_ms, out);
    number(us(record.duration), out);
    number(record.ttft.map_or(0, |ttft| us(ttft).saturating_add(1)), out);
    number(record.status.into(), out);
    let flag = |holds: bool, bit: u64| if holds { bit } else { 0 };
    number(
        flag(record.stream, STREAM)
            | flag(record.hedged, HEDGED)
            | flag(record.client_gone, CLIENT_GONE)
            | flag(record.stream_broken, BROKEN),
        out,
    );
    number(record.attempts.len() as u64, out);
    for tokens in record.tokens() {
        number(tokens, out);
    }
    number(record.cost_nano_usd.map_or(0, |cost| cost.saturating_add(1)), out);
    number(record.body_in_bytes, out);
    number(record.body_out_bytes, out);
    for known in [
        record.request_id.as_str(),
        record.tenant.as_deref().unwrap_or_default(),
        record.team.as_deref().unwrap_or_default(),
        record.caller.as_deref().unwrap_or_default(),
        record.user.as_deref().unwrap_or_default(),
        record.route.as_deref().unwrap_or_default(),
        record.pool.as_deref().unwrap_or_default(),
        record.endpoint.map_or("", Endpoint::as_str),
        record.dialect.map_or("", Dialect::as_str),
        record.model_asked.as_deref().unwrap_or_default(),
        record.model_served.as_deref().unwrap_or_default(),
        record.provider.as_deref().unwrap_or_default(),
        record.attempts.last().map_or("", |attempt| &*attempt.target),
        record.error.map_or("", Kind::as_str),
        record.usage_source,
        record.price_version.as_deref().unwrap_or_default(),
    ] {
        text(known, out);
    }
    tried(record, out);
    // Bounded where it is made, and of no use in parts.
    whole(record.named.as_deref().unwrap_or_default(), out);
    let length = (out.len() - begin - 4) as u32;
    out[begin..begin + 4].copy_from_slice(&length.to_le_bytes());
}

/// Most attempts that are told one by one.
const TRIED_MAX: usize = 32;

fn tried(record: &Record, out: &mut Vec<u8>) {
    if record.attempts.len() < 2 {
        return number(0, out);
    }
    let lines: Vec<String> = record
        .attempts
        .iter()
        .take(TRIED_MAX)
        .map(|attempt| {
            let status = attempt.status.unwrap_or_default();
            let (outcome, ms) = (attempt.outcome.as_str(), attempt.duration.as_millis());
            format!("{} {outcome} {status} {ms}", attempt.target)
        })
        .collect();
    whole(&lines.join("\n"), out);
}

fn us(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn number(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn text(text: &str, out: &mut Vec<u8>) {
    whole(prefix(text, TEXT_BYTES_MAX), out);
}

fn whole(text: &str, out: &mut Vec<u8>) {
    number(text.len() as u64, out);
    out.extend_from_slice(text.as_bytes());
}

/// The entries of a buffer, in order. What cannot be read is passed over.
pub struct Entries<'a> {
    rest: &'a [u8],
}

impl<'a> Entries<'a> {
    /// Those of this buffer.
    pub fn of(buffer: &'a [u8]) -> Self {
        Self { rest: buffer }
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        while !self.rest.is_empty() {
            let split = self.rest.split_first_chunk::<4>().and_then(|(length, rest)| {
                rest.split_at_checked(u32::from_le_bytes(*length) as usize)
            });
            let Some((one, rest)) = split else {
                self.rest = &[];
                return None;
            };
            self.rest = rest;
            let entry = Reader(one).entry();
            if entry.is_some() {
                return entry;
            }
        }
        None
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn entry(&mut self) -> Option<Entry<'a>> {
        let (version, rest) = self.0.split_first()?;
        self.0 = rest;
        if !(1..=VERSION).contains(version) {
            return None;
        }
        let (time_ms, duration_us) = (self.number()?, self.number()?);
        let ttft_us = self.number()?.checked_sub(1);
        let (status, flags, attempts) = (self.number()?, self.number()?, self.number()?);
        let mut tokens = [0; TOKENS];
        for kind in &mut tokens {
            *kind = self.number()?;
        }
        Some(Entry {
            time_ms,
            duration_us,
            ttft_us,
            status,
            stream: flags & STREAM != 0,
            hedged: flags & HEDGED != 0,
            client_gone: flags & CLIENT_GONE != 0,
            broken: flags & BROKEN != 0,
            attempts,
            tokens,
            cost_nano_usd: self.number()?.checked_sub(1),
            body_in_bytes: self.number()?,
            body_out_bytes: self.number()?,
            request_id: self.text()?,
            tenant: self.text()?,
            team: self.text()?,
            key: self.text()?,
            user: self.text()?,
            route: self.text()?,
            pool: self.text()?,
            endpoint: self.text()?,
            dialect: self.text()?,
            model_asked: self.text()?,
            model_served: self.text()?,
            provider: self.text()?,
            target: self.text()?,
            error: self.text()?,
            source: self.text()?,
            prices: self.text()?,
            tried: self.text()?,
            named: if *version == 1 { "" } else { self.text()? },
        })
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.number()?).ok()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        std::str::from_utf8(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use smallvec::smallvec;

    use super::*;
    use crate::dialect::Usage;
    use crate::ledger::{AttemptOutcome, AttemptRecord};

    fn attempt(target: &str, outcome: AttemptOutcome, status: Option<u16>) -> AttemptRecord {
        let duration = Duration::from_millis(12);
        AttemptRecord { target: target.into(), outcome, status, hedge: false, duration }
    }

    fn record() -> Record {
        Record {
            time_unix_ms: 1_700_000_000_000,
            request_id: "req-1".into(),
            tenant: Some("acme".into()),
            named: Some("0123456789abcdefproject".into()),
            caller: Some("ci".into()),
            endpoint: Some(Endpoint::ChatCompletions),
            dialect: Some(Dialect::OpenAi),
            model_served: Some("gpt-4o".into()),
            status: 200,
            stream: true,
            attempts: smallvec![
                attempt("a/m", AttemptOutcome::Failed(Kind::UpstreamStatus), Some(500)),
                attempt("b/m", AttemptOutcome::Ok, Some(200)),
            ],
            usage: Usage { input: 12, output: 300, ..Usage::default() },
            usage_source: "provider",
            cost_nano_usd: Some(0),
            ttft: Some(Duration::ZERO),
            duration: Duration::from_micros(1234),
            ..Record::default()
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let mut out = Vec::new();
        write(&record(), &mut out);
        write(&Record::default(), &mut out);
        let mut entries = Entries::of(&out);
        let entry = entries.next().expect("an entry");
        assert_eq!(
            entry,
            Entry {
                time_ms: 1_700_000_000_000,
                duration_us: 1234,
                ttft_us: Some(0),
                status: 200,
                stream: true,
                attempts: 2,
                tokens: [12, 300, 0, 0, 0, 0, 0, 0],
                cost_nano_usd: Some(0),
                request_id: "req-1",
                tenant: "acme",
                key: "ci",
                endpoint: "chat_completions",
                dialect: "openai",
                model_served: "gpt-4o",
                target: "b/m",
                source: "provider",
                tried: "a/m upstream_status 500 12\nb/m ok 200 12",
                named: "0123456789abcdefproject",
                ..Entry::default()
            }
        );
        assert_eq!(entries.next(), Some(Entry::default()));
        assert!(entries.next().is_none());
    }

    #[test]
    fn the_first_form_is_read() {
        let mut out = Vec::new();
        write(&Record::default(), &mut out);
        // As it was written before there was anything after `tried`.
        out.pop();
        out[0] -= 1;
        out[4] = 1;
        assert_eq!(Entries::of(&out).next(), Some(Entry::default()));
    }

    proptest! {
        #[test]
        fn nothing_that_is_read_panics(bytes in any::<Vec<u8>>()) {
            prop_assert!(Entries::of(&bytes).count() <= bytes.len());
        }

        #[test]
        fn a_cut_buffer_gives_what_is_whole(cut in 0_usize..400) {
            let mut out = Vec::new();
            write(&record(), &mut out);
            let one = out.len();
            write(&record(), &mut out);
            let cut = cut.min(out.len());
            prop_assert_eq!(Entries::of(&out[..cut]).count(), cut / one);
        }

        #[test]
        fn numbers_read_back(value: u64) {
            let mut out = Vec::new();
            number(value, &mut out);
            prop_assert_eq!(Reader(&out).number(), Some(value));
        }
    }
}
