//! Answers that are the arguments of a call: whole, and in pieces of any length.

use serde_json::json;

use super::*;
use crate::dialect::ir::{ANSWER_TOOL, ModelQuirk};

const SCHEMA: &str = r#"{"model":"m","messages":[{"role":"user","content":"x"}],"response_format":
    {"type":"json_schema","json_schema":{"name":"n","schema":{"type":"object"}}}}"#;

fn told() -> Client<'static> {
    Client { answer_by_call: true, ..client(Format::Chat) }
}

fn whole(content: &str, stop: &str) -> (serde_json::Value, String) {
    let body = format!(
        r#"{{"id":"msg_1","type":"message","role":"assistant","model":"m","content":{content},
        "stop_reason":"{stop}","usage":{{"input_tokens":1,"output_tokens":2}}}}"#
    );
    let pair = pair(Format::Chat, Format::Anthropic);
    let (ours, dropped) = pair.answer(body.as_bytes(), told()).expect("translates");
    (serde_json::from_slice(&ours).expect("JSON"), dropped.header_value())
}

/// The same answer as a stream, cut anywhere: text, arguments of other calls, the reason of the end.
fn streamed(
    blocks: &[(&str, &str, &[&str])],
    stop: &str,
    bytes: usize,
) -> (String, String, String) {
    let mut events =
        vec![json!({"type": "message_start", "message": {"id": "msg_1", "model": "m"}})];
    for (at, (start, delta, pieces)) in blocks.iter().enumerate() {
        let start: serde_json::Value = serde_json::from_str(start).expect("JSON");
        events.push(json!({"type": "content_block_start", "index": at, "content_block": start}));
        events.extend(pieces.iter().map(|piece| {
            json!({"type": "content_block_delta", "index": at, "delta": {"type": "d", *delta: piece}})
        }));
        events.push(json!({"type": "content_block_stop", "index": at}));
    }
    events.push(json!({"type": "message_delta", "delta": {"stop_reason": stop}}));
    events.push(json!({"type": "message_stop"}));
    let stream: String =
        events.iter().map(|event| ["data: ", &event.to_string(), "\n\n"].concat()).collect();
    let mut framer = crate::wire::frame::Framer::new(Framing::Sse, 1 << 20);
    let mut translator = pair(Format::Chat, Format::Anthropic).stream(Framing::Sse, told());
    let mut out = Vec::new();
    for chunk in stream.as_bytes().chunks(bytes) {
        let frames = framer.push(chunk.to_vec().into()).expect("frames");
        out.extend(frames.map(|frames| translator.push(&frames)).unwrap_or_default());
    }
    out.extend(translator.finish());
    let (mut text, mut arguments, mut finish) = <(String, String, String)>::default();
    for event in crate::wire::sse::events(&out).filter(|event| &*event.data != b"[DONE]") {
        let chunk: serde_json::Value = serde_json::from_slice(&event.data).expect("JSON");
        assert!(chunk.get("error").is_none(), "{chunk}");
        let choice = &chunk["choices"][0];
        text += choice["delta"]["content"].as_str().unwrap_or_default();
        let call = &choice["delta"]["tool_calls"][0]["function"]["arguments"];
        arguments += call.as_str().unwrap_or_default();
        finish += choice["finish_reason"].as_str().unwrap_or_default();
    }
    (text, arguments, finish)
}

