use proptest::prelude::*;
use smallvec::smallvec;

use super::read::Reader;
use super::*;
use crate::clock::Duration;
use crate::dialect::{Dialect, Endpoint, Usage};
use crate::error::Kind;
use crate::ledger::{AttemptOutcome, AttemptRecord, Record};

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

/// What `record` says.
fn said() -> (Entry<'static>, Common<'static>) {
    let entry = Entry {
        common: 0,
        time_ms: 1_700_000_000_000,
        duration_us: 1234,
        ttft_us: Some(0),
        attempts: 2,
        tokens: [12, 300, 0, 0, 0, 0, 0, 0],
        cost_nano_usd: Some(0),
        request_id: "req-1",
        // The request named none.
        model_asked: Some(""),
        tried: "a/m upstream_status 500 12\nb/m ok 200 12",
        named: "0123456789abcdefproject",
        ..Entry::default()
    };
    let common = Common {
        status: 200,
        stream: true,
        tenant: "acme",
        key: "ci",
        endpoint: "chat_completions",
        dialect: "openai",
        model_served: "gpt-4o",
        target: "b/m",
        source: "provider",
        ..Common::default()
    };
    (entry, common)
}

fn written(records: &[Record]) -> Vec<u8> {
    let (mut encoder, mut out) = (Encoder::default(), Vec::new());
    for record in records {
        encoder.write(record, &mut out);
    }
    out
}

/// Every entry, with what it has in common with others.
fn read(buffer: &[u8]) -> Vec<(Entry<'_>, Common<'_>)> {
    let (mut entries, mut all) = (Entries::of(buffer), Vec::new());
    while let Some(entry) = entries.next() {
        let common = entries.common(&entry).clone();
        all.push((entry, common));
    }
    all
}

#[test]
fn what_is_written_is_read() {
    let out = written(&[record(), Record::default()]);
    let none = Entry { common: 1, ..Entry::default() };
    assert_eq!(read(&out), [said(), (none, Common::default())]);
}

#[test]
fn what_requests_have_in_common_is_written_once() {
    // Names are those of the plan, but for the model's: that comes with each request.
    let record = record();
    let own = |number: u64| Record {
        request_id: format!("req-{number}"),
        model_asked: Some("gpt-4o".into()),
        model_served: Some("gpt-4o".into()),
        duration: Duration::from_micros(number),
        ..record.clone()
    };
    let one = written(&[own(0)]).len();
    let out = written(&(0..100).map(own).collect::<Vec<_>>());
    assert!(out.len() < 100 * (one - 50), "{} of {one}", out.len());
    let all = read(&out);
    assert_eq!(all.len(), 100);
    for (number, (entry, common)) in all.iter().enumerate() {
        assert_eq!((entry.duration_us, entry.model_asked), (number as u64, None));
        assert_eq!((entry.common, common), (0, &said().1));
    }
}

#[test]
fn buffers_are_read_without_what_stands_before_them() {
    let (mut encoder, record) = (Encoder::default(), record());
    let mut buffers = [Vec::new(), Vec::new()];
    for buffer in &mut buffers {
        (0..3).for_each(|_| encoder.write(&record, buffer));
        encoder.next_buffer();
    }
    assert_eq!(buffers[0], buffers[1]);
    let joined = buffers.concat();
    let all = read(&joined);
    assert_eq!(all.len(), 6);
    assert!(all.iter().all(|(_, common)| *common == said().1));
}

#[test]
fn a_buffer_may_be_put_together_of_parts() {
    let record = record();
    let (mut encoder, mut encoder_of_parts) = (Encoder::default(), Encoder::default());
    let (mut whole, mut parts, mut fresh) = (Vec::new(), Vec::new(), Vec::new());
    for at in 0..9 {
        encoder.write(&record, &mut whole);
        encoder_of_parts.write(&record, &mut fresh);
        if at % 4 == 1 {
            encoder_of_parts.moves(fresh.len());
            parts.append(&mut fresh);
        }
    }
    parts.append(&mut fresh);
    assert_eq!(parts, whole);
    encoder_of_parts.next_buffer();
    encoder_of_parts.write(&record, &mut fresh);
    assert_eq!(read(&fresh).len(), 1);
}

