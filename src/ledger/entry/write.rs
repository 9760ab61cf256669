//! From records to entries.

use std::sync::Arc;

use super::{
    BROKEN, CLIENT_GONE, HEDGED, MODEL_ASKED, NAMED, STREAM, TEXTS, TRIED, USER, VERSION, group,
};
use crate::clock::Duration;
use crate::dialect::{Dialect, Endpoint};
use crate::error::Kind;
use crate::hash::{mixed, shape};
use crate::ledger::json::TEXT_BYTES_MAX;
use crate::ledger::record::Record;
use crate::telemetry::prefix;

/// Different things that requests have in common, of which is remembered where they stand. A power of
/// two.
const KNOWN: usize = 64;
/// Most attempts that are told one by one.
const TRIED_MAX: usize = 32;
/// Names of the plan's that requests have in common.
const NAMES: usize = 8;

/// Writes the entries of one buffer after the other.
#[derive(Debug)]
pub struct Encoder {
    /// By a hash of it, what was written last.
    known: Box<[Known]>,
    /// Tells what is in this buffer from what was in those before.
    buffer: u64,
    /// So many bytes of it are no longer where the next entry is written.
    moved: usize,
}

/// What a record has in common with others, kept.
#[derive(Clone, Debug, Default)]
struct Known {
    names: [Option<Arc<str>>; NAMES],
    /// Where those are in memory, or 0: they stay there as long as they are kept.
    addresses: [usize; NAMES],
    model: Option<Arc<str>>,
    rest: Rest,
    /// In which buffer that stands, and where the entry begins that has it.
    buffer: u64,
    at: usize,
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
    record: &'a Record,
    addresses: [usize; NAMES],
    rest: Rest,
}

impl Default for Encoder {
    fn default() -> Self {
        Self { known: vec![Known::default(); KNOWN].into(), buffer: 1, moved: 0 }
    }
}

impl Encoder {
    /// The next entry is the first of another buffer.
    pub fn next_buffer(&mut self) {
        self.buffer += 1;
        self.moved = 0;
    }

    /// So many bytes of the buffer, all that there were, stand elsewhere now: the next entry is written
    /// as if behind them.
    pub fn moves(&mut self, bytes: usize) {
        self.moved += bytes;
    }

    /// Appends a record to the buffer, which has nothing that this encoder has not written.
    pub fn write(&mut self, record: &Record, out: &mut Vec<u8>) {
        let begin = out.len();
        let place = self.moved + begin;
        let sharing = Sharing::of(record);
        let known = &mut self.known[sharing.place()];
        let same = known.is(&sharing);
        let back = if same && known.buffer == self.buffer { place - known.at } else { 0 };
        let [input, output, kinds @ ..] = record.tokens();
        let [cached, written_5m, written_1h, reasoning, audio_in, audio_out] = kinds;
        let numbers = [
            record.time_unix_ms,
            us(record.duration),
            record.ttft.map_or(0, |ttft| us(ttft).saturating_add(1)),
            record.attempts.len() as u64,
            input,
            output,
            record.cost_nano_usd.map_or(0, |cost| cost.saturating_add(1)),
            record.body_in_bytes,
            record.body_out_bytes,
            back as u64,
            cached,
            written_5m,
            written_1h,
            reasoning,
            audio_in,
            audio_out,
        ];
        out.extend_from_slice(&[0, 0, 0, 0, VERSION]);
        group::write(&numbers, out);
        if back == 0 {
            sharing.write(out);
            if !same {
                known.keep(&sharing);
            }
            (known.buffer, known.at) = (self.buffer, place);
        }
        texts(record, out);
        let length = (out.len() - begin - 4) as u32;
        out[begin..begin + 4].copy_from_slice(&length.to_le_bytes());
    }
}

impl Known {
    fn is(&mut self, other: &Sharing<'_>) -> bool {
        self.rest == other.rest
            && self.model == other.record.model_served
            && (self.addresses == other.addresses || self.is_by_name(other))
    }

