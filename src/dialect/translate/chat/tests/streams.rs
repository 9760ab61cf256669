//! Streams: recorded ones of every format, to every other, in any cutting.

use proptest::prelude::*;

use super::*;
use crate::dialect::{StreamObserver, TextSink, Usage};
use crate::wire::frame::Framer;
use crate::wire::{eventstream, sse};

/// A stream of each format that says what it is drawn from.
pub(super) const CITED: [(Format, &str); 6] = [
    (Format::Chat, "openai/chat_cited.sse"),
    (Format::Responses, "openai/responses_cited.sse"),
    (Format::Anthropic, "anthropic/cited.sse"),
    (Format::Gemini, "gemini/cited.sse"),
    (Format::Cohere, "cohere/cited.sse"),
    (Format::Bedrock, "bedrock/cited.events"),
];

/// A recorded stream of each format that says, thinks or calls something.
pub(super) fn recordings() -> Vec<(Format, &'static str, Vec<u8>)> {
    let files = [
        (Format::Chat, "openai/chat_text.sse"),
        (Format::Chat, "openai/chat_usage.sse"),
        (Format::Chat, "openai/chat_tools.sse"),
        (Format::Chat, "openai/chat_reasoning.sse"),
        (Format::Chat, "openai/chat_surrogates.sse"),
        (Format::Chat, "openai/chat_refusal.sse"),
        (Format::Responses, "openai/responses_text.sse"),
        (Format::Responses, "openai/responses_tool.sse"),
        (Format::Responses, "openai/responses_refusal.sse"),
        (Format::Anthropic, "anthropic/text.sse"),
        (Format::Anthropic, "anthropic/tool.sse"),
        (Format::Anthropic, "anthropic/thinking.sse"),
        (Format::Gemini, "gemini/text.sse"),
        (Format::Gemini, "gemini/tool.sse"),
        (Format::Gemini, "gemini/thinking.sse"),
        (Format::Cohere, "cohere/text.sse"),
        (Format::Cohere, "cohere/tool.sse"),
        (Format::Cohere, "cohere/thinking.sse"),
        (Format::Bedrock, "bedrock/text.events"),
        (Format::Bedrock, "bedrock/tool.events"),
    ];
    files
        .into_iter()
        .chain(CITED)
        .map(|(format, name)| (format, name, recorded(format, name)))
        .collect()
}

/// A recorded stream as it is on the wire.
pub(super) fn recorded(format: Format, name: &str) -> Vec<u8> {
    let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    let bytes = std::fs::read(path).expect("a recording");
    if format == Format::Bedrock { encoded(&bytes) } else { bytes }
}

/// Lines of message type, event type and payload, as messages of the event stream.
fn encoded(lines: &[u8]) -> Vec<u8> {
    let lines = std::str::from_utf8(lines).expect("text").lines();
    lines
        .flat_map(|line| {
            let mut words = line.splitn(3, ' ');
            let mut word = || words.next().expect("three words");
            let (kind, name, payload) = (word(), word(), word());
            let headers = [(":message-type", kind), (":event-type", name)];
            eventstream::encode(&headers, payload.as_bytes())
        })
        .collect()
}

pub(super) fn framing(format: Format) -> Framing {
    if format == Format::Bedrock { Framing::AwsEventStream } else { Framing::Sse }
}

/// Translates a stream that arrives in these pieces, to its end.
pub(super) fn translated<'p>(pair: ChatPair, pieces: impl Iterator<Item = &'p [u8]>) -> Vec<u8> {
    let framing = framing(pair.upstream);
    let mut framer = Framer::new(framing, 1 << 20);
    let mut translator = pair.stream(framing, client(pair.client));
    let mut out = Vec::new();
    for piece in pieces {
        if let Some(frames) = framer.push(piece.to_vec().into()).expect("frames") {
            out.extend_from_slice(&translator.push(&frames));
        }
    }
    if let Some(rest) = framer.finish() {
        out.extend_from_slice(&translator.push(&rest));
    }
    out.extend_from_slice(&translator.finish());
    out
}

/// Whether a client takes a stream for a complete answer.
pub(super) fn ends_well(format: Format, out: &[u8]) -> bool {
    let text = String::from_utf8_lossy(out);
    match format {
        Format::Chat => text.ends_with("data: [DONE]\n\n") && !text.contains("\"error\":{"),
        Format::Responses => {
            text.contains("event: response.completed")
                || text.contains("event: response.incomplete")
        }
        Format::Anthropic => text.contains("event: message_stop"),
        Format::Gemini => text.contains("\"finishReason\""),
        Format::Cohere => text.contains("message-end") && !text.contains("\"ERROR\""),
        Format::Bedrock => text.contains("messageStop"),
    }
}