/// As the forms before this one were written.
fn old_form(version: u8) -> Vec<u8> {
    // Times, status 200, a stream, five attempts; tokens, cost, bytes.
    let mut bytes = vec![version, 1, 2, 4, 0xc8, 1, 1, 5];
    bytes.extend([12, 7, 0, 0, 0, 0, 0, 0, 10, 20, 30]);
    let texts = [
        "id",
        "acme",
        "red",
        "ci",
        "ann",
        "route",
        "pool",
        "chat",
        "openai",
        "gpt",
        "gpt-4o",
        "sim",
        "sim/gpt-4o",
        "",
        "provider",
        "v1",
        "",
    ];
    let named: &[&str] = if version == 1 { &[] } else { &["named"] };
    for text in texts.iter().chain(named) {
        bytes.push(text.len() as u8);
        bytes.extend_from_slice(text.as_bytes());
    }
    let mut out = (bytes.len() as u32).to_le_bytes().to_vec();
    out.extend(bytes);
    out
}

#[test]
fn earlier_forms_are_read() {
    for version in [1, 2] {
        let out = old_form(version).repeat(2);
        let all = read(&out);
        assert_eq!(all.len(), 2);
        let (entry, common) = &all[1];
        let named = if version == 1 { "" } else { "named" };
        let expected = Entry {
            common: 0,
            time_ms: 1,
            duration_us: 2,
            ttft_us: Some(3),
            attempts: 5,
            tokens: [12, 7, 0, 0, 0, 0, 0, 0],
            cost_nano_usd: Some(9),
            body_in_bytes: 20,
            body_out_bytes: 30,
            request_id: "id",
            user: "ann",
            model_asked: Some("gpt"),
            tried: "",
            named,
        };
        assert_eq!(entry, &expected);
        let texts = [
            "acme",
            "red",
            "ci",
            "route",
            "pool",
            "chat",
            "openai",
            "gpt-4o",
            "sim",
            "sim/gpt-4o",
            "",
            "provider",
            "v1",
        ];
        assert_eq!((common.texts(), common.status, common.stream), (texts, 200, true));
    }
}

/// As the third form was written: two with everything in common, and one of which nothing is known.
const THIRD_FORM: &[u8] = b"\
    \x9e\x00\x00\x00\x03\x80\xd0\x95\xff\xbc1\xd2\t\x01\x02\x0c\xac\x02\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\
    \xc8\x01\x01\x04acme\x00\x02ci\x00\x00\x10chat_completions\x06openai\x06gpt-4o\x00\x03b/m\x00\
    \x08provider\x00\
    \x05req-1\x00\x01(a/m upstream_status 500 12\nb/m ok 200 12\x170123456789abcdefproject\
    W\x00\x00\x00\x03\x80\xd0\x95\xff\xbc1\xd2\t\x01\x02\x0c\xac\x02\x00\x00\x00\x00\x00\x00\x01\
    \xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00\xa2\x01\
    \x05req-1\x03ann\x00(a/m upstream_status 500 12\nb/m ok 200 12\x00\
    %\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\
    \x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00";

#[test]
fn the_third_form_is_read() {
    let (first, common) = said();
    let second = Entry {
        body_in_bytes: u64::MAX,
        user: "ann",
        model_asked: None,
        named: "",
        ..first.clone()
    };
    let none = Entry { common: 1, ..Entry::default() };
    let all = [(first, common.clone()), (second, common), (none, Common::default())];
    assert_eq!(read(THIRD_FORM), all);

    // Entries of the form that is written now may stand behind them.
    let mut both = THIRD_FORM.to_vec();
    both.extend(written(&[record(), record()]));
    let both = read(&both);
    assert_eq!(both[..3], all);
    assert_eq!(both[3..].iter().map(|(_, common)| common).collect::<Vec<_>>(), [&said().1; 2]);
}

