use http::Method;
use proptest::prelude::*;

use super::super::{NoText, TextSink, classify, prompt_text};
use super::*;
use crate::wire::fields::Fields;

const DEPTH_MAX: u32 = 32;

fn peeked(path: &str, body: &str) -> Result<Peeked, Error> {
    let headers = Fields::from_iter([("content-type", "multipart/form-data; boundary=X")]);
    let call = classify(&Method::POST, path, None, &headers).expect("an endpoint");
    peek(&call, body.as_bytes(), DEPTH_MAX)
}

#[track_caller]
fn check_error(path: &str, body: &str, param: Option<&str>, message: &str) {
    let error = peeked(path, body).expect_err("is refused");
    assert_eq!(error.kind, Kind::BadRequest);
    assert_eq!((&*error.public, error.param.as_deref()), (message, param), "{body}");
}

const CHAT: &str = "/v1/chat/completions";

#[test]
fn a_chat_request() {
    let body = r#"{"messages":[{"role":"user","content":"hi"}],"model":"gpt-4o","stream":true,
        "n":2,"max_completion_tokens":64,"user":"u-1","metadata":{"team":"research"}}"#;
    let got = peeked(CHAT, body).expect("is fine");
    assert_eq!(got.model.as_deref(), Some("gpt-4o"));
    assert_eq!(&body[got.model_spans[0].clone()], "\"gpt-4o\"");
    assert!(got.stream);
    assert_eq!((got.choices, got.max_output_tokens), (2, Some(64)));
    assert_eq!(got.user.as_deref(), Some("u-1"));
    let prefix = got.prompt_prefix.expect("messages");
    assert_eq!(&body[prefix], r#"[{"role":"user","content":"hi"}]"#);
    assert_eq!(&body[got.metadata.expect("metadata")], r#"{"team":"research"}"#);
    let UsageOption::Absent { span, with } = got.usage else { panic!("was not asked") };
    assert_eq!(
        (span, with),
        (body.len() - 1..body.len() - 1, r#","stream_options":{"include_usage":true}"#,)
    );
}

#[test]
fn usage_is_asked_for_once() {
    let usage = |body: &str| peeked(CHAT, body).expect("is fine").usage;
    let at = |body: &str| match usage(body) {
        UsageOption::Absent { span, with } => {
            format!("{}{with}{}", &body[..span.start], &body[span.end..])
        }
        other => format!("{other:?}"),
    };
    assert_eq!(at(r#"{"model":"m"}"#), "Unasked");
    assert_eq!(at(r#"{"model":"m","stream":false}"#), "Unasked");
    assert_eq!(
        at(r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#),
        "Asked"
    );
    let rest = r#"{"model":"m","stream":true,"stream_options":"#;
    for (options, want) in [
        ("null", r#"{"include_usage":true}"#),
        ("{}", r#"{"include_usage":true}"#),
        (r#"{"include_usage":false}"#, r#"{"include_usage":true}"#),
        (r#"{"include_usage":null}"#, r#"{"include_usage":true}"#),
        (r#"{ "x":1}"#, r#"{"include_usage":true, "x":1}"#),
    ] {
        assert_eq!(at(&format!("{rest}{options}}}")), format!("{rest}{want}}}"));
    }
}

#[test]
fn refused_bodies() {
    let not_json = |reason: &str| {
        format!("The request body is not valid JSON ({reason}). A JSON object is expected.")
    };
    check_error(CHAT, "", None, &not_json("line 1, column 1: the document is empty"));
    for body in ["[]", "null", "\"x\"", "{", "{\"a\":1,}", "{'a':1}", "{\"a\":01}", "{} {}"] {
        let error = peeked(CHAT, body).expect_err("is refused");
        assert!(error.public.starts_with("The request body is not valid JSON (line 1"), "{body}");
    }
    let deep = format!(r#"{{"model":"m","a":{}{}}}"#, "[".repeat(40), "]".repeat(40));
    assert!(peeked(CHAT, &deep).is_err());
    check_error(CHAT, "{}", Some("model"), "You must provide a model parameter.");
    check_error(CHAT, r#"{"model":""}"#, Some("model"), "The model name must not be empty.");
    check_error(
        CHAT,
        r#"{"model":7}"#,
        Some("model"),
        "Invalid type for 'model': expected a string, but got a number instead.",
    );
    check_error(
        CHAT,
        r#"{"model":null}"#,
        Some("model"),
        "Invalid type for 'model': expected a string, but got null instead.",
    );
    check_error(
        CHAT,
        r#"{"model":"m","stream":"yes"}"#,
        Some("stream"),
        "Invalid type for 'stream': expected a boolean, but got a string instead.",
    );
    check_error(
        CHAT,
        r#"{"model":"m","stream":true,"stream_options":[]}"#,
        Some("stream_options"),
        "Invalid type for 'stream_options': expected an object, but got an array instead.",
    );
    check_error(
        CHAT,
        r#"{"model":"m\u0000"}"#,
        Some("model"),
        "The model name must not contain control characters.",
    );
}

#[test]
fn members_that_decide_must_occur_once() {
    let twice = |key: &str| format!("The parameter '{key}' occurs more than once. Send it once.");
    for (key, body) in [
        ("model", r#"{"model":"a","model":"b"}"#),
        ("model", r#"{"model":"a","\u006dodel":"b"}"#),
        ("stream", r#"{"model":"a","stream":true,"stream":false}"#),
        ("stream_options", r#"{"model":"a","stream_options":{},"stream_options":{}}"#),
    ] {
        check_error(CHAT, body, Some(key), &twice(key));
    }
    check_error(
        CHAT,
        r#"{"model":"a","stream":true,
            "stream_options":{"include_usage":true,"include_usage":false}}"#,
        Some("stream_options.include_usage"),
        &twice("stream_options.include_usage"),
    );
    check_error("/v1/messages", r#"{"model":"a","model":"b"}"#, Some("model"), &twice("model"));
    check_error("/v2/chat", r#"{"model":"a","model":"b"}"#, Some("model"), &twice("model"));
}

#[test]
fn who_needs_a_model() {
    for path in ["/v1/embeddings", "/v1/responses", "/v1/messages", "/v2/chat", "/v1/rerank"] {
        check_error(path, "{}", Some("model"), "You must provide a model parameter.");
    }
    for (path, body) in [
        ("/v1/moderations", "{}"),
        ("/v1/images/generations", "{}"),
        ("/v1/responses", r#"{"prompt":{"id":"pmpt_1"}}"#),
    ] {
        assert_eq!(peeked(path, body).expect("is fine").model, None);
    }
}

#[test]
fn the_other_dialects() {
    let got = peeked(
        "/v1/messages",
        r#"{"model":"claude","max_tokens":5,"stream":true,"metadata":{"user_id":"u"},
            "messages":[],"system":"s"}"#,
    )
    .expect("is fine");
    assert_eq!((got.max_output_tokens, got.user.as_deref()), (Some(5), Some("u")));
    assert!(got.stream && got.usage == UsageOption::Unasked);

    let body = r#"{"contents":[],"generationConfig":{"maxOutputTokens":9,"candidateCount":3}}"#;
    let got = peeked("/v1beta/models/g:streamGenerateContent", body).expect("is fine");
    assert_eq!((got.model.as_deref(), got.stream), (Some("g"), true));
    assert_eq!((got.max_output_tokens, got.choices), (Some(9), 3));
    assert!(!peeked("/v1beta/models/g:generateContent", body).expect("is fine").stream);

    let body = r#"{"requests":[{"model":"models/e"},{"model":"models/e"}]}"#;
    let got = peeked("/v1beta/models/e:batchEmbedContents", body).expect("is fine");
    assert_eq!(got.model_spans.len(), 2);

    let got = peeked(
        "/model/m%3A0/converse-stream",
        r#"{"messages":[],"inferenceConfig":{"maxTokens":3}}"#,
    )
    .expect("is fine");
    assert_eq!((got.model.as_deref(), got.max_output_tokens), (Some("m:0"), Some(3)));
    assert!(got.stream);
}

#[test]
fn uploads() {
    let part = |name: &str, value: &str| {
        format!("--X\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let path = "/v1/audio/transcriptions";
    let body = format!("{}{}--X--\r\n", part("model", "whisper-1"), part("stream", "True"));
    let got = peeked(path, &body).expect("is fine");
    assert_eq!((got.model.as_deref(), got.stream), (Some("whisper-1"), true));
    let twice = format!("{0}{0}--X--\r\n", part("model", "whisper-1"));
    check_error(
        path,
        &twice,
        Some("model"),
        "The parameter 'model' occurs more than once. Send it once.",
    );
    let none = format!("{}--X--\r\n", part("stream", "true"));
    check_error(path, &none, Some("model"), "You must provide a model parameter.");
    check_error(path, "{}", None, "The form data is malformed: the boundary does not occur.");
    let call = classify(&Method::POST, path, None, &Fields::default()).is_ok();
    assert!(call);
}

#[derive(Default)]
struct Pieces(Vec<String>);

impl TextSink for Pieces {
    fn text(&mut self, _channel: u32, text: &str) {
        self.0.push(text.to_owned());
    }
}

#[test]
fn the_text_of_prompts() {
    let pieces = |path: &str, body: &str| {
        let headers = Fields::default();
        let call = classify(&Method::POST, path, None, &headers).expect("an endpoint");
        let mut sink = Pieces::default();
        prompt_text(call.dialect, body.as_bytes(), &mut sink);
        prompt_text(call.dialect, &body.as_bytes()[..body.len() / 2], &mut NoText);
        sink.0.join("|")
    };
    let chat = r#"{"messages":[{"role":"system","content":"be \"kind\""},{"role":"user","content":
        [{"type":"text","text":"look"},{"type":"image_url","image_url":{"url":"data:,"}}]},
        {"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":"{}"}}]}]}"#;
    assert_eq!(pieces(CHAT, chat), "be \"kind\"|look|{}");
    assert_eq!(pieces("/v1/embeddings", r#"{"input":["a","b"]}"#), "a|b");
    assert_eq!(pieces("/v1/embeddings", r#"{"input":[[1,2],[3]]}"#), "");
    assert_eq!(
        pieces(
            "/v1/responses",
            r#"{"instructions":"i","input":[{"role":"user","content":
            [{"type":"input_text","text":"t"}]},{"type":"function_call","arguments":"{}"}]}"#
        ),
        "i|t|{}"
    );
    assert_eq!(
        pieces(
            "/v1/messages",
            r#"{"system":[{"type":"text","text":"s"}],"messages":[{"content":"a"},
            {"content":[{"type":"tool_result","content":[{"type":"text","text":"r"}]}]}]}"#
        ),
        "s|a|r"
    );
    assert_eq!(
        pieces(
            "/v1beta/models/g:generateContent",
            r#"{"systemInstruction":{"parts":[{"text":"s"}]},"contents":[{"parts":[{"text":"c"}]}]}"#
        ),
        "s|c"
    );
    assert_eq!(
        pieces(
            "/model/m/converse",
            r#"{"system":[{"text":"s"}],"messages":[{"content":[{"text":"c"},
            {"toolResult":{"content":[{"text":"r"}]}}]}]}"#
        ),
        "s|c|r"
    );
    assert_eq!(pieces("/v2/embed", r#"{"texts":["a","b"]}"#), "a|b");
}

proptest! {
    #[test]
    fn no_body_panics(
        body in "\\PC{0,200}",
        path in proptest::sample::select(vec![
            CHAT, "/v1/messages", "/v2/chat", "/v1beta/models/m:countTokens", "/model/m/converse",
            "/v1/audio/transcriptions",
        ]),
    ) {
        let _ = peeked(path, &body);
    }
}
