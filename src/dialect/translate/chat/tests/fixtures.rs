//! One representative request, answer and stream of each format, in every other one.

use std::fmt::Write as _;

use super::*;
use crate::wire::eventstream;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/translate");

fn fixture(format: Format) -> Vec<u8> {
    std::fs::read(format!("{ROOT}/{format}.json")).expect("a fixture")
}

fn answer_fixture(format: Format) -> Vec<u8> {
    std::fs::read(format!("{ROOT}/answer_{format}.json")).expect("a fixture")
}

fn cited_fixture(format: Format) -> Vec<u8> {
    std::fs::read(format!("{ROOT}/cited_{format}.json")).expect("a fixture")
}

fn assert_golden(name: &str, text: &str) {
    insta::with_settings!({ prepend_module_to_snapshot => false, snapshot_path => ROOT }, {
        insta::assert_snapshot!(name, text);
    });
}

/// A document with a member on each line, so that a difference is seen.
fn lines(body: &[u8]) -> String {
    let text = std::str::from_utf8(body).expect("UTF-8");
    json::validate(body, json::Limits { depth_max: json::DEPTH_MAX }).expect("valid JSON");
    text.replace("{\"role\"", "\n  {\"role\"").replace(",\"", ",\n\"")
}

#[test]
fn a_representative_request_in_every_other_format() {
    for from in Format::ALL {
        let body = fixture(from);
        let mut text = String::new();
        for to in Format::ALL.into_iter().filter(|to| *to != from) {
            let translated =
                pair(from, to).request(&body, true, "claude-model", LossPolicy::Lenient);
            let _ = match translated {
                Ok(out) => write!(
                    text,
                    "=== {from} to {to}\ndropped: {}\n{}\n\n",
                    out.dropped.header_value(),
                    lines(&out.body)
                ),
                Err(error) => write!(text, "=== {from} to {to}\nrefused: {}\n\n", error.public),
            };
        }
        assert_golden(from.as_str(), &text);
    }
}

#[test]
fn a_representative_answer_in_every_other_format() {
    for from in Format::ALL {
        assert_golden(&format!("answer_{from}"), &in_every_other(from, &answer_fixture(from)));
    }
}

#[test]
fn an_answer_with_sources_in_every_other_format() {
    for from in Format::ALL {
        assert_golden(&format!("cited_{from}"), &in_every_other(from, &cited_fixture(from)));
    }
}

fn in_every_other(from: Format, answer: &[u8]) -> String {
    let mut text = String::new();
    for to in Format::ALL.into_iter().filter(|to| *to != from) {
        let (ours, dropped) =
            pair(to, from).answer(answer, client(to)).expect("an answer of its format");
        let _ = write!(
            text,
            "=== {from} to {to}\ndropped: {}\n{}\n\n",
            dropped.header_value(),
            lines(&ours)
        );
    }
    text
}

/// The richest recorded stream of a format.
fn recording(format: Format) -> &'static str {
    match format {
        Format::Chat => "openai/chat_tools.sse",
        Format::Responses => "openai/responses_tool.sse",
        Format::Anthropic => "anthropic/thinking.sse",
        Format::Gemini => "gemini/tool.sse",
        Format::Cohere => "cohere/tool.sse",
        Format::Bedrock => "bedrock/tool.events",
    }
}

/// A stream with a line for each event.
fn shown(format: Format, stream: &[u8]) -> String {
    if format != Format::Bedrock {
        return String::from_utf8_lossy(stream).replace("\r\n", "\n").replace("\n\n", "\n");
    }
    let mut text = String::new();
    for message in eventstream::messages(stream) {
        let message = message.expect("sound");
        let kind = message.header(":event-type").unwrap_or_default();
        let _ = writeln!(text, "{kind} {}", String::from_utf8_lossy(message.payload));
    }
    text
}

#[test]
fn a_representative_stream_in_every_other_format() {
    for from in Format::ALL {
        assert_golden(&format!("stream_{from}"), &streamed_to_others(from, recording(from)));
    }
}

#[test]
fn a_stream_with_sources_in_every_other_format() {
    for (from, name) in streams::CITED {
        assert_golden(&format!("stream_cited_{from}"), &streamed_to_others(from, name));
    }
}

fn streamed_to_others(from: Format, name: &str) -> String {
    let bytes = streams::recorded(from, name);
    let mut text = String::new();
    for to in Format::ALL.into_iter().filter(|to| *to != from) {
        let out = streams::translated(pair(to, from), std::iter::once(&bytes[..]));
        let _ = write!(text, "=== {from} to {to}\n{}\n", shown(to, &out));
    }
    text
}

/// What an answer says is the same after it was written in its own format and read again.
#[test]
fn nothing_of_an_answer_is_lost_within_a_format() {
    for format in Format::ALL {
        let body = answer_fixture(format);
        let once = decode_answer(format, &body).expect("decodes");
        let mut loss = Loss::new(format.as_str(), LossPolicy::Lenient);
        let again = encode_answer(format, &once, client(format), &mut loss);
        assert_eq!(loss.take().header_value(), "", "{format}");
        let again = decode_answer(format, &again).expect("decodes again");
        assert_eq!(again.choices, once.choices, "{format}");
        assert_eq!(again.usage, once.usage, "{format}");
        assert_eq!((again.id, again.model), (once.id, once.model), "{format}");
    }
}

#[test]
fn nothing_is_lost_within_a_format() {
    for format in Format::ALL {
        let body = fixture(format);
        let once = decode_request(format, &body).expect("decodes");
        let mut loss = Loss::new(format.as_str(), LossPolicy::Strict);
        let again = encode_request(format, once.clone(), "claude", &mut loss);
        loss.into_report().unwrap_or_else(|error| panic!("{format}: {error}"));
        let again = decode_request(format, &again).expect("decodes again");
        assert_eq!(settled(again), settled(once), "{format}");
    }
}

/// What may stand in another order, or in the path.
fn settled(mut request: Request<'_>) -> Request<'_> {
    request.extra.sort_by(|a, b| a.name.cmp(&b.name));
    request.stream = false;
    request.join_turns();
    // Two words for the same, of which the older one is written.
    for message in request.messages.iter_mut().filter(|it| it.role == ir::Role::Developer) {
        message.role = ir::Role::System;
    }
    request
}

#[test]
fn members_within_messages_and_tools_are_accounted_for() {
    let body = br#"{"messages":[
        {"role":"user","name":"ann","content":[{"type":"text","text":"x","priority":1}]},
        {"role":"assistant","content":"y","annotations":[],"audio":null}],
        "tools":[{"type":"function","function":{"name":"f","deprecated":true}}]}"#;
    let pair = pair(Format::Chat, Format::Gemini);
    let out = pair.request(body, false, "m", LossPolicy::Lenient).expect("translates");
    let names = "messages[].name, messages[].content[].priority, tools[].function.deprecated";
    assert_eq!(out.dropped.header_value(), names);
    let error = pair.request(body, false, "m", LossPolicy::Strict).expect_err("refused");
    assert_eq!(error.param.as_deref(), Some("messages[].name"));

    let call = br#"{"messages":[{"role":"assistant","content":null,
        "function_call":{"name":"f","arguments":"{}"}}]}"#;
    let error = pair.request(call, false, "m", LossPolicy::Lenient).expect_err("refused");
    assert_eq!(
        (error.kind, error.param.as_deref()),
        (Kind::NotExpressible, Some("messages[].function_call"))
    );
}
