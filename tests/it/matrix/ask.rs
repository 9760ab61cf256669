//! What a client of each format sends, as its provider's documentation has it.

use serde_json::{Value, json};

/// The formats, by the names that weir has for them.
pub const FORMATS: [&str; 6] =
    ["chat_completions", "responses", "anthropic", "gemini", "cohere", "bedrock"];

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    Text,
    Stream,
    Tool,
    StreamTool,
    ParallelTools,
    ToolResult,
    Image,
    Schema,
    Thinking,
    StreamThinking,
    Length,
    StopSequence,
    Refusal,
    StreamRefusal,
    BadRequest,
    Unauthorized,
    RateLimited,
    ServerError,
    Overloaded,
}

impl Scenario {
    pub const ALL: [Scenario; 19] = [
        Scenario::Text,
        Scenario::Stream,
        Scenario::Tool,
        Scenario::StreamTool,
        Scenario::ParallelTools,
        Scenario::ToolResult,
        Scenario::Image,
        Scenario::Schema,
        Scenario::Thinking,
        Scenario::StreamThinking,
        Scenario::Length,
        Scenario::StopSequence,
        Scenario::Refusal,
        Scenario::StreamRefusal,
        Scenario::BadRequest,
        Scenario::Unauthorized,
        Scenario::RateLimited,
        Scenario::ServerError,
        Scenario::Overloaded,
    ];

    /// The status with which a provider answers, where it is an error.
    pub fn error(self, server: &str) -> Option<u16> {
        Some(match self {
            Scenario::BadRequest => 400,
            Scenario::Unauthorized => 401,
            Scenario::RateLimited => 429,
            Scenario::ServerError => 500,
            // Anthropic has a status of its own.
            Scenario::Overloaded if server == "anthropic" => 529,
            Scenario::Overloaded => 503,
            _ => return None,
        })
    }

    pub fn streams(self) -> bool {
        use Scenario::{Stream, StreamRefusal, StreamThinking, StreamTool};
        matches!(self, Stream | StreamTool | StreamThinking | StreamRefusal)
    }

    pub fn tools(self) -> bool {
        use Scenario::{ParallelTools, StreamTool, Tool, ToolResult};
        matches!(self, Tool | StreamTool | ParallelTools | ToolResult)
    }

    pub fn refuses(self) -> bool {
        matches!(self, Scenario::Refusal | Scenario::StreamRefusal)
    }

    pub fn thinks(self) -> bool {
        matches!(self, Scenario::Thinking | Scenario::StreamThinking)
    }
}

/// One pixel.
pub const PIXEL: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII=";

fn parameters() -> Value {
    json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]})
}

fn schema() -> Value {
    json!({"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"], "additionalProperties": false})
}

const TOOLS: [(&str, &str); 2] =
    [("get_weather", "The weather of a city"), ("get_time", "The time in a city")];

/// The path and body of a request.
pub fn request(format: &str, scenario: Scenario, model: &str) -> (String, Value) {
    let escaped = model.replace('+', "%2B").replace(':', "%3A").replace('=', "%3D");
    let stream = scenario.streams();
    match format {
        "chat_completions" => ("/v1/chat/completions".into(), chat(scenario, model)),
        "responses" => ("/v1/responses".into(), responses(scenario, model)),
        "anthropic" => ("/v1/messages".into(), anthropic(scenario, model)),
        "gemini" if stream => {
            (format!("/v1beta/models/{escaped}:streamGenerateContent?alt=sse"), gemini(scenario))
        }
        "gemini" => (format!("/v1beta/models/{escaped}:generateContent"), gemini(scenario)),
        "cohere" => ("/v2/chat".into(), cohere(scenario, model)),
        "bedrock" if stream => (format!("/model/{escaped}/converse-stream"), bedrock(scenario)),
        "bedrock" => (format!("/model/{escaped}/converse"), bedrock(scenario)),
        _ => unreachable!("{format}"),
    }
}

fn chat(scenario: Scenario, model: &str) -> Value {
    let user = match scenario {
        Scenario::Image => json!([
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{PIXEL}")}},
        ]),
        _ => json!("Tell me about the weather."),
    };
    let mut messages = vec![
        json!({"role": "system", "content": "Be brief."}),
        json!({"role": "user", "content": user}),
    ];
    if scenario == Scenario::ToolResult {
        messages.push(json!({"role": "assistant", "content": null, "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": "{\"city\":\"Oslo\"}"}},
            {"id": "call_2", "type": "function", "function": {"name": "get_time", "arguments": "{\"city\":\"Oslo\"}"}},
        ]}));
        messages.push(json!({"role": "tool", "tool_call_id": "call_1", "content": "rain"}));
        messages.push(json!({"role": "tool", "tool_call_id": "call_2", "content": "noon"}));
    }
    let mut body = json!({"model": model, "messages": messages, "max_completion_tokens": 4000});
    if scenario.tools() {
        body["tools"] = TOOLS
            .map(|(name, description)| {
                json!({"type": "function", "function": {"name": name, "description": description, "parameters": parameters()}})
            })
            .to_vec()
            .into();
        body["tool_choice"] = json!("auto");
    }
    match scenario {
        Scenario::Schema => {
            body["response_format"] = json!({"type": "json_schema", "json_schema": {"name": "answer", "schema": schema(), "strict": true}});
        }
        _ if scenario.thinks() => body["reasoning_effort"] = json!("low"),
        Scenario::Length => body["max_completion_tokens"] = json!(3),
        Scenario::StopSequence => body["stop"] = json!(["END"]),
        _ => {}
    }
    if scenario.streams() {
        body["stream"] = json!(true);
        body["stream_options"] = json!({"include_usage": true});
    }
    body
}