#[test]
fn every_recording_in_every_other_format() {
    for (upstream, name, bytes) in recordings() {
        for format in Format::ALL.into_iter().filter(|format| *format != upstream) {
            let out = translated(pair(format, upstream), std::iter::once(&bytes[..]));
            assert!(
                ends_well(format, &out),
                "{name} to {format}: {}",
                String::from_utf8_lossy(&out)
            );
            well_formed(format, &out);
        }
    }
}

/// Everything that a stream says, and what it says was used.
#[derive(Debug, Default, PartialEq)]
struct Said(String, Option<Usage>);

impl TextSink for Said {
    fn text(&mut self, _channel: u32, text: &str) {
        // Between the tokens of arguments, a line break may have become a space.
        self.0.push_str(&text.replace('\n', " "));
    }
}

fn said(format: Format, stream: &[u8]) -> Said {
    let framing = framing(format);
    let mut observer = StreamObserver::new(format.endpoint(true), format.dialect(), framing, false);
    let mut said = Said::default();
    observer.observe(&stream.to_vec().into(), &mut said);
    assert!(observer.finished(), "{format}: {}", String::from_utf8_lossy(stream));
    said.1 = observer.usage();
    said
}

#[test]
fn a_recording_says_the_same_there_and_back_again() {
    for (from, name, bytes) in recordings() {
        for to in Format::ALL.into_iter().filter(|to| *to != from) {
            let there = translated(pair(to, from), std::iter::once(&bytes[..]));
            let back = translated(pair(from, to), std::iter::once(&there[..]));
            let (first, middle, last) = (said(from, &bytes), said(to, &there), said(from, &back));
            assert_eq!(middle.0, first.0, "{name} to {to}");
            assert_eq!(last.0, first.0, "{name} to {to} and back");
            let tokens = |said: &Said| said.1.map(|used| (used.input, used.output));
            if let Some(used) = tokens(&first) {
                assert_eq!(tokens(&middle), Some(used), "{name} to {to}");
                assert_eq!(tokens(&last), Some(used), "{name} to {to} and back");
            }
        }
    }
}

fn well_formed(format: Format, out: &[u8]) {
    let valid = |data: &[u8]| {
        json::validate(data, json::Limits { depth_max: json::DEPTH_MAX }).is_ok()
            || data == b"[DONE]"
    };
    if format == Format::Bedrock {
        assert!(eventstream::messages(out).all(|message| valid(message.expect("sound").payload)));
    } else {
        for event in sse::events(out) {
            let shown = String::from_utf8_lossy(&event.data);
            assert!(event.complete && valid(&event.data), "{format}: {shown}");
        }
    }
}

#[test]
fn a_stream_that_is_cut_anywhere_does_not_end_well() {
    for (upstream, name, bytes) in recordings() {
        let mut framer = Framer::new(framing(upstream), 1 << 20);
        // Where each frame ends.
        let mut ends = Vec::new();
        for at in 0..bytes.len() {
            if framer.push(bytes[at..=at].to_vec().into()).expect("frames").is_some() {
                ends.push(at + 1);
            }
        }
        for format in Format::ALL.into_iter().filter(|format| *format != upstream) {
            let whole = translated(pair(format, upstream), std::iter::once(&bytes[..]));
            for end in &ends {
                let out = translated(pair(format, upstream), std::iter::once(&bytes[..*end]));
                well_formed(format, &out);
                // Behind the reason why it ended nothing is missing but the usage.
                let finished = ends_well(format, &out);
                let reason = String::from_utf8_lossy(&bytes[..*end]).contains("top_reason\":\"")
                    || has_reason(upstream, &bytes[..*end]);
                assert!(!finished || reason, "{name} to {format} cut at {end}");
                if *end == bytes.len() {
                    assert_eq!(out, whole);
                }
            }
        }
    }
}

/// What is settled and what the client gets: a stream that is complete for the observer is for the
/// translator, wherever it is cut.
#[test]
fn an_answer_that_is_settled_as_complete_is_complete_for_the_client() {
    let candidates = "gemini/candidates.sse";
    let two = (Format::Gemini, candidates, recorded(Format::Gemini, candidates));
    for (upstream, name, bytes) in recordings().into_iter().chain([two]) {
        for end in 0..=bytes.len() {
            let mut framer = Framer::new(framing(upstream), 1 << 20);
            let frames = framer.push(bytes[..end].to_vec().into()).expect("frames");
            if end < bytes.len()
                && framer.push(bytes[end..=end].to_vec().into()).is_ok_and(|next| next.is_none())
            {
                // In the middle of a frame.
                continue;
            }
            let frames = frames.unwrap_or_default();
            let dialect = upstream.dialect();
            let mut observer =
                StreamObserver::new(upstream.endpoint(true), dialect, framing(upstream), false);
            observer.observe(&frames, &mut Said::default());
            for format in Format::ALL.into_iter().filter(|format| *format != upstream) {
                let out = translated(pair(format, upstream), std::iter::once(&frames[..]));
                let whole = ends_well(format, &out) && !failed(format, &out);
                assert!(whole || !observer.finished(), "{name} to {format} cut at {end}");
            }
        }
    }
}

