//! Streams in `tests/golden/<dialect>/` as the providers send them, what is seen in them, and that
//! it does not matter how the network cuts them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use proptest::prelude::*;
use serde::Serialize;

use super::*;
use crate::dialect::alike::Alike;
use crate::wire::frame::Framer;
use crate::wire::sse;

const FRAME_BYTES_MAX: usize = 1 << 20;

/// What was seen in a whole stream, however it was cut.
#[derive(Debug, Default, PartialEq, Serialize)]
struct Seen {
    texts: BTreeMap<String, String>,
    usage: Option<Usage>,
    prompt_usage: Option<Usage>,
    model: Option<String>,
    finish_reason: Option<String>,
    content: bool,
    tokens_events: u32,
    not_understood: u32,
    error: Option<String>,
    terminal: bool,
    finished: bool,
    /// What was kept from the client.
    withheld: String,
    #[serde(skip)]
    forwarded: Vec<u8>,
}

impl TextSink for Seen {
    fn text(&mut self, channel: u32, text: &str) {
        assert!(!text.is_empty());
        let kind = ["text", "refusal", "tool", "reasoning"][(channel >> 12 & 3) as usize];
        let name = format!("{kind} {}.{}", channel >> 14, channel & 0xfff);
        self.texts.entry(name).or_default().push_str(text);
    }
}

/// One stream of the golden directory.
#[derive(Clone, Debug)]
struct Golden {
    case: PathBuf,
    endpoint: Endpoint,
    dialect: Dialect,
    framing: Framing,
    usage_injected: bool,
    stream: Bytes,
}

fn golden(dialect: Dialect) -> Vec<Golden> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(dialect.as_str());
    let mut cases: Vec<Golden> = std::fs::read_dir(folder)
        .expect("the folder is there")
        .filter_map(|entry| read_golden(dialect, entry.expect("a file").path()))
        .collect();
    cases.sort_by(|a, b| a.case.cmp(&b.case));
    assert!(cases.len() >= 5);
    cases
}

fn read_golden(dialect: Dialect, case: PathBuf) -> Option<Golden> {
    let name = case.file_stem()?.to_str()?.to_owned();
    let content = std::fs::read(&case).expect("can be read");
    let (framing, stream) = match case.extension()?.to_str()? {
        "sse" => (Framing::Sse, Bytes::from(content)),
        "array" => (Framing::JsonArray, Bytes::from(content)),
        "events" => (Framing::AwsEventStream, encoded(&content)),
        _ => return None,
    };
    let endpoint = match (dialect, name.split('_').next()?) {
        (Dialect::OpenAi, "chat") => Endpoint::ChatCompletions,
        (Dialect::OpenAi, "completions") => Endpoint::Completions,
        (Dialect::OpenAi, "responses") => Endpoint::Responses,
        (Dialect::OpenAi, "audio") => Endpoint::Audio,
        (Dialect::OpenAi, _) => Endpoint::Images,
        (Dialect::Anthropic, _) => Endpoint::Messages,
        (Dialect::Gemini, _) => Endpoint::StreamGenerateContent,
        (Dialect::Cohere, _) => Endpoint::CohereChat,
        (Dialect::Bedrock, _) => Endpoint::ConverseStream,
    };
    let usage_injected = name.ends_with("_injected");
    Some(Golden { case, endpoint, dialect, framing, usage_injected, stream })
}

/// Lines of message type, event type and payload, as messages of the event stream.
fn encoded(lines: &[u8]) -> Bytes {
    let lines = std::str::from_utf8(lines).expect("is text");
    let messages = lines.lines().flat_map(|line| {
        let mut words = line.splitn(3, ' ');
        let (kind, name) = (words.next().expect("a type"), words.next().expect("a name"));
        let named = if kind == "event" { ":event-type" } else { ":exception-type" };
        let headers =
            [(":message-type", kind), (named, name), (":content-type", "application/json")];
        eventstream::encode(&headers, words.next().expect("a payload").as_bytes())
    });
    messages.collect()
}