#[test]
fn lengths_of_more_than_a_word_are_not_read() {
    let record = record();
    let last = written(std::slice::from_ref(&record));
    let out = written(&[record.clone(), record]);
    for at in 0..group::NUMBERS {
        for length in 9..16_u8 {
            // Behind the length of the entry and its version.
            let mut out = out.clone();
            let lengths = &mut out[5 + at / 2];
            let shift = 4 * (at % 2);
            *lengths = *lengths & !(0xf << shift) | length << shift;
            // What the second has in common with it cannot be read then, either.
            assert_eq!(read(&out), []);
            assert_eq!(read(&[&out[..], &last].concat()).len(), 1);
        }
    }
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "\\PC{0,12}", "[a-z0-9-]{0,150}"]
}

fn any_number() -> impl Strategy<Value = u64> {
    (any::<u64>(), 0..=64_u32).prop_map(|(number, shift)| number.checked_shr(shift).unwrap_or(0))
}

prop_compose! {
    fn any_record()(
        numbers in prop::collection::vec(any_number(), 13),
        cost in prop::option::of(any_number()),
        ttft in prop::option::of(0..u64::MAX / 2),
        texts in prop::collection::vec(prop::option::of(any_text()), 6),
        request_id in any_text(),
        attempts in 0_usize..3,
        status: u16,
    ) -> Record {
        let name = |at: usize| texts[at].as_deref().map(std::sync::Arc::from);
        Record {
            time_unix_ms: numbers[0],
            duration: Duration::from_micros(numbers[1]),
            ttft: ttft.map(Duration::from_micros),
            usage: Usage {
                input: numbers[2],
                output: numbers[3],
                cached_input: numbers[4],
                cache_creation_5m: numbers[5],
                cache_creation_1h: numbers[6],
                reasoning: numbers[7],
                audio_input: numbers[8],
                audio_output: numbers[9],
            },
            cost_nano_usd: cost.map(|cost| cost.min(u64::MAX - 1)),
            body_in_bytes: numbers[10],
            body_out_bytes: numbers[11],
            request_id,
            user: texts[0].clone(),
            named: texts[1].as_deref().map(Into::into),
            model_asked: name(2),
            model_served: name(3),
            tenant: name(4),
            caller: name(5),
            attempts: (0..attempts).map(|_| attempt("a/m", AttemptOutcome::Ok, None)).collect(),
            status,
            ..Record::default()
        }
    }
}

/// What is read of it, but for what it has in common with others.
fn as_read(record: &Record) -> Entry<'_> {
    Entry {
        common: 0,
        time_ms: record.time_unix_ms,
        duration_us: record.duration.as_micros() as u64,
        ttft_us: record.ttft.map(|ttft| ttft.as_micros() as u64),
        attempts: record.attempts.len() as u64,
        tokens: record.tokens(),
        cost_nano_usd: record.cost_nano_usd,
        body_in_bytes: record.body_in_bytes,
        body_out_bytes: record.body_out_bytes,
        request_id: &record.request_id,
        user: record.user.as_deref().unwrap_or_default(),
        model_asked: (record.model_asked != record.model_served)
            .then(|| record.model_asked.as_deref().unwrap_or_default()),
        tried: if record.attempts.len() > 1 { "a/m ok 0 12\na/m ok 0 12" } else { "" },
        named: record.named.as_deref().unwrap_or_default(),
    }
}

