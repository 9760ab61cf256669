//! A record as a line of the access log.
//!
//! Who asked, what for, where it went and how it ended is said in the same words for most requests:
//! a quarter of a kilobyte of names, of which each would be looked through for what must be escaped.
//! What was said lately is kept as text and said again ([`Said`]).

use std::sync::Arc;

use super::json::{Line, name};
use super::record::{AttemptOutcome, AttemptRecord, Record};
use crate::dialect::{Dialect, Endpoint};
use crate::error::Kind;
use crate::hash::{mixed, shape};
use crate::telemetry::timestamp;

/// Different texts that are kept. A power of two.
const KEPT: usize = 16;
/// Names of the plan's that a text has.
const NAMES: usize = 7;

/// What was said lately, for the lines of one thread.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// By a hash of what it is about, what was said last.
    kept: [Option<Box<Kept>>; KEPT],
}

/// What was said of some requests.
#[derive(Debug)]
struct Kept {
    names: [Option<Arc<str>>; NAMES],
    models: [Option<Arc<str>>; 2],
    rest: Rest,
    text: Vec<u8>,
}

/// What of it are no names that somebody chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rest {
    endpoint: Option<Endpoint>,
    dialect: Option<Dialect>,
    error: Option<Kind>,
    status: u16,
    flags: [bool; 6],
    /// Of the only attempt.
    attempt: Option<(AttemptOutcome, Option<u16>, bool)>,
}

impl Said {
    /// Appends a record as one line of JSON.
    pub(super) fn write(&mut self, record: &Record, out: &mut Vec<u8>) {
        let mut line = Line::open(out);
        line.ascii(name!("time"), &timestamp(record.time_unix_ms));
        line.text(name!("request_id"), &record.request_id);
        if let Some(client) = record.client {
            line.address(name!("client"), client);
        }
        line.part(|out| self.write_known(record, out));
        line.part(|out| write_attempts(record, out));
        write_usage(record, &mut line);
        line.ms_if(name!("queue_ms"), record.queue);
        line.ms_if(name!("ttft_ms"), record.ttft);
        line.ms_if(name!("inter_token_p50_ms"), record.inter_token_p50);
        line.ms_if(name!("inter_token_p99_ms"), record.inter_token_p99);
        line.ms(name!("duration_ms"), record.duration);
        line.number(name!("body_in_bytes"), record.body_in_bytes);
        line.number(name!("body_out_bytes"), record.body_out_bytes);
        line.close();
        out.push(b'\n');
    }

    /// Appends what many lines have in common.
    fn write_known(&mut self, record: &Record, out: &mut Vec<u8>) {
        // What only this request says.
        if record.user.is_some() || record.path.is_some() || record.cause.is_some() {
            return write_common(record, out);
        }
        let rest = Rest::of(record);
        let kept = &mut self.kept[place(record)];
        if let Some(kept) = kept.as_deref().filter(|kept| kept.is_of(record, rest)) {
            return out.extend_from_slice(&kept.text);
        }
        let begin = out.len();
        write_common(record, out);
        *kept = Some(Box::new(Kept {
            names: names(record).map(Option::<&Arc<str>>::cloned),
            models: models(record).map(Option::<&Arc<str>>::cloned),
            rest,
            text: out[begin..].to_vec(),
        }));
    }
}

impl Kept {
    fn is_of(&self, record: &Record, rest: Rest) -> bool {
        // A name of the plan's stays where it is while the plan is in use, and is kept here beyond that.
        let here = |name: Option<&Arc<str>>| name.map(Arc::as_ptr);
        let same = |(one, other): (&Option<Arc<str>>, _)| {
            here(one.as_ref()).map(<*const str>::addr) == here(other).map(<*const str>::addr)
        };
        // Those of models come with each request anew.
        let models = self.models.each_ref().map(Option::as_deref);
        self.rest == rest
            && self.names.iter().zip(names(record)).all(same)
            && models == self::models(record).map(|model| model.map(|model| &**model))
    }
}