/// Observes a stream that arrives in pieces that end at `cuts`.
fn seen(golden: &Golden, cuts: &[usize]) -> Seen {
    let mut framer = Framer::new(golden.framing, FRAME_BYTES_MAX);
    let mut observer =
        StreamObserver::new(golden.endpoint, golden.dialect, golden.framing, golden.usage_injected);
    let mut seen = Seen::default();
    let mut at = 0;
    for end in cuts.iter().copied().chain([golden.stream.len()]) {
        let end = end.clamp(at, golden.stream.len());
        if let Some(run) = framer.push(golden.stream.slice(at..end)).expect("frames are small") {
            note(&mut observer, &run, &mut seen);
        }
        at = end;
    }
    if let Some(rest) = framer.finish() {
        note(&mut observer, &rest, &mut seen);
    }
    seen.usage = observer.usage();
    seen.prompt_usage = observer.prompt_usage();
    seen.finished = observer.finished();
    seen.model = observer.response_model().map(str::to_owned);
    seen.finish_reason = observer.finish_reason().map(str::to_owned);
    seen
}

fn note(observer: &mut StreamObserver, run: &Bytes, seen: &mut Seen) {
    let observed = observer.observe(run, seen);
    seen.content |= observed.content;
    seen.tokens_events += observed.tokens_events;
    seen.not_understood += observed.not_understood;
    seen.terminal |= observed.terminal;
    seen.error = seen.error.take().or(observed.error.map(|error| format!("{error:?}")));
    match observed.forward {
        Forward::All => seen.forwarded.extend_from_slice(run),
        Forward::Spans(spans) => {
            let mut at = 0;
            for span in spans {
                seen.withheld.push_str(&String::from_utf8_lossy(&run[at..span.start]));
                seen.forwarded.extend_from_slice(&run[span.clone()]);
                at = span.end;
            }
            seen.withheld.push_str(&String::from_utf8_lossy(&run[at..]));
        }
    }
}

fn check_all(dialect: Dialect) {
    for golden in golden(dialect) {
        let whole = seen(&golden, &[]);
        let name = golden.case.file_name().and_then(|name| name.to_str()).expect("a name");
        insta::with_settings!({
            snapshot_path => golden.case.parent().expect("a folder"),
            prepend_module_to_snapshot => false,
            omit_expression => true,
        }, {
            insta::assert_json_snapshot!(name, whole);
        });
        if !golden.usage_injected {
            assert_eq!(whole.forwarded, golden.stream, "{name}");
        }
        // Every single cut, and every byte on its own.
        for cut in 1..golden.stream.len() {
            assert_eq!(seen(&golden, &[cut]), whole, "{name} cut at {cut}");
        }
        let bytes: Vec<usize> = (1..golden.stream.len()).collect();
        assert_eq!(seen(&golden, &bytes), whole, "{name} byte by byte");
    }
}

#[test]
fn openai_streams() {
    check_all(Dialect::OpenAi);
}

#[test]
fn anthropic_streams() {
    check_all(Dialect::Anthropic);
}

#[test]
fn gemini_streams() {
    check_all(Dialect::Gemini);
}

#[test]
fn cohere_streams() {
    check_all(Dialect::Cohere);
}

#[test]
fn bedrock_streams() {
    check_all(Dialect::Bedrock);
}

