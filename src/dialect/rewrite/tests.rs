use http::Method;
use proptest::prelude::*;

use super::super::{classify, peek};
use super::*;
use crate::wire::fields::Fields;

fn rewritten(path: &str, body: &str, model: Option<&str>) -> (String, bool) {
    let headers = Fields::from_iter([("content-type", "multipart/form-data; boundary=X")]);
    let call = classify(&Method::POST, path, None, &headers).expect("an endpoint");
    let body = Bytes::copy_from_slice(body.as_bytes());
    let peeked = peek(&call, &body, 32).expect("is fine");
    let rewritten = rewrite(&call, &peeked, &body, model, None);
    let text = String::from_utf8(rewritten.body.into_bytes().to_vec()).expect("is text");
    (text, rewritten.usage_injected)
}

const CHAT: &str = "/v1/chat/completions";

#[test]
fn nothing_to_do_is_the_very_body() {
    let body = "{ \"model\" : \"gpt-4o\",\n\t\"messages\":[ ] }";
    assert_eq!(rewritten(CHAT, body, None), (body.to_owned(), false));
    assert_eq!(rewritten(CHAT, body, Some("gpt-4o")), (body.to_owned(), false));
}

#[test]
fn only_our_spans_change() {
    let body = r#"{ "messages":[{"model":"x"}], "model" : "gpt-4o" ,"stream":true, "z":1.50 }"#;
    let want = r#"{ "messages":[{"model":"x"}], "model" : "say \"hi\"" ,"stream":true, "z":1.50 ,"stream_options":{"include_usage":true}}"#;
    assert_eq!(rewritten(CHAT, body, Some("say \"hi\"")), (want.to_owned(), true));
}

#[test]
fn gemini_keeps_the_collection_of_a_model() {
    let body = r#"{"requests":[{"model":"models/a","content":{}},{"model":"a"}]}"#;
    let want = r#"{"requests":[{"model":"models/b","content":{}},{"model":"b"}]}"#;
    let path = "/v1beta/models/a:batchEmbedContents";
    assert_eq!(rewritten(path, body, Some("b")), (want.to_owned(), false));
}

#[test]
fn uploads_get_the_bare_name() {
    let form = |model: &str| {
        format!("--X\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n{model}\r\n--X--\r\n")
    };
    let path = "/v1/audio/transcriptions";
    assert_eq!(rewritten(path, &form("whisper-1"), Some("other")), (form("other"), false));
}

#[track_caller]
fn check_path(line: &str, base: &str, model: Option<&str>, want: &str) {
    let (path, query) =
        line.split_once('?').map_or((line, None), |(path, query)| (path, Some(query)));
    let headers = Fields::from_iter([("upgrade", "websocket")]);
    let call = [Method::POST, Method::GET]
        .iter()
        .find_map(|method| classify(method, path, query, &headers).ok())
        .expect("an endpoint");
    assert_eq!(upstream_path(&call, &Paths::from(base), query, model, false), want);
}

#[test]
fn paths() {
    check_path(CHAT, "/v1", None, "/v1/chat/completions");
    check_path(CHAT, "/openai/v1/", Some("m"), "/openai/v1/chat/completions");
    check_path(CHAT, "", None, "/chat/completions");
    check_path("/v1/messages", "", None, "/v1/messages");
    check_path("/v1/messages", "/", None, "/v1/messages");
    check_path("/v1/messages?beta=true", "/v1", None, "/v1/messages?beta=true");
    check_path("/v1/messages", "/api/v2", None, "/api/v2/v1/messages");
    let gemini = "/v1beta/models/a:streamGenerateContent?key=SECRET&alt=sse";
    check_path(gemini, "", None, "/v1beta/models/a:streamGenerateContent?alt=sse");
    check_path(
        gemini,
        "/v1beta",
        Some("b/c"),
        "/v1beta/models/b%2Fc:streamGenerateContent?alt=sse",
    );
    check_path("/v1beta/models/a:countTokens?key=SECRET", "", None, "/v1beta/models/a:countTokens");
    let bedrock = "/model/a%3A0/converse";
    check_path(bedrock, "", None, "/model/a%3A0/converse");
    check_path(bedrock, "", Some("a:0"), "/model/a%3A0/converse");
    check_path(bedrock, "", Some("b:1"), "/model/b%3A1/converse");
    check_path("/v1/realtime?model=a&x=1", "/v1", Some("b c"), "/v1/realtime?model=b%20c&x=1");
    check_path("/passthrough/p/x/y?z=1", "/base", None, "/base/x/y?z=1");
    check_path("/passthrough/p", "", None, "/");
}

proptest! {
    /// However a request looks, only the model changes, and it is what was asked for.
    #[test]
    fn a_rewritten_body_means_the_same_but_for_the_model(
        model in "\\PC{1,20}",
        content in "\\PC{0,40}",
        stream in any::<bool>(),
        spaces in "[ \n\t]{0,3}",
    ) {
        prop_assume!(!model.chars().any(char::is_control));
        let content = serde_json::to_string(&content).expect("is a string");
        let body = format!(
            r#"{{{spaces}"messages":[{content}]{spaces},"model":{spaces}"old"{spaces},"stream":{stream}{spaces}}}"#
        );
        let (text, injected) = rewritten(CHAT, &body, Some(&model));
        let mut want: serde_json::Value = serde_json::from_str(&body).expect("is JSON");
        want["model"] = serde_json::Value::String(model);
        if stream {
            want["stream_options"] = serde_json::json!({ "include_usage": true });
        }
        prop_assert_eq!(injected, stream);
        let got: serde_json::Value = serde_json::from_str(&text).expect("is JSON");
        prop_assert_eq!(got, want);
    }
}
