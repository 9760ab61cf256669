//! From records to entries.

use std::sync::Arc;

use super::{BROKEN, CLIENT_GONE, HEDGED, STREAM, TEXTS, VERSION};
use crate::clock::Duration;
use crate::dialect::{Dialect, Endpoint};
use crate::error::Kind;
use crate::ledger::json::TEXT_BYTES_MAX;
use crate::ledger::record::Record;
use crate::telemetry::prefix;

/// Different things that requests have in common, of which is remembered where they stand. A power of
/// two.
const KNOWN: usize = 64;
/// Numbers that an entry begins with.
const NUMBERS: usize = 16;
/// Bytes of a number at most.
const NUMBER_BYTES_MAX: usize = 10;
/// Most attempts that are told one by one.
const TRIED_MAX: usize = 32;
/// Names that requests have in common.
const NAMES: usize = 9;

/// Writes the entries of one buffer after the other.
#[derive(Debug)]
pub struct Encoder {
    /// By a hash of it, what was written last.
    known: Box<[Known]>,
    /// Tells what is in this buffer from what was in those before.
    buffer: u64,
}

#[derive(Clone, Debug, Default)]
struct Known {
    shared: Shared,
    buffer: u64,
    /// Where the entry begins that has it.
    at: usize,
}

/// What a record has in common with others, kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Shared {
    names: [Option<Arc<str>>; NAMES],
    rest: Rest,
}

/// What of it are no names that somebody chose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Rest {
    endpoint: Option<Endpoint>,
    dialect: Option<Dialect>,
    error: Option<Kind>,
    source: &'static str,
    status: u16,
    flags: u64,
}

/// The same, as a record has it.
struct Sharing<'a> {
    names: [Option<&'a Arc<str>>; NAMES],
    rest: Rest,
}

impl Default for Encoder {
    fn default() -> Self {
        Self { known: vec![Known::default(); KNOWN].into(), buffer: 1 }
    }
}

impl Encoder {
    /// The next entry is the first of another buffer.
    pub fn next_buffer(&mut self) {
        self.buffer += 1;
    }

    /// Appends a record to the buffer, which has nothing that this encoder has not written.
    pub fn write(&mut self, record: &Record, out: &mut Vec<u8>) {
        let begin = out.len();
        let sharing = Sharing::of(record);
        let known = &mut self.known[sharing.place()];
        let same = sharing.is(&known.shared);
        let back = if same && known.buffer == self.buffer { begin - known.at } else { 0 };
        let mut numbers = Numbers::default();
        numbers.push(record.time_unix_ms);
        numbers.push(us(record.duration));
        numbers.push(record.ttft.map_or(0, |ttft| us(ttft).saturating_add(1)));
        numbers.push(record.attempts.len() as u64);
        for tokens in record.tokens() {
            numbers.push(tokens);
        }
        numbers.push(record.cost_nano_usd.map_or(0, |cost| cost.saturating_add(1)));
        numbers.push(record.body_in_bytes);
        numbers.push(record.body_out_bytes);
        numbers.push(back as u64);
        out.extend_from_slice(&[0, 0, 0, 0, VERSION]);
        out.extend_from_slice(numbers.bytes());
        if back == 0 {
            sharing.write(out);
            if !same {
                known.shared = sharing.keep();
            }
            (known.buffer, known.at) = (self.buffer, begin);
        }
        text(&record.request_id, out);
        text(record.user.as_deref().unwrap_or_default(), out);
        model_asked(record, out);
        tried(record, out);
        // Bounded where it is made, and of no use in parts.
        whole(record.named.as_deref().unwrap_or_default(), out);
        let length = (out.len() - begin - 4) as u32;
        out[begin..begin + 4].copy_from_slice(&length.to_le_bytes());
    }
}

impl<'a> Sharing<'a> {
    fn of(record: &'a Record) -> Self {
        let flag = |holds: bool, bit: u64| if holds { bit } else { 0 };
        Self {
            names: [
                record.tenant.as_ref(),
                record.team.as_ref(),
                record.caller.as_ref(),
                record.route.as_ref(),
                record.pool.as_ref(),
                record.model_served.as_ref(),
                record.provider.as_ref(),
                record.attempts.last().map(|attempt| &attempt.target),
                record.price_version.as_ref(),
            ],
            rest: Rest {
                endpoint: record.endpoint,
                dialect: record.dialect,
                error: record.error,
                source: record.usage_source,
                status: record.status,
                flags: flag(record.stream, STREAM)
                    | flag(record.hedged, HEDGED)
                    | flag(record.client_gone, CLIENT_GONE)
                    | flag(record.stream_broken, BROKEN),
            },
        }
    }