    /// Whether they only are elsewhere in memory, as those of a new plan are.
    #[cold]
    fn is_by_name(&mut self, other: &Sharing<'_>) -> bool {
        let same = self.names.each_ref().map(Option::as_ref) == names(other.record);
        if same {
            self.keep(other);
        }
        same
    }

    fn keep(&mut self, other: &Sharing<'_>) {
        self.names = names(other.record).map(Option::<&Arc<str>>::cloned);
        self.addresses = other.addresses;
        self.model.clone_from(&other.record.model_served);
        self.rest = other.rest;
    }
}

impl<'a> Sharing<'a> {
    fn of(record: &'a Record) -> Self {
        let flag = |holds: bool, bit: u64| if holds { bit } else { 0 };
        Self {
            record,
            addresses: names(record).map(|name| name.map_or(0, |name| name.as_ptr() as usize)),
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
        let [_, _, caller, _, _, _, target, _] = self.addresses;
        // Names of models come with each request anew.
        let model = self.record.model_served.as_deref().unwrap_or_default();
        let rest = usize::from(self.rest.status) << 8 | self.rest.flags as usize;
        mixed([rest, caller, target, shape(model)]) % KNOWN
    }

    #[cold]
    fn write(&self, out: &mut Vec<u8>) {
        let texts = names(self.record).map(|name| name.map_or("", |name| name));
        let [tenant, team, key, route, pool, provider, target, prices] = texts;
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
            self.record.model_served.as_deref().unwrap_or_default(),
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

/// The plan's names that a record has.
fn names(record: &Record) -> [Option<&Arc<str>>; NAMES] {
    [
        record.tenant.as_ref(),
        record.team.as_ref(),
        record.caller.as_ref(),
        record.route.as_ref(),
        record.pool.as_ref(),
        record.provider.as_ref(),
        record.attempts.last().map(|attempt| &attempt.target),
        record.price_version.as_ref(),
    ]
}

/// Its texts: which it has of those that few have, how long those are, and they themselves.
fn texts(record: &Record, out: &mut Vec<u8>) {
    let some = |text: &&str| !text.is_empty();
    let user = record.user.as_deref().filter(some).map(cut);
    let (asked, tried) = (model_asked(record).map(cut), tried(record));
    // Bounded where they are made, and of no use in parts.
    let (tried, named) = (tried.as_deref(), record.named.as_deref().filter(some));
    let flag = |text: Option<&str>, bit: u8| if text.is_some() { bit } else { 0 };
    let flags =
        flag(user, USER) | flag(asked, MODEL_ASKED) | flag(tried, TRIED) | flag(named, NAMED);
    out.push(flags);
    if flags != 0 {
        let texts = || [user, asked, tried, named].into_iter().flatten();
        texts().for_each(|text| number(text.len() as u64, out));
        texts().for_each(|text| out.extend_from_slice(text.as_bytes()));
    }
    out.extend_from_slice(cut(&record.request_id).as_bytes());
}

/// What it is, even nothing, where that is not the model that was served.
fn model_asked(record: &Record) -> Option<&str> {
    let (asked, served) = (&record.model_asked, &record.model_served);
    let same = match (asked, served) {
        (Some(asked), Some(served)) => Arc::ptr_eq(asked, served) || asked == served,
        (asked, served) => asked.is_none() && served.is_none(),
    };
    if same { None } else { Some(asked.as_deref().unwrap_or_default()) }
}

fn tried(record: &Record) -> Option<String> {
    if record.attempts.len() < 2 {
        return None;
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
    Some(lines.join("\n"))
}

fn us(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Appends a number on its own (LEB128).
pub(super) fn number(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn text(text: &str, out: &mut Vec<u8>) {
    let text = cut(text);
    number(text.len() as u64, out);
    out.extend_from_slice(text.as_bytes());
}

fn cut(text: &str) -> &str {
    prefix(text, TEXT_BYTES_MAX)
}
