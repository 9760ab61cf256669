use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::super::observe::StreamObserver;
use super::super::text::TextSink;
use super::super::{Dialect, Endpoint};
use super::*;
use crate::wire::frame::Framing;

#[derive(Debug, Default, PartialEq)]
struct Heard(BTreeMap<u32, String>);

impl TextSink for Heard {
    fn text(&mut self, channel: u32, text: &str) {
        assert!(!text.is_empty());
        self.0.entry(channel).or_default().push_str(text);
    }
}

fn observer() -> StreamObserver {
    StreamObserver::new(Endpoint::ChatCompletions, Dialect::OpenAi, Framing::Sse, false)
}

fn event(data: &str) -> String {
    format!("data: {data}\n\n")
}

fn chunk(id: &str, created: u64, padding: Option<&str>, choice: &str) -> String {
    let id = Json::from(id);
    let padding = padding.map(|it| format!(",\"obfuscation\":{}", Json::from(it)));
    event(&format!(
        "{{\"id\":{id},\"object\":\"chat.completion.chunk\",\"created\":{created},\"model\":\"gpt-4o\",\"choices\":[{choice}]{}}}",
        padding.unwrap_or_default()
    ))
}

fn said(index: u64, text: &str) -> String {
    let text = Json::from(text);
    format!("{{\"index\":{index},\"delta\":{{\"content\":{text}}},\"finish_reason\":null}}")
}

const ROLE: &str =
    "{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}";

fn observe(observer: &mut StreamObserver, frame: &str, heard: &mut Heard) {
    if !observer.passes(frame.as_bytes(), heard) {
        observer.observe(&Bytes::copy_from_slice(frame.as_bytes()), heard);
    }
}

#[test]
fn the_frames_of_a_second_stream_are_familiar() {
    let (mut first, mut heard) = (observer(), Heard::default());
    for frame in [chunk("one", 1, Some("x"), ROLE), chunk("one", 1, Some("yz"), &said(0, "a"))] {
        assert!(chat(frame.as_bytes(), true).is_none());
        observe(&mut first, &frame, &mut heard);
    }
    let role = chunk("another", 234, Some(""), ROLE);
    let known = chat(role.as_bytes(), true).expect("is familiar");
    assert_eq!((known.bytes, known.text, known.choices), (role.len(), None, 1));
    assert_eq!(known.model.as_deref(), Some("gpt-4o"));
    let text = chunk("another", 234, Some("padding"), &said(0, "say \"b\"\n"));
    let known = chat(text.as_bytes(), false).expect("is familiar");
    assert_eq!((known.bytes, known.choices, known.model), (text.len(), 1, None));
    let (_, place) = known.text.expect("a text");
    assert_eq!(&text[place], "say \\\"b\\\"\\n");
    for other in [
        chunk("another", 234, Some("a\\"), &said(0, "b")),
        chunk("another", 234, Some("a"), &said(1, "b")),
        chunk("another", 234, Some("a"), &said(0, "")),
        chunk("another", 234, Some("a"), &said(0, "\u{1f600}")).replace('\u{1f600}', "\\ud83d"),
        chunk("another", 234, None, &said(0, "b")),
        chunk("another", 234, Some("a"), "{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}"),
        text.replace("234", "-1"),
        text.replace("gpt-4o", "gpt-4"),
        text[..text.len() - 1].to_owned(),
    ] {
        assert!(chat(other.as_bytes(), false).is_none(), "{other}");
    }
    let (mut second, mut heard) = (observer(), Heard::default());
    observe(&mut second, &role, &mut heard);
    assert!(second.passes(text.as_bytes(), &mut heard));
    assert_eq!(second.response_model(), Some("gpt-4o"));
    assert_eq!(heard.0.into_values().collect::<Vec<_>>(), ["say \"b\"\n"]);
}

#[test]
fn what_says_more_than_a_text_does_not_become_familiar() {
    let usage = "{\"prompt_tokens\":1,\"completion_tokens\":1,\"total_tokens\":2}";
    let begun = "{\"id\":\"one\",\"created\":1,\"choices\":[";
    for data in [
        "[DONE]".to_owned(),
        "{\"error\":{\"message\":\"no\"}}".to_owned(),
        format!("{begun}{{\"index\":0,\"delta\":{{}},\"finish_reason\":\"stop\"}}]}}"),
        format!("{begun}{}],\"usage\":{usage}}}", said(0, "a")),
        format!("{begun}{},{}]}}", said(0, "a"), said(1, "b")),
        format!(
            "{begun}{{\"index\":0,\"delta\":{{\"tool_calls\":[{{\"index\":0,\"id\":\"a\",\"function\":{{\"name\":\"f\",\"arguments\":\"\"}}}}]}}}}]}}"
        ),
        format!("{begun}{}", said(0, "a")),
    ] {
        let frame = event(&data);
        observe(&mut observer(), &frame, &mut Heard::default());
        assert!(chat(frame.as_bytes(), true).is_none(), "{data}");
    }
    // Data in several lines, and an event with a name.
    for frame in [
        "data: {\"choices\":[{\"delta\":{\"content\":\n data: \"a\"}}]}\n\n".to_owned(),
        format!("event: message\n{}", chunk("one", 1, None, &said(0, "a"))),
    ] {
        observe(&mut observer(), &frame, &mut Heard::default());
        assert!(chat(frame.as_bytes(), true).is_none(), "{frame}");
    }
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[a-z ]{1,6}", 1 => "[\"\\\\\n\tü漢\u{1f600}]{0,3}", 1 => Just(String::new())]
}

fn choice() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => (0..2_u64, text()).prop_map(|(index, text)| said(index, &text)),
        1 => Just(ROLE.to_owned()),
        1 => (0..2_u64).prop_map(|index| {
            format!("{{\"index\":{index},\"delta\":{{}},\"finish_reason\":\"stop\"}}")
        }),
        1 => (text(), text()).prop_map(|(one, other)| format!("{},{}", said(0, &one), said(1, &other))),
        1 => text().prop_map(|text| {
            json!({"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": text}}]}})
                .to_string()
        }),
        // Half a character, whose other half may come with the next.
        1 => Just(said(0, "@").replace('@', "\\ud83d")),
        1 => Just(said(0, "@").replace('@', "\\ude00 b")),
    ]
}

proptest! {
    #[test]
    fn a_stream_says_the_same_whether_it_is_familiar_or_not(
        streams in prop::collection::vec(
            (text(), 0..3_u64, prop::collection::vec((prop::option::of(text()), choice()), 0..8), any::<bool>()),
            1..6,
        ),
    ) {
        for (id, created, chunks, ends) in streams {
            let (mut compared, mut read) = (observer(), observer());
            let (mut heard, mut heard_by_reading) = (Heard::default(), Heard::default());
            let mut frames: Vec<_> =
                chunks.iter().map(|(pad, choice)| chunk(&id, created, pad.as_deref(), choice)).collect();
            if ends {
                frames.push(event("{\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4,\"total_tokens\":7}}"));
                frames.push(event("[DONE]"));
            }
            for frame in &frames {
                observe(&mut compared, frame, &mut heard);
                // A message is always read.
                let data = &frame["data: ".len()..frame.len() - 2];
                read.observe_message(data.as_bytes(), &mut heard_by_reading);
            }
            prop_assert_eq!(heard, heard_by_reading);
            prop_assert_eq!(compared.response_model(), read.response_model());
            prop_assert_eq!(compared.finish_reason(), read.finish_reason());
            prop_assert_eq!(compared.usage(), read.usage());
            prop_assert_eq!(compared.finished(), read.finished());
        }
    }
}