fn tool(name: &str) -> String {
    format!(r#"{{"type":"tool_use","id":"t_{name}","name":"{name}","input":{{}}}}"#)
}

#[test]
fn the_arguments_are_the_text() {
    let call = |input: &str| {
        format!(r#"{{"type":"tool_use","id":"t","name":"{ANSWER_TOOL}","input":{input}}}"#)
    };
    let (ours, dropped) = whole(&format!("[{}]", call(r#"{"a":1}"#)), "tool_use");
    let message = &ours["choices"][0]["message"];
    assert_eq!((&message["content"], &*dropped), (&r#"{"a":1}"#.into(), ""));
    assert!(message.get("tool_calls").is_none());
    assert_eq!(ours["choices"][0]["finish_reason"], "stop");

    // What is said beside it would spoil the document.
    let beside = format!(r#"[{{"type":"text","text":"Here:"}},{},{}]"#, call("{}"), call("{}"));
    let (ours, dropped) = whole(&beside, "tool_use");
    assert_eq!(ours["choices"][0]["message"]["content"], "{}");
    assert_eq!(dropped, "content_(beside_the_answer), content_(a_second_answer)");

    // The model has not called: what it says is the answer.
    let (ours, _) = whole(r#"[{"type":"text","text":"I cannot."}]"#, "end_turn");
    assert_eq!(ours["choices"][0]["message"]["content"], "I cannot.");

    let (ours, _) = whole(&format!("[{}]", tool("other")), "tool_use");
    assert_eq!(ours["choices"][0]["finish_reason"], "tool_calls");
    assert_eq!(ours["choices"][0]["message"]["tool_calls"][0]["function"]["name"], "other");
}

#[test]
fn in_a_stream_they_are_its_pieces() {
    let (answer, other) = (tool(ANSWER_TOOL), tool("other"));
    let text = r#"{"type":"text","text":""}"#;
    let document = &["{\"a\"", ":\"\\u00e9", " \"}"][..];
    for bytes in [1, 7, 64, usize::MAX] {
        let said = |blocks: &[(&str, &str, &[&str])], stop| streamed(blocks, stop, bytes);
        let strings = |text: &str, arguments: &str, finish: &str| {
            (text.to_owned(), arguments.to_owned(), finish.to_owned())
        };
        let whole = document.concat();
        assert_eq!(
            said(&[(&answer, "partial_json", document)], "tool_use"),
            strings(&whole, "", "stop")
        );
        assert_eq!(
            said(
                &[(text, "text", &["Here", " it is"]), (&answer, "partial_json", document)],
                "tool_use"
            ),
            strings(&whole, "", "stop")
        );
        assert_eq!(
            said(&[(text, "text", &["I can", "not."])], "end_turn"),
            strings("I cannot.", "", "stop")
        );
        assert_eq!(
            said(&[(&other, "partial_json", &["{}"])], "tool_use"),
            strings("", "{}", "tool_calls")
        );
        assert_eq!(
            said(
                &[(&answer, "partial_json", document), (&answer, "partial_json", document)],
                "tool_use"
            ),
            strings(&whole, "", "stop")
        );
        // Cut at its greatest length.
        assert_eq!(
            said(&[(&answer, "partial_json", &["{\"a"])], "max_tokens"),
            strings("{\"a", "", "length")
        );
    }
}

#[test]
fn what_was_kept_back_is_said_before_an_early_end() {
    let start = "data: {\"type\":\"message_start\",\"message\":{\"id\":\"m\"}}\n\n\
        data: {\"type\":\"content_block_start\",\"content_block\":{\"type\":\"text\"}}\n\n\
        data: {\"type\":\"content_block_delta\",\"delta\":{\"text\":\"I cannot\"}}\n\n";
    let mut translator = pair(Format::Chat, Format::Anthropic).stream(Framing::Sse, told());
    assert!(!String::from_utf8_lossy(&translator.push(start.as_bytes())).contains("I cannot"));
    let end = translator.cut(crate::dialect::Usage::default());
    let end = String::from_utf8_lossy(&end);
    assert!(end.contains("I cannot") && end.contains("\"length\""), "{end}");
}

#[test]
fn a_model_without_schemas_is_given_a_tool_in_every_format() {
    let quirks = [ModelQuirk::SchemaByCall].into_iter().collect();
    for upstream in Format::ALL.into_iter().filter(|format| *format != Format::Chat) {
        let model = Model { name: "m", quirks };
        let pair = pair(Format::Chat, upstream);
        let out = pair.request(SCHEMA.as_bytes(), false, model, LossPolicy::Strict).expect("said");
        assert!(out.answer_by_call);
        let body = String::from_utf8(out.body.to_vec()).expect("UTF-8");
        assert!(body.contains(ANSWER_TOOL), "{upstream}: {body}");
        assert!(!body.contains("output_config") && !body.contains("response_format"), "{body}");
    }
    let out = pair(Format::Chat, Format::Anthropic)
        .request(SCHEMA.as_bytes(), false, "m", LossPolicy::Strict)
        .expect("said");
    assert!(!out.answer_by_call);
}