fn responses(scenario: Scenario, model: &str) -> Value {
    let user = match scenario {
        Scenario::Image => json!([
            {"type": "input_text", "text": "What is this?"},
            {"type": "input_image", "image_url": format!("data:image/png;base64,{PIXEL}"), "detail": "auto"},
        ]),
        _ => json!("Tell me about the weather."),
    };
    let mut input = vec![json!({"type": "message", "role": "user", "content": user})];
    if scenario == Scenario::ToolResult {
        for (id, name) in [("call_1", "get_weather"), ("call_2", "get_time")] {
            input.push(json!({"type": "function_call", "call_id": id, "name": name, "arguments": "{\"city\":\"Oslo\"}"}));
        }
        for (id, output) in [("call_1", "rain"), ("call_2", "noon")] {
            input.push(json!({"type": "function_call_output", "call_id": id, "output": output}));
        }
    }
    let mut body = json!({"model": model, "instructions": "Be brief.", "input": input, "max_output_tokens": 4000, "store": false});
    if scenario.tools() {
        body["tools"] = TOOLS
            .map(|(name, description)| {
                json!({"type": "function", "name": name, "description": description, "parameters": parameters(), "strict": false})
            })
            .to_vec()
            .into();
    }
    match scenario {
        Scenario::Schema => {
            body["text"] = json!({"format": {"type": "json_schema", "name": "answer", "schema": schema(), "strict": true}});
        }
        _ if scenario.thinks() => body["reasoning"] = json!({"effort": "low", "summary": "auto"}),
        Scenario::Length => body["max_output_tokens"] = json!(16),
        _ => {}
    }
    if scenario.streams() {
        body["stream"] = json!(true);
    }
    body
}

fn anthropic(scenario: Scenario, model: &str) -> Value {
    let user = match scenario {
        Scenario::Image => json!([
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
            {"type": "text", "text": "What is this?"},
        ]),
        _ => json!("Tell me about the weather."),
    };
    let mut messages = vec![json!({"role": "user", "content": user})];
    if scenario == Scenario::ToolResult {
        messages.push(json!({"role": "assistant", "content": [
            {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"city": "Oslo"}},
            {"type": "tool_use", "id": "toolu_2", "name": "get_time", "input": {"city": "Oslo"}},
        ]}));
        messages.push(json!({"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "toolu_1", "content": "rain"},
            {"type": "tool_result", "tool_use_id": "toolu_2", "content": [{"type": "text", "text": "noon"}]},
        ]}));
    }
    let mut body =
        json!({"model": model, "system": "Be brief.", "messages": messages, "max_tokens": 4000});
    if scenario.tools() {
        body["tools"] = TOOLS
            .map(|(name, description)| {
                json!({"name": name, "description": description, "input_schema": parameters()})
            })
            .to_vec()
            .into();
    }
    match scenario {
        Scenario::Schema => {
            body["output_config"] = json!({"format": {"type": "json_schema", "schema": schema()}});
        }
        _ if scenario.thinks() => {
            body["thinking"] = json!({"type": "enabled", "budget_tokens": 1024});
        }
        Scenario::Length => body["max_tokens"] = json!(3),
        Scenario::StopSequence => body["stop_sequences"] = json!(["END"]),
        _ => {}
    }
    if scenario.streams() {
        body["stream"] = json!(true);
    }
    body
}

