use proptest::prelude::*;

use super::*;
use crate::error::Kind as ErrorKind;

#[derive(Default)]
struct Heard(String);

impl TextSink for Heard {
    fn text(&mut self, _channel: u32, text: &str) {
        self.0.push_str(text);
        self.0.push('|');
    }
}

fn facts(endpoint: Endpoint, dialect: Dialect, body: &str) -> (BodyFacts, String) {
    let mut heard = Heard::default();
    let facts = observe_body(endpoint, dialect, body.as_bytes(), &mut heard);
    let mut heard_again = Heard::default();
    let usage = body_usage(endpoint, dialect, body.as_bytes(), &mut heard_again);
    assert_eq!((usage, &heard_again.0), (facts.usage, &heard.0));
    (facts, heard.0)
}

#[track_caller]
fn check(
    (endpoint, dialect): (Endpoint, Dialect),
    body: &str,
    tokens: Option<(u64, u64)>,
    text: &str,
) {
    let (facts, heard) = facts(endpoint, dialect, body);
    let used = facts.usage.map(|usage| (usage.input, usage.output));
    assert_eq!((used, heard.as_str()), (tokens, text));
    assert!(!facts.empty && facts.error.is_none(), "{facts:?}");
}

const CHAT: (Endpoint, Dialect) = (Endpoint::ChatCompletions, Dialect::OpenAi);

#[test]
fn reported_usage_leaves_nothing_to_count() {
    let choices = r#""choices":[{"index":0,"message":{"role":"assistant","content":"Hi \u00e9",
        "refusal":null,"tool_calls":[{"function":{"name":"f","arguments":"{}"}}]},
        "finish_reason":"stop"}]"#;
    let with =
        format!(r#"{{"model":"m",{choices},"usage":{{"prompt_tokens":9,"completion_tokens":2}}}}"#);
    check(CHAT, &with, Some((9, 2)), "");
    check(CHAT, &format!("{{{choices}}}"), None, "Hi é|{}|");
    let (facts, _) = facts(CHAT.0, CHAT.1, &with);
    assert_eq!(facts.model.as_deref(), Some("m"));
    assert_eq!(facts.finish_reason.as_deref(), Some("stop"));
}

#[test]
fn every_dialect() {
    check(
        (Endpoint::Responses, Dialect::OpenAi),
        r#"{"object":"response","status":"completed","output":[{"type":"reasoning","summary":
            [{"type":"summary_text","text":"think"}]},{"type":"message","content":
            [{"type":"output_text","text":"answer"}]},{"type":"function_call","arguments":"{}"}]}"#,
        None,
        "think|answer|{}|",
    );
    check(
        (Endpoint::Embeddings, Dialect::OpenAi),
        r#"{"data":[{"embedding":[0.1]}],"usage":{"prompt_tokens":4,"total_tokens":4}}"#,
        Some((4, 0)),
        "",
    );
    check(
        (Endpoint::Audio, Dialect::OpenAi),
        r#"{"text":"spoken","usage":{"type":"duration","seconds":3}}"#,
        None,
        "spoken|",
    );
    let anthropic = (Endpoint::Messages, Dialect::Anthropic);
    let content = r#""type":"message","content":[{"type":"thinking","thinking":"t"},
        {"type":"text","text":"a"},{"type":"tool_use","input":{"x":1}}],"stop_reason":"end_turn""#;
    check(anthropic, &format!("{{{content}}}"), None, r#"t|a|{"x":1}|"#);
    check(
        anthropic,
        &format!(
            r#"{{{content},"usage":{{"input_tokens":3,"cache_read_input_tokens":10,"output_tokens":5}}}}"#
        ),
        Some((13, 5)),
        "",
    );
    check((Endpoint::CountTokens, Dialect::Anthropic), r#"{"input_tokens":14}"#, Some((14, 0)), "");
    check(
        (Endpoint::GenerateContent, Dialect::Gemini),
        r#"{"candidates":[{"content":{"parts":[{"text":"a"},{"functionCall":{"args":{}}}]},
            "finishReason":"STOP"}]}"#,
        None,
        "a|{}|",
    );
    check(
        (Endpoint::CohereChat, Dialect::Cohere),
        r#"{"id":"1","finish_reason":"COMPLETE","message":{"role":"assistant","content":
            [{"type":"text","text":"a"}]}}"#,
        None,
        "a|",
    );
    check(
        (Endpoint::CohereEmbed, Dialect::Cohere),
        r#"{"embeddings":{},"meta":{"billed_units":{"input_tokens":2}}}"#,
        Some((2, 0)),
        "",
    );
    check(
        (Endpoint::Converse, Dialect::Bedrock),
        r#"{"output":{"message":{"content":[{"text":"a"},{"toolUse":{"input":{"x":1}}},
            {"reasoningContent":{"reasoningText":{"text":"r"}}}]}},"stopReason":"end_turn"}"#,
        None,
        r#"a|{"x":1}|r|"#,
    );
}

#[test]
fn errors_inside_an_answer() {
    let kind = |endpoint, dialect, body: &str| {
        let (facts, _) = facts(endpoint, dialect, body);
        assert!(!facts.empty);
        facts.error.expect("an error").kind
    };
    assert_eq!(
        kind(CHAT.0, CHAT.1, r#"{"error":{"message":"x","code":"rate_limit_exceeded"}}"#),
        ErrorKind::UpstreamRateLimited
    );
    assert_eq!(
        kind(
            Endpoint::Messages,
            Dialect::Anthropic,
            r#"{"type":"error","error":{"type":"overloaded_error","message":"x"}}"#
        ),
        ErrorKind::UpstreamStreamError
    );
    assert_eq!(
        kind(Endpoint::CohereChat, Dialect::Cohere, r#"{"id":"1","message":"invalid request"}"#),
        ErrorKind::UpstreamStreamError
    );
    assert_eq!(
        kind(Endpoint::Converse, Dialect::Bedrock, r#"{"message":"x"}"#),
        ErrorKind::UpstreamStreamError
    );
    // `null` is how the responses API says that there is none.
    let fine = r#"{"object":"response","error":null,"output":[]}"#;
    assert_eq!(facts(Endpoint::Responses, Dialect::OpenAi, fine).0.error, None);
}

#[test]
fn answers_without_an_answer() {
    for body in ["", "  \n", "{}", r#"{"choices":[]}"#, r#"{"choices":null}"#] {
        assert!(facts(CHAT.0, CHAT.1, body).0.empty, "{body:?}");
    }
    assert!(facts(Endpoint::GenerateContent, Dialect::Gemini, r#"{"candidates":[]}"#).0.empty);
    let blocked = r#"{"promptFeedback":{"blockReason":"SAFETY"}}"#;
    assert!(!facts(Endpoint::GenerateContent, Dialect::Gemini, blocked).0.empty);
    assert!(!facts(Endpoint::Audio, Dialect::OpenAi, "RIFF").0.empty);
}

proptest! {
    #[test]
    fn no_body_panics(
        body in proptest::collection::vec(any::<u8>(), 0..200),
        dialect in proptest::sample::select(&Dialect::ALL[..]),
        endpoint in proptest::sample::select(&Endpoint::ALL[..]),
    ) {
        observe_body(endpoint, dialect, &body, &mut NoText);
    }
}
