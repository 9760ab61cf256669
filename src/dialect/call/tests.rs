use proptest::prelude::*;

use super::*;

const NO_HEADERS: [(&str, &str); 0] = [];

fn headers(pairs: &[(&str, &str)]) -> Fields {
    pairs.iter().copied().collect()
}

#[track_caller]
fn check(line: &str, pairs: &[(&'static str, &'static str)], want: &str) {
    let (method, path) = line.split_once(' ').expect("a method and a path");
    let (path, query) =
        path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
    let method = Method::from_bytes(method.as_bytes()).expect("a method");
    let headers = headers(pairs);
    let got = match classify(&method, path, query, &headers) {
        Ok(call) => {
            let model = call.model.or(call.provider.map(Cow::Borrowed));
            let model = model.map_or(String::new(), |model| format!(" [{model}]"));
            format!("{} {} {:?} {}{model}", call.dialect, call.endpoint, call.body, call.tail)
        }
        Err(error) => format!("{} {}", error.kind.status(), error.public),
    };
    assert_eq!(got, want, "{line}");
}

#[test]
fn openai_paths() {
    check(
        "POST /v1/chat/completions",
        &NO_HEADERS,
        "openai chat_completions Json /chat/completions",
    );
    check("POST /v1/completions", &NO_HEADERS, "openai completions Json /completions");
    check("POST /v1/responses", &NO_HEADERS, "openai responses Json /responses");
    check("GET /v1/responses/resp_1", &NO_HEADERS, "openai responses None /responses/resp_1");
    check(
        "POST /v1/responses/resp_1/cancel",
        &NO_HEADERS,
        "openai responses Opaque /responses/resp_1/cancel",
    );
    check(
        "POST /v1/responses/input_tokens",
        &NO_HEADERS,
        "openai responses Json /responses/input_tokens",
    );
    check("POST /v1/embeddings", &NO_HEADERS, "openai embeddings Json /embeddings");
    check("POST /v1/rerank", &NO_HEADERS, "openai rerank Json /rerank");
    check("POST /v1/moderations", &NO_HEADERS, "openai moderations Json /moderations");
    check("POST /v1/images/generations", &NO_HEADERS, "openai images Json /images/generations");
    check("POST /v1/images/edits", &NO_HEADERS, "openai images Multipart /images/edits");
    let json = [("content-type", "application/json; charset=utf-8")];
    check("POST /v1/images/edits", &json, "openai images Json /images/edits");
    check("POST /v1/audio/speech", &NO_HEADERS, "openai audio Json /audio/speech");
    check(
        "POST /v1/audio/transcriptions",
        &NO_HEADERS,
        "openai audio Multipart /audio/transcriptions",
    );
    check("POST /v1/files", &NO_HEADERS, "openai files Opaque /files");
    check("GET /v1/files?limit=2", &NO_HEADERS, "openai files None /files");
    check("DELETE /v1/files/f-1", &NO_HEADERS, "openai files None /files/f-1");
    check("GET /v1/files/f-1/content", &NO_HEADERS, "openai files None /files/f-1/content");
    check("POST /v1/batches/b/cancel", &NO_HEADERS, "openai batches Opaque /batches/b/cancel");
    let upgrade = [("upgrade", "WebSocket")];
    check(
        "GET /v1/realtime?model=gpt-realtime",
        &upgrade,
        "openai realtime None /realtime [gpt-realtime]",
    );
}

#[test]
fn other_dialects() {
    check("POST /v1/messages", &NO_HEADERS, "anthropic messages Json /v1/messages");
    check(
        "POST /v1/messages/count_tokens",
        &NO_HEADERS,
        "anthropic count_tokens Json /v1/messages/count_tokens",
    );
    check(
        "POST /v1beta/models/gemini-2.5-flash:generateContent",
        &NO_HEADERS,
        "gemini generate_content Json /v1beta/models/gemini-2.5-flash:generateContent \
         [gemini-2.5-flash]",
    );
    check(
        "POST /v1/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
        &NO_HEADERS,
        "gemini stream_generate_content Json \
         /v1/models/gemini-2.5-flash:streamGenerateContent [gemini-2.5-flash]",
    );
    check(
        "POST /v1beta/models/e:batchEmbedContents",
        &NO_HEADERS,
        "gemini embed_content Json /v1beta/models/e:batchEmbedContents [e]",
    );
    check("POST /v2/chat", &NO_HEADERS, "cohere cohere_chat Json /v2/chat");
    check("POST /v2/embed", &NO_HEADERS, "cohere cohere_embed Json /v2/embed");
    check("POST /v2/rerank", &NO_HEADERS, "cohere rerank Json /v2/rerank");
    check(
        "POST /model/anthropic.claude-3%3A0/converse",
        &NO_HEADERS,
        "bedrock converse Json /model/anthropic.claude-3%3A0/converse [anthropic.claude-3:0]",
    );
    check(
        "POST /model/arn%3Aaws%2Fx/converse-stream",
        &NO_HEADERS,
        "bedrock converse_stream Json /model/arn%3Aaws%2Fx/converse-stream [arn:aws/x]",
    );
    check(
        "PUT /passthrough/local/any/thing?x=1",
        &NO_HEADERS,
        "openai passthrough Opaque /any/thing [local]",
    );
    check("GET /passthrough/local", &NO_HEADERS, "openai passthrough Opaque  [local]");
}

