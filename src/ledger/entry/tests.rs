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

proptest! {
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