impl Rest {
    fn of(record: &Record) -> Self {
        Self {
            endpoint: record.endpoint,
            dialect: record.dialect,
            error: record.error,
            status: record.status,
            flags: [
                record.stream,
                record.hedged,
                record.client_gone,
                record.stream_broken,
                record.diverted,
                record.cut_off,
            ],
            attempt: only(record).map(|it| (it.outcome, it.status, it.hedge)),
        }
    }
}

/// The names of the plan's in a record.
fn names(record: &Record) -> [Option<&Arc<str>>; NAMES] {
    [
        record.caller.as_ref(),
        record.tenant.as_ref(),
        record.team.as_ref(),
        record.route.as_ref(),
        record.pool.as_ref(),
        record.provider.as_ref(),
        only(record).map(|attempt| &attempt.target),
    ]
}

fn models(record: &Record) -> [Option<&Arc<str>>; 2] {
    [record.model_asked.as_ref(), record.model_served.as_ref()]
}

/// Where the text of such a record is kept: the same place for the same caller, target, model and status.
fn place(record: &Record) -> usize {
    let [caller, .., target] = names(record);
    let address = |name: Option<&Arc<str>>| name.map_or(0, |name| name.as_ptr().addr());
    let model = record.model_asked.as_deref().unwrap_or_default();
    let rest = usize::from(record.status) << 1 | usize::from(record.stream);
    mixed([rest, address(caller), address(target), shape(model)]) % KEPT
}

/// The attempt of a record that has only one, as most do.
fn only(record: &Record) -> Option<&AttemptRecord> {
    match &record.attempts[..] {
        [attempt] => Some(attempt),
        _ => None,
    }
}

/// From the caller to the attempts, of which the only one is begun, up to what it took.
fn write_common(record: &Record, out: &mut Vec<u8>) {
    let mut line = Line::on(out);
    line.text_if(name!("caller"), record.caller.as_deref());
    line.text_if(name!("tenant"), record.tenant.as_deref());
    line.text_if(name!("team"), record.team.as_deref());
    line.text_if(name!("user"), record.user.as_deref());
    line.text_if(name!("route"), record.route.as_deref());
    line.text_if(name!("pool"), record.pool.as_deref());
    line.word_if(name!("endpoint"), record.endpoint.map(Endpoint::as_str));
    line.word_if(name!("dialect"), record.dialect.map(Dialect::as_str));
    line.text_if(name!("path"), record.path.as_deref());
    line.text_if(name!("model_asked"), record.model_asked.as_deref());
    line.text_if(name!("model_served"), record.model_served.as_deref());
    line.text_if(name!("provider"), record.provider.as_deref());
    line.number(name!("status"), record.status.into());
    line.word_if(name!("error"), record.error.map(Kind::as_str));
    line.text_if(name!("cause"), record.cause.as_deref());
    line.flag_if(name!("stream"), record.stream);
    line.flag_if(name!("hedged"), record.hedged);
    line.flag_if(name!("client_gone"), record.client_gone);
    line.flag_if(name!("stream_broken"), record.stream_broken);
    line.flag_if(name!("diverted"), record.diverted);
    line.flag_if(name!("cut_off"), record.cut_off);
    out.extend_from_slice(b"\"attempts\":[");
    if let Some(attempt) = only(record) {
        begin_attempt(attempt, out);
    }
}

/// What is left of the attempts behind [`write_common`].
fn write_attempts(record: &Record, out: &mut Vec<u8>) {
    for (at, attempt) in record.attempts.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        if only(record).is_none() {
            begin_attempt(attempt, out);
        }
        let mut entry = Line::on(out);
        entry.ms(name!("duration_ms"), attempt.duration);
        entry.close();
    }
    out.extend_from_slice(b"],");
}