/// Whether a client is told of an error.
fn failed(format: Format, out: &[u8]) -> bool {
    let text = String::from_utf8_lossy(out);
    let word = match format {
        Format::Chat | Format::Gemini => "\"error\":{",
        Format::Responses | Format::Anthropic => "event: error",
        Format::Cohere => "\"ERROR\"",
        Format::Bedrock => "exception",
    };
    text.contains(word)
}

/// Whether a stream has said why it ends.
fn has_reason(format: Format, bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    match format {
        Format::Chat => {
            text.contains("\"finish_reason\":\"") || text.contains("\"finish_reason\": \"")
        }
        Format::Gemini => text.contains("finishReason"),
        Format::Bedrock => text.contains("stopReason"),
        Format::Responses => {
            text.contains("response.completed") || text.contains("response.incomplete")
        }
        Format::Cohere => text.contains("message-end"),
        Format::Anthropic => false,
    }
}

#[test]
fn half_a_character_waits_for_its_other_half() {
    let chunk = |text: &str, end: &str| {
        format!(
            "data: {{\"id\":\"1\",\"model\":\"m\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}},\"finish_reason\":{end}}}]}}\n\n"
        )
    };
    let stream = |parts: &[(&str, &str)]| {
        parts.iter().map(|(text, end)| chunk(text, end)).collect::<String>() + "data: [DONE]\n\n"
    };
    let to = |parts: &[(&str, &str)]| {
        let bytes = stream(parts);
        let out =
            translated(pair(Format::Anthropic, Format::Chat), std::iter::once(bytes.as_bytes()));
        String::from_utf8(out).expect("UTF-8")
    };
    let whole = to(&[("a\\ud83d", "null"), ("\\ude00b", "null"), ("", "\"stop\"")]);
    assert!(whole.contains("\"text\":\"a\"") && whole.contains("\"text\":\"😀b\""), "{whole}");
    let lone = to(&[("a\\ud83d", "null"), ("b", "null"), ("", "\"stop\"")]);
    assert!(lone.contains("\"text\":\"\u{FFFD}b\""), "{lone}");
    let last = to(&[("a\\ud83d", "null"), ("", "\"stop\"")]);
    assert!(last.contains("\"text\":\"\u{FFFD}\""), "{last}");
}

#[test]
fn a_call_that_is_gone_back_to_breaks_the_stream() {
    let call = |index: u32, rest: &str| {
        format!(
            "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"tool_calls\":[{{\"index\":{index},{rest}}}]}}}}]}}\n\n"
        )
    };
    let open =
        |index| call(index, "\"id\":\"x\",\"function\":{\"name\":\"f\",\"arguments\":\"{\"}");
    let more = |index| call(index, "\"function\":{\"arguments\":\"}\"}");
    let bytes = [open(0), open(1), more(0)].concat();
    let out = translated(pair(Format::Anthropic, Format::Chat), std::iter::once(bytes.as_bytes()));
    let text = String::from_utf8(out).expect("UTF-8");
    assert!(text.contains("event: error") && !text.contains("message_stop"), "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_cutting_says_the_same(cuts in proptest::collection::vec(1_usize..200, 1..40)) {
        for (upstream, name, bytes) in recordings() {
            for format in Format::ALL.into_iter().filter(|format| *format != upstream) {
                let whole = translated(pair(format, upstream), std::iter::once(&bytes[..]));
                let mut rest = &bytes[..];
                let mut sizes = cuts.iter().cycle();
                let pieces = std::iter::from_fn(|| {
                    let size = (*sizes.next()?).min(rest.len());
                    let (piece, behind) = rest.split_at(size);
                    rest = behind;
                    (!piece.is_empty()).then_some(piece)
                });
                let cut = translated(pair(format, upstream), pieces);
                prop_assert!(whole == cut, "{} to {}", name, format);
            }
        }
    }

    #[test]
    fn nothing_makes_a_translator_panic(
        frames in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..120), 0..6),
    ) {
        for pair in pairs() {
            let mut translator = pair.stream(framing(pair.upstream), client(pair.client));
            for frame in &frames {
                translator.push(frame);
                translator.push(&[b"data: ", &frame[..], b"\n\n"].concat());
            }
            well_formed(pair.client, &translator.finish());
        }
    }
}
