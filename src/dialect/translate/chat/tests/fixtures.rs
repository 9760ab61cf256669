//! One representative request of each format, in every other one.

use std::fmt::Write as _;

use super::*;

fn fixture(format: Format) -> Vec<u8> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/translate");
    std::fs::read(format!("{root}/{format}.json")).expect("a fixture")
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
        insta::with_settings!({ prepend_module_to_snapshot => false, snapshot_path => concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/translate") }, {
            insta::assert_snapshot!(from.as_str(), text);
        });
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