#[test]
fn the_injected_usage_frame_is_the_only_one_withheld() {
    let golden = golden(Dialect::OpenAi);
    let case = |name: &str| {
        let found = golden.iter().find(|golden| golden.case.ends_with(name));
        found.expect("is there").clone()
    };
    let injected = seen(&case("chat_usage_injected.sse"), &[]);
    assert!(injected.withheld.starts_with("data: {") && injected.withheld.ends_with("}\n\n"));
    assert!(injected.withheld.contains(r#""choices":[],"usage":{"prompt_tokens":1117"#));
    let whole = String::from_utf8(case("chat_usage_injected.sse").stream.to_vec()).expect("text");
    assert_eq!(injected.forwarded, whole.replace(&injected.withheld, "").as_bytes());
    // An empty list of choices is no usage frame.
    let azure = Golden { usage_injected: true, ..case("chat_azure.sse") };
    let azure = seen(&azure, &[]);
    assert!(String::from_utf8_lossy(&azure.forwarded).contains("prompt_filter_results"));
    assert!(azure.withheld.contains(r#""completion_tokens":46"#));
}

#[test]
fn a_realtime_socket_adds_up_its_responses() {
    let mut observer =
        StreamObserver::new(Endpoint::Realtime, Dialect::OpenAi, Framing::Opaque, false);
    let mut seen = Seen::default();
    let messages = [
        r#"{"type":"session.created","session":{"id":"sess_1","model":"gpt-realtime"}}"#,
        r#"{"type":"response.output_audio_transcript.delta","output_index":0,"delta":"Hi"}"#,
        r#"{"type":"response.done","response":{"status":"completed","usage":{"input_tokens":10,
            "output_tokens":4,"input_token_details":{"cached_tokens":2,"audio_tokens":5}}}}"#,
        r#"{"type":"response.done","response":{"status":"completed","usage":{"input_tokens":1,
            "output_tokens":2}}}"#,
    ];
    let mut terminal = false;
    for message in messages {
        terminal |= observer.observe_message(message.as_bytes(), &mut seen).terminal;
    }
    let usage = observer.usage().expect("was reported");
    assert_eq!((usage.input, usage.output, usage.cached_input), (11, 6, 2));
    assert_eq!(seen.texts["text 0.0"], "Hi");
    assert!(!terminal);
}

/// How frames are observed one by one.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    /// Each as if it were the first.
    Forgetful,
    Mindful,
    /// Those that pass are not observed in any other way.
    Passing,
}

fn seen_frames(golden: &Golden, frames: &[Bytes], way: Way) -> (Seen, String) {
    let mut observer =
        StreamObserver::new(golden.endpoint, golden.dialect, golden.framing, golden.usage_injected);
    let mut seen = Seen::default();
    for frame in frames {
        if way == Way::Forgetful {
            observer.patterns.alike.forget();
            observer.patterns.strange = events::STRANGE_MAX;
        }
        if way == Way::Passing && observer.passes(frame, &mut seen) {
            seen.content = true;
            seen.tokens_events += 1;
            seen.forwarded.extend_from_slice(frame);
        } else {
            note(&mut observer, frame, &mut seen);
        }
    }
    let remembered = format!("{:?} {:?} {:?}", observer.facts, observer.decoder, observer.texts);
    (seen, remembered)
}

/// An event with something put into one of its strings.
fn with_more(event: &[u8], at: proptest::sample::Index, more: &str) -> Bytes {
    let strings: Vec<usize> = memchr::memmem::find_iter(event, b":\"").map(|at| at + 2).collect();
    if strings.is_empty() {
        return Bytes::copy_from_slice(event);
    }
    let (before, behind) = event.split_at(strings[at.index(strings.len())]);
    Bytes::from([before, more.as_bytes(), behind].concat())
}

