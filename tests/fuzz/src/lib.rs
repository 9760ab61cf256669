//! What must hold for any input. Run by the fuzz targets, and by a plain test over their corpora.

mod grammar;
mod translate;
mod vectors;

use std::fmt::Debug;

use bytes::Bytes;
use serde::de::IgnoredAny;
use weir::plan::{self, Environment, Source};
use weir::wire::frame::{Framer, Framing};
use weir::wire::json::{self, Edit, Kind, Limits, Value};
use weir::wire::{eventstream, http1, jsonarray, sse, websocket};

pub use translate::{answer, request, stream};
pub use vectors::vectors;

const FRAME_BYTES_MAX: usize = 1 << 20;
/// Lengths of the chunks that a stream is cut into.
const CHUNK_BYTES: [usize; 6] = [usize::MAX, 1, 2, 3, 7, 64];

/// The framer's output for one way of cutting: runs of frames, the rest, and whether it failed.
struct Framed {
    runs: Vec<Bytes>,
    rest: Option<Bytes>,
    failed: bool,
}

fn framed(framing: Framing, stream: &[u8], chunk_bytes: usize) -> Framed {
    let mut framer = Framer::new(framing, FRAME_BYTES_MAX);
    let mut runs = Vec::new();
    let stream = Bytes::copy_from_slice(stream);
    let mut rest = stream.clone();
    while !rest.is_empty() && framer.failed().is_none() {
        let chunk = rest.split_to(chunk_bytes.min(rest.len()));
        runs.extend(framer.push(chunk).into_iter().flatten());
    }
    let rest = framer.finish();
    let joined: Vec<u8> = runs.iter().chain(&rest).flatten().copied().collect();
    assert!(stream.starts_with(&joined), "the bytes changed");
    let failed = framer.failed().is_some();
    assert!(failed || joined.len() == stream.len(), "bytes were lost");
    Framed { runs, rest, failed }
}

/// Every way of cutting a stream gives the same `items`, the same rest and the same verdict.
fn same_for_any_cutting<T: Debug + PartialEq>(
    framing: Framing,
    stream: &[u8],
    items: impl Fn(&[u8]) -> Vec<T>,
) {
    let mut expected = None;
    for chunk_bytes in CHUNK_BYTES {
        let Framed { runs, rest, failed } = framed(framing, stream, chunk_bytes);
        let found: Vec<T> = runs.iter().flat_map(|frames| items(frames)).collect();
        let rest = (!failed).then_some(rest);
        let (items, expected_rest, expected_failed) =
            expected.get_or_insert_with(|| (items(&runs.concat()), rest.clone(), failed));
        assert_eq!(&found, items, "chunks of {chunk_bytes}");
        assert_eq!(&rest, expected_rest, "chunks of {chunk_bytes}");
        assert_eq!(&failed, expected_failed, "chunks of {chunk_bytes}");
    }
}

/// A response of HTTP/1.1.
pub fn http1(stream: &[u8]) {
    let read = |chunk_bytes: usize, by_run: bool| {
        let take = if by_run { http1::Decoder::body_run } else { http1::Decoder::body };
        let mut decoder = http1::Decoder::default();
        let (mut buffer, mut head, mut body) = (Bytes::new(), None, Vec::new());
        for chunk in stream.chunks(chunk_bytes.min(stream.len()).max(1)) {
            http1::append(&mut buffer, Bytes::copy_from_slice(chunk));
            if head.is_none() {
                let Ok(read) = decoder.head(&mut buffer, false) else { return None };
                head = read.map(|head| (head.status, head.headers));
            }
            while head.is_some() {
                match take(&mut decoder, &mut buffer) {
                    Ok(http1::Part::Data(data)) => {
                        assert!(!data.is_empty(), "a part has something in it");
                        body.extend_from_slice(&data);
                    }
                    Ok(http1::Part::Incomplete | http1::Part::End) => break,
                    Err(_) => return None,
                }
            }
        }
        Some((head, body, decoder.is_done(), decoder.keeps()))
    };
    let whole = read(usize::MAX, false);
    for chunk_bytes in CHUNK_BYTES.into_iter().chain([usize::MAX]) {
        for by_run in [false, true] {
            assert_eq!(read(chunk_bytes, by_run), whole, "chunks of {chunk_bytes}");
        }
    }
}

/// A stream of server-sent events.
pub fn sse(stream: &[u8]) {
    same_for_any_cutting(Framing::Sse, stream, |frames| {
        let mut at = 0;
        let mut said = Vec::new();
        for event in sse::events(frames) {
            assert_eq!(event.span.start, at, "events lie side by side");
            assert!(event.complete, "a run holds whole frames");
            at = event.span.end;
            if !event.is_comment {
                let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
                let data = event.data.into_owned();
                said.push((owned(event.name), data, owned(event.id), event.retry_ms));
            }
        }
        assert_eq!(at, frames.len(), "events cover the run");
        said
    });
    sse::events(stream).for_each(drop);
}

/// A stream of messages of the AWS event stream.
pub fn eventstream(stream: &[u8]) {
    same_for_any_cutting(Framing::AwsEventStream, stream, |frames| {
        eventstream::messages(frames)
            .map(|message| {
                let message = message.map_err(|error| error.reason)?;
                let text = |header: eventstream::Header<'_>| {
                    header.as_str().map(|value| (header.name.to_owned(), value.to_owned()))
                };
                let headers: Option<Vec<_>> = message.headers().flatten().map(text).collect();
                if let Some(headers) = &headers {
                    let headers: Vec<(&str, &str)> =
                        headers.iter().map(|(name, value)| (&name[..], &value[..])).collect();
                    if headers.iter().all(|(_, value)| value.len() < 32_768) {
                        let again = eventstream::encode(&headers, message.payload);
                        assert_eq!(again, &frames[message.span.clone()]);
                    }
                }
                Ok::<_, &str>((headers, message.payload.to_vec()))
            })
            .collect()
    });
    eventstream::messages(stream).for_each(drop);
}

