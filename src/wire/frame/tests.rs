use proptest::prelude::*;

use super::*;
use crate::wire::{eventstream, jsonarray, sse};

const BYTES_MAX: usize = 1 << 20;

/// Pushes `stream` cut at `cuts`; returns the runs of frames and the rest.
fn run(framing: Framing, stream: &[u8], cuts: &[usize]) -> (Vec<Bytes>, Option<Bytes>) {
    let mut framer = Framer::new(framing, BYTES_MAX);
    let mut runs = Vec::new();
    let stream = Bytes::copy_from_slice(stream);
    let mut at = 0;
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (stream.len() + 1)).collect();
    cuts.sort_unstable();
    for cut in cuts.into_iter().chain([stream.len()]) {
        runs.extend(framer.push(stream.slice(at..cut)).expect("well-formed"));
        at = cut;
    }
    assert_eq!(framer.pending_bytes(), stream.len() - runs.iter().map(Bytes::len).sum::<usize>());
    let rest = framer.finish();
    (runs, rest)
}

fn joined(runs: &[Bytes], rest: Option<&Bytes>) -> Vec<u8> {
    runs.iter().chain(rest).flat_map(|bytes| bytes.iter().copied()).collect()
}

/// What an event says, apart from where it is.
type Said = (Option<Vec<u8>>, Vec<u8>, Option<Vec<u8>>, Option<u64>);

fn said(frames: &[u8]) -> Vec<Said> {
    sse::events(frames)
        .filter(|event| !event.is_comment)
        .map(|event| {
            let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
            (owned(event.name), event.data.into_owned(), owned(event.id), event.retry_ms)
        })
        .collect()
}

fn sse_stream() -> impl Strategy<Value = Vec<u8>> {
    let end = prop::sample::select(vec!["\n", "\r\n", "\r"]);
    let line = prop::sample::select(vec![
        "data: {\"a\":1}",
        "data:x",
        "data",
        "data: ",
        ": comment",
        "event: ping",
        "id: 7",
        "retry: 10",
        "\u{feff}data: bom",
        "mögliche: zeile",
        "",
        "",
    ]);
    prop::collection::vec((line, end), 0..40).prop_map(|lines| {
        lines.into_iter().flat_map(|(line, end)| [line, end]).collect::<String>().into_bytes()
    })
}

fn cuts() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(0_usize..2000, 0..60)
}

#[test]
fn whole_frames_are_slices_of_the_chunk() {
    let chunk = Bytes::from_static(b"data: 1\n\ndata: 2\n\ndata: 3");
    let mut framer = Framer::new(Framing::Sse, BYTES_MAX);
    let events = framer.push(chunk.clone()).unwrap().unwrap();
    assert_eq!(events, &chunk[..18]);
    assert_eq!(events.as_ptr(), chunk.as_ptr());
    assert_eq!(framer.pending_bytes(), 7);
    assert_eq!(framer.push(Bytes::from_static(b"\n")).unwrap(), None);
    assert_eq!(framer.push(Bytes::from_static(b"\n: x")).unwrap().unwrap(), "data: 3\n\n");
    assert_eq!(framer.finish().unwrap(), ": x");
    assert_eq!(framer.finish(), None);
}

#[test]
fn a_frame_that_is_too_long_is_refused_behind_those_that_are_not() {
    let mut framer = Framer::new(Framing::Sse, 8);
    let chunk = Bytes::from_static(b"data: a\n\ndata: 123");
    assert_eq!(framer.push(chunk).unwrap().unwrap(), "data: a\n\n");
    let too_large = FrameError::TooLarge { frame_bytes_max: 8 };
    assert_eq!(framer.failed(), Some(too_large));
    assert_eq!(framer.push(Bytes::from_static(b"4\n\n")), Err(too_large));
}

#[test]
fn a_frame_is_too_long_however_it_is_cut() {
    let mut framer = Framer::new(Framing::Sse, 8);
    for _ in 0..8 {
        assert_eq!(framer.push(Bytes::from_static(b"x")), Ok(None));
    }
    assert!(framer.push(Bytes::from_static(b"x")).is_err());
}

#[test]
fn a_cut_between_cr_and_lf_delays_nothing() {
    let mut framer = Framer::new(Framing::Sse, BYTES_MAX);
    let first = framer.push(Bytes::from_static(b"data: 1\r\n\r")).unwrap().unwrap();
    assert_eq!(first, "data: 1\r\n\r");
    let second = framer.push(Bytes::from_static(b"\ndata: 2\r\n")).unwrap().unwrap();
    assert_eq!(second, "\n");
    let third = framer.push(Bytes::from_static(b"\r\n")).unwrap().unwrap();
    assert_eq!(third, "data: 2\r\n\r\n");
}

#[test]
fn opaque_streams_pass_at_once() {
    let (runs, rest) = run(Framing::Opaque, b"abc", &[1]);
    assert_eq!(runs, ["a", "bc"]);
    assert_eq!(rest, None);
}