proptest! {
    #[test]
    fn any_record_is_read_as_it_was_written(records in prop::collection::vec(any_record(), 1..8)) {
        let out = written(&records);
        let all = read(&out);
        prop_assert_eq!(all.len(), records.len());
        for ((entry, common), record) in all.iter().zip(&records) {
            prop_assert_eq!(Entry { common: 0, ..entry.clone() }, as_read(record));
            prop_assert_eq!(common.tenant, record.tenant.as_deref().unwrap_or_default());
            prop_assert_eq!(common.key, record.caller.as_deref().unwrap_or_default());
            prop_assert_eq!(
                common.model_served,
                record.model_served.as_deref().unwrap_or_default()
            );
            prop_assert_eq!(common.status, u64::from(record.status));
        }
    }

    /// Its length says that it ends there: the rest of it is not looked at, or it is not read.
    #[test]
    fn an_entry_that_is_cut_is_another_or_none(record in any_record()) {
        let out = written(&[record]);
        for length in 0..out.len() - 4 {
            let mut cut = (length as u32).to_le_bytes().to_vec();
            cut.extend_from_slice(&out[4..4 + length]);
            let alone: Vec<_> = read(&cut);
            prop_assert!(alone.len() <= 1);
            // What stands behind it makes no difference.
            let behind = [&cut[..], &[0xff; 200]].concat();
            prop_assert_eq!(read(&behind), alone);
        }
    }

    #[test]
    fn an_entry_with_another_byte_is_another_or_none(record in any_record(), to: u8) {
        let out = written(&[record.clone(), record]);
        for at in 0..out.len() {
            let mut out = out.clone();
            out[at] ^= to;
            prop_assert!(read(&out).len() <= out.len());
        }
    }

    #[test]
    fn a_group_reads_back(
        numbers in prop::collection::vec(any_number(), group::NUMBERS),
        behind in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let numbers: [u64; group::NUMBERS] = numbers.try_into().expect("as many");
        let mut out = Vec::new();
        group::write(&numbers, &mut out);
        let end = out.len();
        out.extend_from_slice(&behind);
        prop_assert_eq!(group::read(&out, out.len()), Some((numbers, end)));
        prop_assert_eq!(group::read(&out, end), Some((numbers, end)));
        prop_assert_eq!(group::read(&out, end - 1), None);
    }

    #[test]
    fn any_group_is_read_or_none(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Some((_, end)) = group::read(&bytes, bytes.len()) {
            prop_assert!((8..=bytes.len()).contains(&end));
        }
    }

    #[test]
    fn nothing_that_is_read_panics(bytes in any::<Vec<u8>>()) {
        prop_assert!(Entries::of(&bytes).count() <= bytes.len());
    }

    #[test]
    fn nothing_that_has_changed_panics(at in 0_usize..500, to: u8) {
        let mut out = written(&[record(), record(), record()]);
        let at = at % out.len();
        out[at] = to;
        prop_assert!(read(&out).len() <= 3 + out.len());
    }

    #[test]
    fn a_cut_buffer_gives_what_is_whole(cut in 0_usize..500) {
        let record = record();
        let first = written(std::slice::from_ref(&record)).len();
        let out = written(&[record.clone(), record]);
        let cut = cut.min(out.len());
        let whole = usize::from(cut >= first) + usize::from(cut == out.len());
        prop_assert_eq!(read(&out[..cut]).len(), whole);
    }

    #[test]
    fn numbers_read_back(value: u64, shift in 0..64, behind in prop::collection::vec(any::<u8>(), 0..12)) {
        let value = value >> shift;
        let mut out = Vec::new();
        write::number(value, &mut out);
        out.extend_from_slice(&behind);
        let mut reader = Reader(&out);
        prop_assert_eq!((reader.number(), reader.0), (Some(value), &behind[..]));
    }

    /// Whatever differs between two requests, each is read as it was written.
    #[test]
    fn any_mixture_is_read(picks in prop::collection::vec((0_usize..4, 0_u16..3, any::<bool>()), 0..200)) {
        let names: Vec<std::sync::Arc<str>> = (0..4).map(|n| format!("name-{n}").into()).collect();
        let records: Vec<Record> = picks
            .iter()
            .map(|(name, status, stream)| Record {
                caller: Some(std::sync::Arc::clone(&names[*name])),
                team: names.get(name + 1).cloned(),
                status: 200 + status,
                stream: *stream,
                model_served: Some(format!("m{}", name % 2).into()),
                ..Record::default()
            })
            .collect();
        let out = written(&records);
        let all = read(&out);
        prop_assert_eq!(all.len(), records.len());
        for ((_, common), record) in all.iter().zip(&records) {
            prop_assert_eq!(common.key, record.caller.as_deref().unwrap_or_default());
            prop_assert_eq!(common.team, record.team.as_deref().unwrap_or_default());
            prop_assert_eq!(common.status, u64::from(record.status));
            prop_assert_eq!(common.stream, record.stream);
            prop_assert_eq!(common.model_served, record.model_served.as_deref().unwrap_or_default());
        }
    }
}