/// A streamed JSON array.
pub fn jsonarray(stream: &[u8]) {
    // Only of a valid array do the frames mean anything.
    if json::validate(stream, Limits { depth_max: json::DEPTH_MAX }).is_ok() {
        let items = json::lazy(stream).items().map(|item| item.raw().to_vec()).collect::<Vec<_>>();
        same_for_any_cutting(Framing::JsonArray, stream, |frames| {
            jsonarray::elements(frames).map(|element| element.raw.to_vec()).collect()
        });
        if json::lazy(stream).kind() == Some(Kind::Array) {
            let found = jsonarray::elements(stream).map(|element| element.raw.to_vec());
            assert_eq!(found.collect::<Vec<_>>(), items);
        }
    } else {
        for chunk_bytes in CHUNK_BYTES {
            framed(Framing::JsonArray, stream, chunk_bytes);
        }
        jsonarray::elements(stream).for_each(drop);
    }
}

/// One direction of a WebSocket connection.
pub fn websocket(stream: &[u8]) {
    let mut expected = None;
    for chunk_bytes in CHUNK_BYTES {
        let mut reader = websocket::Reader::new(1000);
        let mut heard = Vec::new();
        let mut failed = false;
        for chunk in stream.chunks(chunk_bytes) {
            failed |= reader.push(chunk, |message| heard.push(format!("{message:?}"))).is_err();
        }
        let found = (heard, failed, reader.at_boundary());
        assert_eq!(expected.get_or_insert_with(|| found.clone()), &found);
    }
}

/// A JSON document.
pub fn json(document: &[u8]) {
    walk(json::lazy(document), 0);
    let limits = Limits { depth_max: json::DEPTH_MAX };
    let verdict = json::validate(document, limits);
    let text = std::str::from_utf8(document);
    let expected = text.is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok());
    match verdict {
        Ok(value) => {
            assert!(expected, "accepted what is not JSON");
            assert_eq!(&document[value.span()], value.raw());
            // Another implementation's tree, where it agrees to build one: it refuses numbers beyond
            // what a float holds, half surrogate pairs, and more than 128 levels.
            if let Ok(tree) = serde_json::from_slice::<serde_json::Value>(document) {
                assert_same(value, &tree);
            }
        }
        Err(error) => {
            assert!(!expected || error.reason == "nested too deep", "refused JSON: {error}");
            assert!(error.offset <= document.len() && error.line > 0 && error.column > 0);
        }
    }
    if let Ok(object) = json::object(document, limits) {
        let body = Bytes::copy_from_slice(document);
        let mut edits: Vec<Edit> = object
            .members()
            .map(|member| Edit { span: member.value.span(), with: Bytes::from_static(b"[1]") })
            .collect();
        let replaced = edits.len();
        edits.push(object.insert("a\n", "null"));
        let spliced = json::splice(&body, &mut edits).into_bytes();
        let spliced = json::validate(&spliced, limits).expect("still JSON");
        assert_eq!(
            spliced.members().filter(|member| member.value.raw() == b"[1]").count(),
            replaced
        );
        assert!(spliced.members().last().is_some_and(|member| member.is("a\n")));
    }
}

/// Reads everything there is; ends on garbage.
fn walk(value: Value<'_>, depth: u32) {
    let _ = (value.as_bool(), value.as_u64(), value.as_f64(), value.find(&["a", "0"]));
    if let Some(text) = value.as_str() {
        let mut quoted = Vec::new();
        json::quote(&text, &mut quoted);
        assert_eq!(json::lazy(&quoted).as_str().as_deref(), Some(&*text));
    }
    if depth < 64 {
        value.items().for_each(|item| walk(item, depth + 1));
        value.members().for_each(|member| walk(member.value, depth + 1));
    }
}

/// The accessors see what a tree holds.
fn assert_same(value: Value<'_>, tree: &serde_json::Value) {
    match tree {
        serde_json::Value::Null => assert!(value.is_null()),
        serde_json::Value::Bool(expected) => assert_eq!(value.as_bool(), Some(*expected)),
        serde_json::Value::Number(expected) => {
            assert_eq!(value.kind(), Some(Kind::Number));
            assert_eq!(value.as_u64(), expected.as_u64());
        }
        serde_json::Value::String(expected) => {
            assert_eq!(value.as_str().as_deref(), Some(&expected[..]));
        }
        serde_json::Value::Array(expected) => {
            assert_eq!(value.items().count(), expected.len());
            value.items().zip(expected).for_each(|(item, tree)| assert_same(item, tree));
        }
        serde_json::Value::Object(expected) => {
            for (key, tree) in expected {
                // The tree holds the last of several members with one key.
                let member = value.members().filter(|member| member.is(key)).last();
                assert_same(member.expect("there").value, tree);
            }
        }
    }
}

/// A configuration is answered whatever it holds: with a plan, or with errors of one line each,
/// all of which have a place in it.
pub fn config(text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    let found = Source::parse("fuzz.yaml", &text)
        .and_then(|source| plan::compile(&source, &Environment::default(), None));
    let Err(found) = found else { return };
    assert!(!found.is_empty(), "refused without a word");
    let lines = text.split(['\n', '\r']).count();
    for diagnostic in found {
        assert!(diagnostic.at.line as usize <= lines, "{diagnostic}: of {lines} lines");
        assert!(!diagnostic.message.contains('\n'), "{diagnostic}");
    }
}