    /// Where it is remembered. Of the same caller, target, model, status and kind of answer it is the
    /// same place; what differs in nothing else takes each other's.
    fn place(&self) -> usize {
        let [_, _, caller, _, _, model, _, target, _] = self.names;
        let address = |name: Option<&Arc<str>>| name.map_or(0, |name| name.as_ptr() as usize);
        // Names of models come with each request anew.
        let model = model.map_or(0, |model| {
            let bytes = model.as_bytes();
            bytes.len() << 8 | usize::from(bytes.last().copied().unwrap_or_default())
        });
        let rest = usize::from(self.rest.status) << 8 | self.rest.flags as usize;
        let mix = |hash: usize, part: usize| {
            (hash ^ part).wrapping_mul(0x9e37_79b9_7f4a_7c15_u64 as usize).rotate_right(29)
        };
        [address(caller), address(target), model].into_iter().fold(rest, mix) % KNOWN
    }

    fn is(&self, known: &Shared) -> bool {
        let same = |(name, known): (Option<&Arc<str>>, &Option<Arc<str>>)| match (name, known) {
            (Some(name), Some(known)) => Arc::ptr_eq(name, known) || name == known,
            (None, None) => true,
            _ => false,
        };
        self.rest == known.rest && self.names.into_iter().zip(&known.names).all(same)
    }

    fn keep(&self) -> Shared {
        Shared { names: self.names.map(Option::<&Arc<str>>::cloned), rest: self.rest }
    }

    #[cold]
    fn write(&self, out: &mut Vec<u8>) {
        let names = self.names.map(|name| name.map_or("", |name| &**name));
        let [tenant, team, key, route, pool, model, provider, target, prices] = names;
        let Rest { endpoint, dialect, error, source, status, flags } = self.rest;
        number(status.into(), out);
        number(flags, out);
        // In the order of `Common::texts`.
        let texts: [&str; TEXTS] = [
            tenant,
            team,
            key,
            route,
            pool,
            endpoint.map_or("", Endpoint::as_str),
            dialect.map_or("", Dialect::as_str),
            model,
            provider,
            target,
            error.map_or("", Kind::as_str),
            source,
            prices,
        ];
        for one in texts {
            text(one, out);
        }
    }
}

/// Nothing but zero where it is the model that was served, else a text whose length is written one
/// higher.
fn model_asked(record: &Record, out: &mut Vec<u8>) {
    let (asked, served) = (&record.model_asked, &record.model_served);
    let same = match (asked, served) {
        (Some(asked), Some(served)) => Arc::ptr_eq(asked, served) || asked == served,
        (asked, served) => asked.is_none() && served.is_none(),
    };
    if same {
        return number(0, out);
    }
    let asked = prefix(asked.as_deref().unwrap_or_default(), TEXT_BYTES_MAX);
    number(asked.len() as u64 + 1, out);
    out.extend_from_slice(asked.as_bytes());
}

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

/// Numbers on their way to a buffer, in one piece.
struct Numbers {
    bytes: [u8; NUMBERS * NUMBER_BYTES_MAX],
    end: usize,
}

impl Default for Numbers {
    fn default() -> Self {
        Self { bytes: [0; NUMBERS * NUMBER_BYTES_MAX], end: 0 }
    }
}

impl Numbers {
    fn push(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.bytes[self.end] = number as u8 | 0x80;
            self.end += 1;
            number >>= 7;
        }
        self.bytes[self.end] = number as u8;
        self.end += 1;
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.end]
    }
}

/// Appends a number.
pub(super) fn number(number: u64, out: &mut Vec<u8>) {
    let mut one = Numbers::default();
    one.push(number);
    out.extend_from_slice(one.bytes());
}

fn text(text: &str, out: &mut Vec<u8>) {
    whole(prefix(text, TEXT_BYTES_MAX), out);
}

fn whole(text: &str, out: &mut Vec<u8>) {
    match u8::try_from(text.len()) {
        Ok(length @ ..0x80) => out.push(length),
        _ => number(text.len() as u64, out),
    }
    out.extend_from_slice(text.as_bytes());
}
