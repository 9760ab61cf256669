//! Streams that end before their time, at every place where they could: forwarded and translated.

use super::streams::recordings;
use super::*;
use crate::dialect::{Ending, NoText, StreamObserver, Usage};
use crate::wire::frame::{Framer, each};

const USAGE: Usage = Usage {
    input: 11,
    output: 7,
    cached_input: 0,
    cache_creation_5m: 0,
    cache_creation_1h: 0,
    reasoning: 0,
    audio_input: 0,
    audio_output: 0,
};

/// What each format calls the greatest length.
fn length(format: Format) -> &'static str {
    match format {
        Format::Chat => "length",
        Format::Responses => "incomplete",
        Format::Anthropic | Format::Bedrock => "max_tokens",
        Format::Gemini | Format::Cohere => "MAX_TOKENS",
    }
}

fn framing(format: Format) -> Framing {
    if format == Format::Bedrock { Framing::AwsEventStream } else { Framing::Sse }
}

fn observer(format: Format) -> StreamObserver {
    StreamObserver::new(format.endpoint(true), format.dialect(), framing(format), false)
}

fn frames(format: Format, bytes: &[u8]) -> Vec<Bytes> {
    let mut framer = Framer::new(framing(format), 1 << 20);
    let run = framer.push(bytes.to_vec().into()).expect("frames").expect("whole ones");
    assert_eq!(framer.pending_bytes(), 0, "whole frames only");
    each(framing(format), &run)
}

/// Reads a stream as its client gets it: complete, for the reason of length, with the usage.
fn check(name: &str, format: Format, bytes: &[u8]) {
    let mut observer = observer(format);
    let shown = String::from_utf8_lossy(bytes);
    for frame in frames(format, bytes) {
        let observed = observer.observe(&frame, &mut NoText);
        assert_eq!(observed.not_understood, 0, "{name}: {shown}");
        assert!(observed.error.is_none(), "{name}: {shown}");
    }
    assert!(observer.finished(), "{name}: {shown}");
    assert_eq!(observer.finish_reason(), Some(length(format)), "{name}: {shown}");
    let usage = observer.usage().expect("a usage");
    assert_eq!((usage.input, usage.output), (USAGE.input, USAGE.output), "{name}: {shown}");
}

#[test]
fn a_forwarded_stream_can_end_in_front_of_every_frame() {
    let mut cuts = 0;
    for (format, name, bytes) in recordings() {
        let frames = frames(format, &bytes);
        let mut whole = observer(format);
        for at in 0..frames.len() {
            let content = whole.finish_reason().is_none() && {
                let before = whole.observe(&frames[at], &mut NoText);
                before.content && whole.finish_reason().is_none()
            };
            // A stream is only cut in front of a frame with text of it.
            if at == 0 || !content {
                continue;
            }
            let mut guarded = observer(format).may_be_cut();
            let mut said = false;
            for frame in &frames[..at] {
                said |= guarded.observe(frame, &mut NoText).content;
            }
            if !said {
                continue;
            }
            guarded.observe(&frames[at], &mut NoText);
            let ending = Ending { usage: USAGE, wants_usage: true, request_id: "req_1" };
            let end = guarded.cut(ending).expect("it was prepared");
            let given = [frames[..at].concat(), end.to_vec()].concat();
            check(&format!("{name} at {at}"), format, &given);
            cuts += 1;
        }
    }
    assert!(cuts > 80, "{cuts}");
}

#[test]
fn a_translated_stream_can_end_in_front_of_every_frame() {
    let mut cuts = 0;
    for (upstream, name, bytes) in recordings() {
        let frames = frames(upstream, &bytes);
        for format in Format::ALL.into_iter().filter(|format| *format != upstream) {
            for at in 1..frames.len() {
                let mut seen = observer(upstream);
                let mut said = false;
                for frame in &frames[..at] {
                    said |= seen.observe(frame, &mut NoText).content;
                }
                if !said || seen.finish_reason().is_some() {
                    continue;
                }
                let stream = pair(format, upstream).stream(framing(upstream), client(format));
                let mut stream = stream;
                let mut given = Vec::new();
                for frame in &frames[..at] {
                    given.extend_from_slice(&stream.push(frame));
                }
                given.extend_from_slice(&stream.cut(USAGE));
                let shown = String::from_utf8_lossy(&given).into_owned();
                let name = format!("{name} to {format} at {at}");
                let mut observer = observer(format);
                for frame in self::frames(format, &given) {
                    let observed = observer.observe(&frame, &mut NoText);
                    assert_eq!(observed.not_understood, 0, "{name}: {shown}");
                    assert!(observed.error.is_none(), "{name}: {shown}");
                }
                assert_eq!(observer.finish_reason(), Some(length(format)), "{name}: {shown}");
                let usage = observer.usage().expect("a usage");
                assert_eq!((usage.input, usage.output), (11, 7), "{name}: {shown}");
                cuts += 1;
            }
        }
    }
    assert!(cuts > 400, "{cuts}");
}