#[test]
fn the_model_list_belongs_to_who_asks() {
    check("GET /v1/models", &NO_HEADERS, "openai models None /models");
    check(
        "GET /v1/models/org/llama",
        &NO_HEADERS,
        "openai models None /models/org/llama [org/llama]",
    );
    check(
        "GET /v1/models/ft:gpt-4o:o::i",
        &NO_HEADERS,
        "openai models None /models/ft:gpt-4o:o::i [ft:gpt-4o:o::i]",
    );
    let anthropic = [("anthropic-version", "2023-06-01")];
    check("GET /v1/models", &anthropic, "anthropic models None /v1/models");
    check("GET /v1/models/claude", &anthropic, "anthropic models None /v1/models/claude [claude]");
    let google = [("x-goog-api-key", "k")];
    check("GET /v1/models", &google, "gemini models None /v1/models");
    check("GET /v1/models?key=k", &NO_HEADERS, "gemini models None /v1/models");
    check("GET /v1beta/models", &NO_HEADERS, "gemini models None /v1beta/models");
    check("GET /v1beta/models/g", &NO_HEADERS, "gemini models None /v1beta/models/g [g]");
    let cohere = [("x-fern-sdk-name", "cohere")];
    check("GET /v1/models", &cohere, "cohere models None /v1/models");
}

#[test]
fn what_is_not_there() {
    for path in [
        "/",
        "/v1",
        "/v1/",
        "/v1/chat",
        "/v1/chat/completions/",
        "/v1/chat/completions/id",
        "//v1/chat/completions",
        "/v1/chat%2Fcompletions",
        "/V1/chat/completions",
        "/v2/chat/x",
        "/v1/files//content",
        "/v1/files/",
        "/v1/files/a/b/c",
        "/v1beta/models/g:predict/x",
        "/model/x",
        "/model/x/invoke-other",
        "/v1/models/",
        "/healthz",
        "/v1/messages/batches",
    ] {
        check(&format!("POST {path}"), &NO_HEADERS, &format!("404 Invalid URL (POST {path})"));
    }
    check(
        "GET /passthrough/",
        &NO_HEADERS,
        "404 /passthrough/ names no provider. Use /passthrough/{provider}/…",
    );
}

#[test]
fn methods() {
    check(
        "GET /v1/chat/completions",
        &NO_HEADERS,
        "405 Not allowed: GET on /v1/chat/completions. Use POST.",
    );
    check("PATCH /v1/files", &NO_HEADERS, "405 Not allowed: PATCH on /v1/files. Use GET or POST.");
    check("POST /v1/models", &NO_HEADERS, "405 Not allowed: POST on /v1/models. Use GET.");
    check("DELETE /v2/chat", &NO_HEADERS, "405 Not allowed: DELETE on /v2/chat. Use POST.");
}

#[test]
fn bad_paths() {
    for path in ["/passthrough/p/../../x", "/v1/files/..", "/passthrough/p/%2e%2E/x", "/./v1"] {
        let line = format!("GET {path}");
        check(&line, &NO_HEADERS, "400 The path must not contain dot segments.");
    }
    check("POST /model/%ff/converse", &NO_HEADERS, "400 The model name in the path is not UTF-8.");
    check("POST /model//converse", &NO_HEADERS, "400 The model name must not be empty.");
    check(
        "POST /v1beta/models/a%0d%0ab:generateContent",
        &NO_HEADERS,
        "400 The model name must not contain control characters.",
    );
    let long = "m".repeat(MODEL_BYTES_MAX + 1);
    check(
        &format!("POST /model/{long}/converse"),
        &NO_HEADERS,
        "400 The model name is too long (at most 2048 bytes).",
    );
    check(
        "GET /v1/realtime?model=m",
        &NO_HEADERS,
        "400 The realtime endpoint expects a WebSocket handshake (Upgrade: websocket).",
    );
}

#[test]
fn a_long_path_is_not_repeated_in_full() {
    let path = format!("/{}", "é".repeat(4000));
    let error = classify(&Method::GET, &path, None, &Fields::default()).expect_err("is not there");
    assert!(error.public.len() < 400);
}

#[test]
fn endpoints_have_distinct_names() {
    let names: std::collections::HashSet<_> =
        Endpoint::ALL.iter().map(|endpoint| endpoint.as_str()).collect();
    assert_eq!(names.len(), Endpoint::ALL.len());
}

proptest! {
    #[test]
    fn no_request_line_panics(path in "(/[a-z0-9%:._-]{0,12}){0,6}", query in "\\PC{0,20}") {
        let _ = classify(&Method::POST, &path, Some(&query), &Fields::default());
    }
}

#[test]
fn a_kept_call_is_the_same_call() {
    let headers = Fields::from_iter([("content-type", "application/json")]);
    for path in [
        "/v1/chat/completions",
        "/v1/responses/resp_1/cancel",
        "/v1beta/models/gemini-2.5-pro:generateContent",
        "/model/us.anthropic.claude%3A0/converse-stream",
        "/passthrough/openai/v1/fine_tuning/jobs",
        "/passthrough/openai",
    ] {
        let call = classify(&Method::POST, path, None, &headers).expect("a call");
        let again = call.keep();
        assert_eq!(format!("{:?}", again.call(path, &headers)), format!("{call:?}"), "{path}");
    }
}
