//! Models that differ from others of their provider: what the catalogue says of each is enough for
//! clients of every other format, before an upstream that refuses what such a model refuses.

use super::*;

/// A kind, the format in which its models are asked, and some of them. What is behind `anthropic/` is
/// a model of Anthropic's, by its own API.
const MODELS: [(&str, &str, &str); 10] = [
    ("anthropic", "anthropic", "claude-3-5-haiku-20241022"),
    ("anthropic", "anthropic", "claude-sonnet-4-5"),
    ("anthropic", "anthropic", "claude-sonnet-5"),
    ("anthropic", "anthropic", "claude-sonnet-5-5"),
    ("bedrock", "bedrock", "amazon.nova-pro-v1:0"),
    ("bedrock", "bedrock", "anthropic.claude-3-haiku-20240307-v1:0"),
    ("bedrock", "bedrock", "anthropic.claude-sonnet-5"),
    ("bedrock", "bedrock", "anthropic.claude-sonnet-5-5"),
    ("gemini", "gemini", "gemini-3-pro"),
    ("deepseek", "chat_completions", "deepseek-chat"),
];

fn weir(upstream: &Handle) -> Weir {
    let base = format!("http://{}", upstream.address());
    let (mut providers, mut pools, mut routes) = (String::new(), String::new(), String::new());
    for kind in ["anthropic", "bedrock", "gemini", "deepseek"] {
        let path = if kind == "deepseek" { "/v1" } else { "" };
        let _ = writeln!(
            providers,
            "  {kind}: {{ kind: {kind}, base_url: '{base}{path}', auth: none, headers: {{ x-mock-strict: '1', x-mock-tool-calls: '1' }} }}"
        );
        let _ = writeln!(
            pools,
            "  {kind}: {{ targets: [{{ provider: {kind} }}], breaker: {BREAKER} }}"
        );
    }
    for (kind, _, model) in MODELS {
        let _ = writeln!(routes, "  - {{ match: {{ model: '{model}' }}, pool: {kind} }}");
    }
    Weir::start(&format!(
        "access: open\nruntime: {{ threads: 1 }}\nproviders:\n{providers}pools:\n{pools}routes:\n{routes}"
    ))
}

/// Every client of another format than the model's.
fn cells() -> impl Iterator<Item = (&'static str, &'static str)> {
    FORMATS.into_iter().flat_map(|client| {
        let others = MODELS.into_iter().filter(move |(_, format, _)| *format != client);
        others.map(move |(_, _, model)| (client, model))
    })
}

fn answered(
    weir: &Weir,
    (client, model): (&str, &str),
    (path, body): (String, Value),
    streams: bool,
) -> (Read, String) {
    let id = format!("{client}-{model}");
    let (status, headers, answer) = exchange(weir, &path, &id, &body);
    assert_eq!(status, 200, "{id}: {}\n{body}", String::from_utf8_lossy(&answer));
    let read = if streams {
        read::stream(client, &events(client, &answer))
    } else {
        read::whole(client, &serde_json::from_slice(&answer).expect("JSON"))
    };
    (read, headers.get("x-weir-dropped").cloned().unwrap_or_default())
}

/// A request for an answer of a schema; as a stream, if it is asked for.
fn for_a_schema(client: &str, model: &str, stream: bool) -> (String, Value) {
    let (mut path, mut body) = request(client, Scenario::Schema, model);
    match client {
        _ if !stream => {}
        "gemini" => path = path.replace(":generateContent", ":streamGenerateContent?alt=sse"),
        "bedrock" => path = path.replace("/converse", "/converse-stream"),
        _ => body["stream"] = json!(true),
    }
    (path, body)
}

#[test]
fn a_schema_is_followed_by_models_that_know_of_none() {
    let upstream = upstream();
    let weir = weir(&upstream);
    for (client, model) in cells() {
        for stream in [false, true] {
            let (read, _) =
                answered(&weir, (client, model), for_a_schema(client, model, stream), stream);
            let document: Value = serde_json::from_str(&read.text).expect("a document");
            assert!(document["answer"].is_string(), "{client} {model}: {document}");
            assert_eq!(read.calls, [], "{client} {model}");
            assert_eq!(read.finish, finish(client, "chat_completions", Scenario::Schema));
        }
    }
}

#[test]
fn models_think_in_the_way_that_they_have() {
    let upstream = upstream();
    let weir = weir(&upstream);
    for (client, model) in cells().filter(|(_, model)| !model.contains("nova")) {
        for scenario in [Scenario::Thinking, Scenario::StreamThinking] {
            let asked = request(client, scenario, model);
            let (read, dropped) = answered(&weir, (client, model), asked, scenario.streams());
            // A client of Bedrock's asks in words that only models of Anthropic's have.
            if client == "bedrock" {
                continue;
            }
            assert!(!read.thought.is_empty(), "{client} {model}: {dropped}");
            assert!(!dropped.contains("reasoning"), "{client} {model}: {dropped}");
        }
    }
}

#[test]
fn a_turn_with_tools_goes_on_with_any_model() {
    let upstream = upstream();
    let weir = weir(&upstream);
    for (client, model) in cells() {
        for scenario in [Scenario::Tool, Scenario::StreamTool, Scenario::ToolResult] {
            let asked = request(client, scenario, model);
            let (read, _) = answered(&weir, (client, model), asked, scenario.streams());
            let calls = usize::from(scenario != Scenario::ToolResult);
            assert_eq!(read.calls.len(), calls, "{client} {model}: {scenario:?}");
        }
    }
}

#[test]
fn what_a_model_does_not_take_is_left_out_and_reported() {
    let upstream = upstream();
    let weir = weir(&upstream);
    for (model, lost) in [
        ("claude-3-5-haiku-20241022", ""),
        ("claude-sonnet-4-5", "top_p"),
        ("claude-sonnet-5", "temperature, top_p"),
        ("claude-sonnet-5-5", "tool_choice, temperature, top_p"),
        ("anthropic.claude-sonnet-5", "inferenceConfig.temperature, inferenceConfig.topP"),
        ("amazon.nova-pro-v1:0", ""),
    ] {
        let (path, mut body) = request("chat_completions", Scenario::Tool, model);
        body["temperature"] = json!(0.5);
        body["top_p"] = json!(0.9);
        body["tool_choice"] = json!("required");
        let (read, dropped) = answered(&weir, ("chat_completions", model), (path, body), false);
        assert_eq!(read.calls.len(), 1, "{model}");
        assert_eq!(dropped, lost, "{model}");
    }
}