fn gemini(scenario: Scenario) -> Value {
    let mut parts = vec![json!({"text": "Tell me about the weather."})];
    if scenario == Scenario::Image {
        parts.push(json!({"inlineData": {"mimeType": "image/png", "data": PIXEL}}));
    }
    let mut contents = vec![json!({"role": "user", "parts": parts})];
    if scenario == Scenario::ToolResult {
        contents.push(json!({"role": "model", "parts": [
            {"functionCall": {"name": "get_weather", "args": {"city": "Oslo"}}},
            {"functionCall": {"name": "get_time", "args": {"city": "Oslo"}}},
        ]}));
        contents.push(json!({"role": "user", "parts": [
            {"functionResponse": {"name": "get_weather", "response": {"result": "rain"}}},
            {"functionResponse": {"name": "get_time", "response": {"result": "noon"}}},
        ]}));
    }
    let mut body = json!({"systemInstruction": {"parts": [{"text": "Be brief."}]}, "contents": contents, "generationConfig": {"maxOutputTokens": 4000}});
    if scenario.tools() {
        let functions = TOOLS.map(|(name, description)| {
            json!({"name": name, "description": description, "parameters": {"type": "OBJECT", "properties": {"city": {"type": "STRING"}}, "required": ["city"]}})
        });
        body["tools"] = json!([{"functionDeclarations": functions}]);
    }
    let config = &mut body["generationConfig"];
    match scenario {
        Scenario::Schema => {
            config["responseMimeType"] = json!("application/json");
            config["responseJsonSchema"] = schema();
        }
        _ if scenario.thinks() => {
            config["thinkingConfig"] = json!({"thinkingBudget": 1024, "includeThoughts": true});
        }
        Scenario::Length => config["maxOutputTokens"] = json!(3),
        Scenario::StopSequence => config["stopSequences"] = json!(["END"]),
        _ => {}
    }
    body
}

fn cohere(scenario: Scenario, model: &str) -> Value {
    let user = match scenario {
        Scenario::Image => json!([
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{PIXEL}")}},
        ]),
        _ => json!("Tell me about the weather."),
    };
    let mut messages = vec![
        json!({"role": "system", "content": "Be brief."}),
        json!({"role": "user", "content": user}),
    ];
    if scenario == Scenario::ToolResult {
        messages.push(json!({"role": "assistant", "tool_plan": "I will look.", "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": "{\"city\":\"Oslo\"}"}},
            {"id": "call_2", "type": "function", "function": {"name": "get_time", "arguments": "{\"city\":\"Oslo\"}"}},
        ]}));
        messages.push(json!({"role": "tool", "tool_call_id": "call_1", "content": "rain"}));
        messages.push(json!({"role": "tool", "tool_call_id": "call_2", "content": [
            {"type": "document", "document": {"data": "noon"}},
        ]}));
    }
    let mut body = json!({"model": model, "messages": messages, "max_tokens": 4000});
    if scenario.tools() {
        body["tools"] = TOOLS
            .map(|(name, description)| {
                json!({"type": "function", "function": {"name": name, "description": description, "parameters": parameters()}})
            })
            .to_vec()
            .into();
    }
    match scenario {
        Scenario::Schema => {
            body["response_format"] = json!({"type": "json_object", "json_schema": schema()});
        }
        _ if scenario.thinks() => {
            body["thinking"] = json!({"type": "enabled", "token_budget": 1024});
        }
        Scenario::Length => body["max_tokens"] = json!(3),
        Scenario::StopSequence => body["stop_sequences"] = json!(["END"]),
        _ => {}
    }
    if scenario.streams() {
        body["stream"] = json!(true);
    }
    body
}

fn bedrock(scenario: Scenario) -> Value {
    let mut content = vec![json!({"text": "Tell me about the weather."})];
    if scenario == Scenario::Image {
        content.push(json!({"image": {"format": "png", "source": {"bytes": PIXEL}}}));
    }
    let mut messages = vec![json!({"role": "user", "content": content})];
    if scenario == Scenario::ToolResult {
        messages.push(json!({"role": "assistant", "content": [
            {"toolUse": {"toolUseId": "tooluse_1", "name": "get_weather", "input": {"city": "Oslo"}}},
            {"toolUse": {"toolUseId": "tooluse_2", "name": "get_time", "input": {"city": "Oslo"}}},
        ]}));
        messages.push(json!({"role": "user", "content": [
            {"toolResult": {"toolUseId": "tooluse_1", "content": [{"text": "rain"}]}},
            {"toolResult": {"toolUseId": "tooluse_2", "content": [{"json": {"time": "noon"}}], "status": "success"}},
        ]}));
    }
    let mut body = json!({"system": [{"text": "Be brief."}], "messages": messages, "inferenceConfig": {"maxTokens": 4000}});
    if scenario.tools() {
        let tools = TOOLS.map(|(name, description)| {
            json!({"toolSpec": {"name": name, "description": description, "inputSchema": {"json": parameters()}}})
        });
        body["toolConfig"] = json!({"tools": tools, "toolChoice": {"auto": {}}});
    }
    match scenario {
        Scenario::Schema => {
            body["outputConfig"] = json!({"textFormat": {"type": "json_schema", "structure": {"jsonSchema": {"schema": schema().to_string(), "name": "answer"}}}});
        }
        _ if scenario.thinks() => {
            body["additionalModelRequestFields"] =
                json!({"thinking": {"type": "enabled", "budget_tokens": 1024}});
        }
        Scenario::Length => body["inferenceConfig"]["maxTokens"] = json!(3),
        Scenario::StopSequence => body["inferenceConfig"]["stopSequences"] = json!(["END"]),
        _ => {}
    }
    body
}