#[test]
fn what_is_alike_is_not_read_again() {
    let frame = |text: &str| {
        let choice =
            format!(r#"{{"index":0,"delta":{{"content":"{text}"}},"finish_reason":null}}"#);
        format!("data: {{\"object\":\"chat.completion.chunk\",\"choices\":[{choice}]}}\n\n")
    };
    let mut alike = Alike::default();
    let pattern = frame("a");
    assert_eq!(alike.read(pattern.as_bytes()), None);
    let start = pattern.find("\"a\"").expect("the text") + 1;
    alike.learn(pattern.as_bytes(), start..start + 1, 7);
    let run = [frame("é b"), frame("c")].concat();
    let end = frame("é b").len();
    assert_eq!(alike.read(run.as_bytes()), Some((7, "é b", end)));
    assert_eq!(alike.read(&run.as_bytes()[end..]), Some((7, "c", run.len() - end)));
    let escaped = frame("\\\"b\\n");
    assert_eq!(alike.read(escaped.as_bytes()), Some((7, "\"b\n", escaped.len())));
    let unlike = ["", "\\u00e9", "\\x", "\\", "\"", "\n"]
        .map(frame)
        .into_iter()
        .chain([pattern.replace("null", "1")]);
    for other in unlike {
        assert_eq!(alike.read(other.as_bytes()), None, "{other}");
    }
    alike.forget();
    assert_eq!(alike.read(pattern.as_bytes()), None);
}

fn any_golden() -> impl Strategy<Value = Golden> {
    let all: Vec<Golden> = Dialect::ALL.into_iter().flat_map(golden).collect();
    proptest::sample::select(all)
}

proptest! {
    #[test]
    fn any_cutting_is_seen_alike(
        golden in any_golden(),
        cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..12),
    ) {
        let mut cuts: Vec<usize> =
            cuts.into_iter().map(|cut| cut.index(golden.stream.len())).collect();
        cuts.sort_unstable();
        prop_assert_eq!(seen(&golden, &cuts), seen(&golden, &[]));
    }

    #[test]
    fn what_is_alike_is_seen_as_if_it_were_read(
        golden in any_golden().prop_filter("SSE", |golden| golden.framing == Framing::Sse),
        picks in proptest::collection::vec((
            any::<proptest::sample::Index>(),
            any::<proptest::sample::Index>(),
            proptest::collection::vec("[a-zé ]{0,4}|[a-z\"\\\\\n]{0,3}|\\\\ud83d|\\\\ude00x?", 1..5),
        ), 1..16),
        whole in any::<bool>(),
    ) {
        let events: Vec<&[u8]> =
            sse::events(&golden.stream).filter(|event| event.complete)
                .map(|event| &golden.stream[event.span]).collect();
        let frames: Vec<Bytes> = picks.iter().flat_map(|(event, at, texts)| {
            let event = events[event.index(events.len())];
            texts.iter().map(|text| with_more(event, *at, text))
        }).collect();
        let read = seen_frames(&golden, &frames, Way::Forgetful);
        if whole {
            let run = [Bytes::from(frames.concat())];
            prop_assert_eq!(seen_frames(&golden, &run, Way::Mindful), read);
        } else {
            prop_assert_eq!(&seen_frames(&golden, &frames, Way::Mindful), &read);
            prop_assert_eq!(&seen_frames(&golden, &frames, Way::Passing), &read);
        }
    }

    #[test]
    fn damaged_streams_never_panic(
        golden in any_golden(),
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut stream = golden.stream.to_vec();
        for (at, byte) in damage {
            let at = at.index(stream.len());
            stream[at] = byte;
        }
        let mut observer = StreamObserver::new(
            golden.endpoint, golden.dialect, golden.framing, golden.usage_injected,
        );
        // Straight into the observer: a framer would stop at a broken length.
        observer.observe(&Bytes::from(stream), &mut Seen::default());
    }

    #[test]
    fn garbage_never_panics(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        dialect in proptest::sample::select(&Dialect::ALL[..]),
        endpoint in proptest::sample::select(&Endpoint::ALL[..]),
    ) {
        let frames = Bytes::from(bytes);
        for framing in [Framing::Sse, Framing::AwsEventStream, Framing::JsonArray, Framing::Opaque]
        {
            let mut observer = StreamObserver::new(endpoint, dialect, framing, true);
            observer.observe(&frames, &mut Seen::default());
            observer.observe_message(&frames, &mut Seen::default());
        }
    }
}
