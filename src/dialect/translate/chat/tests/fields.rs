//! What becomes of each member of each format's requests in every other format: one table, which the
//! documentation shows.

use std::fmt::Write as _;

use weir_loadtest::mock::{self, Endpoint as Mocked};

use super::*;

/// A member, what is asked for with it if it has several things to ask for, and a value that does.
type Field = (&'static str, &'static str);

/// Each format's members.
const FIELDS: [(Format, Mocked, &[Field]); 6] = [
    (
        Format::Chat,
        Mocked::ChatCompletions,
        &[
            ("audio", r#"{"voice":"alloy","format":"wav"}"#),
            ("frequency_penalty", "0.5"),
            ("logit_bias", r#"{"50256":-100}"#),
            ("logprobs", "true"),
            ("max_completion_tokens", "100"),
            ("max_tokens", "100"),
            ("metadata", r#"{"a":"b"}"#),
            ("modalities (audio)", r#"["text","audio"]"#),
            ("modalities (image)", r#"["text","image"]"#),
            ("n", "2"),
            ("parallel_tool_calls", "false"),
            ("prediction", r#"{"type":"content","content":"x"}"#),
            ("presence_penalty", "0.5"),
            ("prompt_cache_key", r#""k""#),
            ("prompt_cache_retention", r#""24h""#),
            ("reasoning_effort", r#""low""#),
            ("response_format (json_object)", r#"{"type":"json_object"}"#),
            (
                "response_format (json_schema)",
                r#"{"type":"json_schema","json_schema":{"name":"n","strict":true,"schema":{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":false}}}"#,
            ),
            ("safety_identifier", r#""u""#),
            ("seed", "7"),
            ("service_tier", r#""flex""#),
            ("stop", r#"["END"]"#),
            ("store", "true"),
            ("stream_options", r#"{"include_usage":true}"#),
            ("temperature", "0.5"),
            ("tool_choice", r#""required""#),
            ("tools", r#"[{"type":"function","function":{"name":"f","parameters":{}}}]"#),
            ("top_logprobs", "2"),
            ("top_p", "0.5"),
            ("user", r#""u""#),
            ("verbosity", r#""low""#),
            ("web_search_options", "{}"),
        ],
    ),
    (
        Format::Responses,
        Mocked::Responses,
        &[
            ("background", "true"),
            ("conversation", r#""conv_1""#),
            ("include", r#"["message.output_text.logprobs"]"#),
            ("instructions", r#""Be brief.""#),
            ("max_output_tokens", "100"),
            ("max_tool_calls", "2"),
            ("metadata", r#"{"a":"b"}"#),
            ("parallel_tool_calls", "false"),
            ("previous_response_id", r#""resp_unknown""#),
            ("prompt", r#"{"id":"pmpt_1"}"#),
            ("prompt_cache_key", r#""k""#),
            ("prompt_cache_retention", r#""24h""#),
            ("reasoning", r#"{"effort":"low"}"#),
            ("safety_identifier", r#""u""#),
            ("service_tier", r#""flex""#),
            ("store", "true"),
            ("stream_options", r#"{"include_obfuscation":false}"#),
            ("temperature", "0.5"),
            ("text (json_object)", r#"{"format":{"type":"json_object"}}"#),
            (
                "text (json_schema)",
                r#"{"format":{"type":"json_schema","name":"n","strict":true,"schema":{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":false}}}"#,
            ),
            ("text (verbosity)", r#"{"verbosity":"low"}"#),
            ("tool_choice", r#""required""#),
            ("tools", r#"[{"type":"function","name":"f","parameters":{}}]"#),
            ("top_logprobs", "2"),
            ("top_p", "0.5"),
            ("truncation", r#""auto""#),
            ("user", r#""u""#),
        ],
    ),
    (
        Format::Anthropic,
        Mocked::Messages,
        &[
            ("cache_control", r#"{"type":"ephemeral"}"#),
            ("container", r#""c""#),
            ("context_management", r#"{"edits":[]}"#),
            ("inference_geo", r#""us""#),
            ("mcp_servers", r#"[{"type":"url","url":"https://example.com","name":"n"}]"#),
            ("metadata", r#"{"user_id":"u"}"#),
            ("output_config (effort)", r#"{"effort":"low"}"#),
            (
                "output_config (format)",
                r#"{"format":{"type":"json_schema","schema":{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":false}}}"#,
            ),
            ("service_tier", r#""auto""#),
            ("stop_sequences", r#"["END"]"#),
            ("system", r#""Be brief.""#),
            ("temperature", "0.5"),
            ("thinking", r#"{"type":"enabled","budget_tokens":2048}"#),
            ("tool_choice", r#"{"type":"any"}"#),
            ("tools", r#"[{"name":"f","input_schema":{"type":"object"}}]"#),
            ("top_k", "5"),
            ("top_p", "0.5"),
        ],
    ),
    (
        Format::Gemini,
        Mocked::GenerateContent,
        &[
            ("cachedContent", r#""cachedContents/1""#),
            ("generationConfig (sampling)", r#"{"temperature":0.5,"maxOutputTokens":100}"#),
            (
                "generationConfig (responseJsonSchema)",
                r#"{"responseMimeType":"application/json","responseJsonSchema":{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":false}}"#,
            ),
            ("generationConfig (thinkingConfig)", r#"{"thinkingConfig":{"thinkingBudget":2048}}"#),
            ("generationConfig (audio)", r#"{"responseModalities":["AUDIO"]}"#),
            ("generationConfig (image)", r#"{"responseModalities":["TEXT","IMAGE"]}"#),
            ("labels", r#"{"a":"b"}"#),
            ("safetySettings", r#"[{"category":"c","threshold":"BLOCK_NONE"}]"#),
            ("store", "true"),
            ("systemInstruction", r#"{"parts":[{"text":"Be brief."}]}"#),
            ("toolConfig", r#"{"functionCallingConfig":{"mode":"ANY"}}"#),
            ("tools", r#"[{"functionDeclarations":[{"name":"f"}]}]"#),
        ],
    ),
    (
        Format::Cohere,
        Mocked::CohereChat,
        &[
            ("citation_options", r#"{"mode":"ACCURATE"}"#),
            ("documents", r#"["x"]"#),
            ("frequency_penalty", "0.5"),
            ("k", "5"),
            ("logprobs", "true"),
            ("max_tokens", "100"),
            ("p", "0.5"),
            ("presence_penalty", "0.5"),
            ("priority", "1"),
            ("raw_prompting", "true"),
            ("response_format (any JSON)", r#"{"type":"json_object"}"#),
            (
                "response_format (schema)",
                r#"{"type":"json_object","json_schema":{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":false}}"#,
            ),
            ("safety_mode", r#""STRICT""#),
            ("seed", "7"),
            ("stop_sequences", r#"["END"]"#),
            ("strict_tools", "true"),
            ("temperature", "0.5"),
            ("thinking", r#"{"type":"enabled"}"#),
            ("tool_choice", r#""REQUIRED""#),
            ("tools", r#"[{"type":"function","function":{"name":"f","parameters":{}}}]"#),
        ],
    ),
    (
        Format::Bedrock,
        Mocked::Converse,
        &[
            ("additionalModelRequestFields", r#"{"x":1}"#),
            (
                "additionalModelRequestFields (thinking)",
                r#"{"thinking":{"type":"enabled","budget_tokens":2048}}"#,
            ),
            ("additionalModelResponseFieldPaths", r#"["/x"]"#),
            ("guardrailConfig", r#"{"guardrailIdentifier":"g","guardrailVersion":"1"}"#),
            ("inferenceConfig", r#"{"temperature":0.5,"maxTokens":100}"#),
            (
                "outputConfig (textFormat)",
                r#"{"textFormat":{"type":"json_schema","structure":{"jsonSchema":{"name":"n","schema":"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"}},\"required\":[\"a\"],\"additionalProperties\":false}"}}}}"#,
            ),
            ("performanceConfig", r#"{"latency":"optimized"}"#),
            ("promptVariables", r#"{"a":{"text":"b"}}"#),
            ("requestMetadata", r#"{"a":"b"}"#),
            ("serviceTier", r#"{"type":"priority"}"#),
            ("system", r#"[{"text":"Be brief."}]"#),
            ("toolConfig", r#"{"tools":[{"toolSpec":{"name":"f","inputSchema":{"json":{}}}}]}"#),
        ],
    ),
];

/// What every request has, which is the conversation itself.
const ALWAYS: &str = "model messages input contents stream max_tokens";

/// The member's own name.
fn member(name: &str) -> &str {
    name.split(' ').next().unwrap_or(name)
}

/// A request of a format that asks for one thing more than an answer.
fn asking(format: Format, name: &str, value: &str) -> String {
    let turn = match format {
        Format::Responses => r#""input":"Hi""#,
        Format::Gemini => r#""contents":[{"role":"user","parts":[{"text":"Hi"}]}]"#,
        Format::Bedrock => r#""messages":[{"role":"user","content":[{"text":"Hi"}]}]"#,
        _ => r#""messages":[{"role":"user","content":"Hi"}]"#,
    };
    // A choice is only one where there are tools.
    let tools = match (format, name) {
        (Format::Chat | Format::Cohere, "tool_choice" | "parallel_tool_calls" | "strict_tools") => {
            r#","tools":[{"type":"function","function":{"name":"f","parameters":{}}}]"#
        }
        (Format::Responses, "tool_choice" | "parallel_tool_calls") => {
            r#","tools":[{"type":"function","name":"f","parameters":{}}]"#
        }
        (Format::Anthropic, "tool_choice") => {
            r#","tools":[{"name":"f","input_schema":{"type":"object"}}]"#
        }
        (Format::Chat, "top_logprobs") => r#","logprobs":true"#,
        (Format::Responses, "top_logprobs") => r#","include":["message.output_text.logprobs"]"#,
        (Format::Gemini, "toolConfig") => r#","tools":[{"functionDeclarations":[{"name":"f"}]}]"#,
        _ => "",
    };
    let max = if format == Format::Anthropic { r#","max_tokens":4000"# } else { "" };
    let name = member(name);
    format!("{{{turn}{max}{tools},\"{name}\":{value}}}")
}

fn treatment(from: Format, to: Format, name: &str, value: &str) -> &'static str {
    let body = asking(from, name, value);
    match pair(from, to).request(body.as_bytes(), false, "claude-model", LossPolicy::Lenient) {
        Err(error) if error.kind == Kind::NotExpressible => "refused",
        Err(error) => panic!("{from} to {to}: {name}: {error}"),
        Ok(out) if out.dropped.is_empty() => "said",
        Ok(_) => "left out",
    }
}

#[test]
fn every_member_of_every_request_has_a_treatment_that_the_documentation_shows() {
    let mut text = String::from(
        "# What becomes of each member of a request\n\n\
         For each format of clients, the members of its requests beside the conversation, and what an upstream of each \
         other format gets of them: *said* (in its own words, or with the same effect by weir itself), *left out* (named in \
         `x-weir-dropped`, or refused on a route with `loss: strict`), or *refused* (400 with the member's name, since the \
         answer would be another one without it). Written by `UPDATE_GOLDEN=1 cargo nextest run fields`.\n",
    );
    for (from, mocked, fields) in FIELDS {
        let known = mock::request_members(mocked).expect("a list of members");
        let listed = |name: &str| fields.iter().any(|(field, _)| member(field) == name);
        for name in known.split_whitespace() {
            assert!(listed(name) || ALWAYS.split(' ').any(|it| it == name), "{from}: {name}");
        }
        let others: Vec<Format> = Format::ALL.into_iter().filter(|to| *to != from).collect();
        let _ = write!(text, "\n## {from}\n\n| member |");
        for to in &others {
            let _ = write!(text, " {to} |");
        }
        let _ = write!(text, "\n|---|{}", "---|".repeat(others.len()));
        for (name, value) in fields {
            let asked = name.split_once(' ').map(|(_, asked)| format!(" {asked}"));
            let _ = write!(text, "\n| `{}`{} |", member(name), asked.unwrap_or_default());
            for to in &others {
                let _ = write!(text, " {} |", treatment(from, *to, name, value));
            }
        }
        text.push('\n');
    }
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/conf/fields.md");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(file, &text).expect("written");
    }
    let kept = std::fs::read_to_string(file).unwrap_or_default();
    assert_eq!(kept, text, "conf/fields.md differs (UPDATE_GOLDEN=1 rewrites it)");
}