#[test]
fn an_array_is_forwarded_element_by_element() {
    let (runs, rest) =
        run(Framing::JsonArray, b"[{\"a\":\"]}\\\"\"}\n,\r\n{}\n]\n", &[1, 12, 15, 20]);
    assert_eq!(runs, ["[{\"a\":\"]}\\\"\"}", "\n,\r\n{}", "\n]\n"]);
    assert_eq!(rest, None);
}

#[test]
fn what_is_not_an_array_is_malformed() {
    let mut framer = Framer::new(Framing::JsonArray, BYTES_MAX);
    assert!(matches!(framer.push("<html>".into()), Err(FrameError::Malformed { .. })));
}

#[test]
fn a_message_with_a_broken_prelude_is_malformed() {
    let mut bytes = eventstream::encode(&[(":event-type", "x")], b"{}");
    let good = bytes.len();
    bytes.extend_from_slice(&[0; 16]);
    let mut framer = Framer::new(Framing::AwsEventStream, BYTES_MAX);
    assert_eq!(framer.push(bytes.into()).unwrap().unwrap().len(), good);
    assert!(matches!(framer.failed(), Some(FrameError::Malformed { .. })));
}

proptest! {
    #[test]
    fn sse_is_the_same_for_any_cutting(stream in sse_stream(), cuts in cuts()) {
        let (runs, rest) = run(Framing::Sse, &stream, &cuts);
        prop_assert_eq!(&joined(&runs, rest.as_ref()), &stream);
        let (whole, whole_rest) = run(Framing::Sse, &stream, &[]);
        prop_assert_eq!(rest, whole_rest);
        let pieces: Vec<Said> = runs.iter().flat_map(|frames| said(frames)).collect();
        let at_once: Vec<Said> = whole.iter().flat_map(|frames| said(frames)).collect();
        prop_assert_eq!(pieces, at_once);
        for frames in &runs {
            let mut at = 0;
            for event in sse::events(frames) {
                prop_assert!(event.complete);
                prop_assert_eq!(event.span.start, at);
                at = event.span.end;
            }
            prop_assert_eq!(at, frames.len());
        }
    }

    #[test]
    fn the_event_stream_is_the_same_for_any_cutting(
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8),
        cuts in cuts(),
        missing in 0_usize..20,
    ) {
        let mut stream: Vec<u8> = payloads
            .iter()
            .flat_map(|payload| eventstream::encode(&[(":event-type", "delta")], payload))
            .collect();
        stream.truncate(stream.len().saturating_sub(missing));
        let (runs, rest) = run(Framing::AwsEventStream, &stream, &cuts);
        prop_assert_eq!(&joined(&runs, rest.as_ref()), &stream);
        let mut expected = payloads.iter();
        for frames in &runs {
            for message in eventstream::messages(frames) {
                prop_assert_eq!(message.unwrap().payload, expected.next().unwrap());
            }
        }
        let left = expected.len();
        prop_assert!(left <= 1 && (left == 0) == rest.is_none());
    }

    #[test]
    fn an_array_is_the_same_for_any_cutting(
        texts in prop::collection::vec("[\\[\\]{}\",\\\\ aä]{0,12}", 0..8),
        separator in prop::sample::select(vec![",", "\n,\r\n", " , "]),
        cuts in cuts(),
    ) {
        let elements: Vec<String> = texts
            .iter()
            .map(|text| serde_json::json!({"t": [text, {"n": 1}]}).to_string())
            .collect();
        let stream = format!("[{}\n]\n", elements.join(separator)).into_bytes();
        let (runs, rest) = run(Framing::JsonArray, &stream, &cuts);
        prop_assert_eq!(&joined(&runs, rest.as_ref()), &stream);
        prop_assert_eq!(rest, None);
        let found: Vec<String> = runs
            .iter()
            .flat_map(|frames| jsonarray::elements(frames))
            .map(|element| String::from_utf8(element.raw.to_vec()).unwrap())
            .collect();
        prop_assert_eq!(found, elements);
    }

    #[test]
    fn no_framing_panics_or_loses_bytes(
        stream in prop::collection::vec(any::<u8>(), 0..200),
        framing in prop::sample::select(vec![
            Framing::Sse, Framing::AwsEventStream, Framing::JsonArray, Framing::Opaque,
        ]),
        chunk_bytes in 1_usize..50,
    ) {
        let mut framer = Framer::new(framing, 64);
        let mut out = Vec::new();
        for chunk in stream.chunks(chunk_bytes) {
            match framer.push(Bytes::copy_from_slice(chunk)) {
                Ok(frames) => out.extend(frames.into_iter().flatten()),
                Err(_) => break,
            }
            prop_assert!(framer.pending_bytes() <= 64);
        }
        out.extend(framer.finish().into_iter().flatten());
        prop_assert!(stream.starts_with(&out));
        prop_assert!(framer.failed().is_some() || out.len() == stream.len());
    }
}