fn begin_attempt(attempt: &AttemptRecord, out: &mut Vec<u8>) {
    let mut entry = Line::open(out);
    entry.text(name!("target"), &attempt.target);
    entry.word(name!("outcome"), attempt.outcome.as_str());
    entry.number_if(name!("status"), attempt.status.unwrap_or_default().into());
    entry.flag_if(name!("hedge"), attempt.hedge);
}

fn write_usage(record: &Record, line: &mut Line<'_>) {
    if record.usage_source.is_empty() {
        return;
    }
    let usage = &record.usage;
    line.number(name!("input_tokens"), usage.input);
    line.number(name!("output_tokens"), usage.output);
    line.number_if(name!("cached_input_tokens"), usage.cached_input);
    line.number_if(name!("cache_creation_5m_tokens"), usage.cache_creation_5m);
    line.number_if(name!("cache_creation_1h_tokens"), usage.cache_creation_1h);
    line.number_if(name!("reasoning_tokens"), usage.reasoning);
    line.number_if(name!("audio_input_tokens"), usage.audio_input);
    line.number_if(name!("audio_output_tokens"), usage.audio_output);
    line.word(name!("usage_source"), record.usage_source);
    if let Some(cost) = record.cost_nano_usd {
        line.number(name!("cost_nano_usd"), cost);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use smallvec::SmallVec;

    use super::*;
    use crate::clock::Duration;

    /// Names of a plan, those of the plan after it (the same words elsewhere), and other ones.
    fn plan() -> [Arc<str>; 6] {
        ["a", "a", "b", "\"", "é", "0123456789abcdef"].map(Into::into)
    }

    fn attempt(name: &Arc<str>, bits: u16) -> AttemptRecord {
        AttemptRecord {
            target: Arc::clone(name),
            outcome: match bits % 3 {
                0 => AttemptOutcome::Ok,
                1 => AttemptOutcome::Cancelled,
                _ => AttemptOutcome::Failed(Kind::UpstreamCut),
            },
            status: (bits & 4 > 0).then_some(200 + bits % 2),
            hedge: bits & 8 > 0,
            duration: Duration::from_micros(bits.into()),
        }
    }

    fn record(plan: &[Arc<str>], picks: &[usize], bits: u16) -> Record {
        let name = |at: usize| plan.get(picks[at]).cloned();
        let model = |at: usize| name(at).map(|name| Arc::<str>::from(&*name));
        let attempts = plan.iter().take(picks[8] % 3);
        Record {
            request_id: bits.to_string(),
            caller: name(0),
            tenant: name(1),
            team: name(2),
            route: name(3),
            pool: name(4),
            provider: name(5),
            model_asked: model(6),
            model_served: model(7),
            endpoint: (bits & 1 > 0).then_some(Endpoint::Messages),
            dialect: (bits & 2 > 0).then_some(Dialect::Gemini),
            status: 200 + bits % 2,
            error: (bits & 4 > 0).then_some(Kind::NotFound),
            stream: bits & 8 > 0,
            cut_off: bits & 16 > 0,
            user: (bits & 0x60 == 0x60).then(|| "user".into()),
            cause: (bits & 0xa0 == 0xa0).then(|| "cause".into()),
            attempts: attempts.map(|name| attempt(name, bits)).collect::<SmallVec<_>>(),
            ..Record::default()
        }
    }

    proptest! {
        #[test]
        fn what_was_said_before_changes_nothing(
            all in prop::collection::vec((prop::collection::vec(0_usize..7, 9), 0_u16..256), 1..40),
        ) {
            let plan = plan();
            let mut said = Said::default();
            // Each twice, so that some are said again.
            for (picks, bits) in all.iter().chain(&all) {
                let record = record(&plan, picks, *bits);
                let (mut again, mut anew) = (Vec::new(), Vec::new());
                said.write(&record, &mut again);
                Said::default().write(&record, &mut anew);
                prop_assert_eq!(String::from_utf8(again), String::from_utf8(anew));
            }
        }
    }
}
