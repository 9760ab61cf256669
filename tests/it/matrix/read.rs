//! What a client of each format reads from an answer: from a whole one, or from its events, put
//! together as the provider's own library does.

use serde_json::{Value, json};

/// An answer, in no format.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Read {
    pub text: String,
    pub thought: String,
    /// Name and arguments.
    pub calls: Vec<(String, Value)>,
    pub finish: String,
    /// Tokens: all of the prompt, all of the answer, of which cached, of which thought.
    pub usage: (u64, u64, u64, u64),
}

/// Reads a whole answer.
pub fn whole(format: &str, body: &Value) -> Read {
    let mut read = Read::default();
    match format {
        "chat_completions" => {
            let choice = &body["choices"][0];
            let message = &choice["message"];
            read.text = text(&message["content"]);
            read.thought = text(&message["reasoning_content"]);
            for call in list(&message["tool_calls"]) {
                assert_eq!(call["type"], "function");
                assert!(call["id"].as_str().is_some_and(|id| !id.is_empty()));
                read.call(&call["function"]["name"], &call["function"]["arguments"]);
            }
            read.finish = text(&choice["finish_reason"]);
            read.usage = openai_usage(&body["usage"], "prompt", "completion");
        }
        "responses" => {
            assert_eq!(body["object"], "response");
            for item in list(&body["output"]) {
                match item["type"].as_str() {
                    Some("message") => read.text += &text(&item["content"][0]["text"]),
                    Some("reasoning") => read.thought += &text(&item["summary"][0]["text"]),
                    Some("function_call") => {
                        assert!(item["call_id"].as_str().is_some_and(|id| !id.is_empty()));
                        read.call(&item["name"], &item["arguments"]);
                    }
                    other => panic!("{other:?}"),
                }
            }
            let reason = &body["incomplete_details"]["reason"];
            read.finish = if reason.is_null() { text(&body["status"]) } else { text(reason) };
            read.usage = openai_usage(&body["usage"], "input", "output");
        }
        "anthropic" => {
            assert_eq!((&body["type"], &body["role"]), (&json!("message"), &json!("assistant")));
            for block in list(&body["content"]) {
                read.anthropic_block(block);
            }
            read.finish = text(&body["stop_reason"]);
            read.usage = anthropic_usage(&body["usage"]);
        }
        "gemini" => read.gemini(body),
        "cohere" => {
            let message = &body["message"];
            read.thought = text(&message["tool_plan"]);
            for part in list(&message["content"]) {
                read.text += &text(&part["text"]);
                read.thought += &text(&part["thinking"]);
            }
            for call in list(&message["tool_calls"]) {
                read.call(&call["function"]["name"], &call["function"]["arguments"]);
            }
            read.finish = text(&body["finish_reason"]);
            read.usage = cohere_usage(&body["usage"]);
        }
        "bedrock" => {
            for block in list(&body["output"]["message"]["content"]) {
                read.text += &text(&block["text"]);
                read.thought += &text(&block["reasoningContent"]["reasoningText"]["text"]);
                if let Some(tool) = block.get("toolUse") {
                    read.call(&tool["name"], &json!(tool["input"].to_string()));
                }
            }
            read.finish = text(&body["stopReason"]);
            read.usage = bedrock_usage(&body["usage"]);
        }
        _ => unreachable!("{format}"),
    }
    read
}

/// Reads a stream: for Bedrock pairs of event type and payload, for others the events' data.
pub fn stream(format: &str, events: &[(String, Value)]) -> Read {
    match format {
        "chat_completions" => chat_stream(events),
        "responses" => responses_stream(events),
        "anthropic" => anthropic_stream(events),
        "gemini" => {
            let mut read = Read::default();
            for (_, chunk) in events {
                read.gemini(chunk);
            }
            read
        }
        "cohere" => cohere_stream(events),
        "bedrock" => bedrock_stream(events),
        _ => unreachable!("{format}"),
    }
}

fn chat_stream(events: &[(String, Value)]) -> Read {
    let mut message = json!({"content": "", "reasoning_content": "", "tool_calls": []});
    let (mut finish, mut usage) = (Value::Null, Value::Null);
    for (at, (_, chunk)) in events.iter().enumerate() {
        assert_eq!(chunk["object"], "chat.completion.chunk");
        if !chunk["usage"].is_null() {
            usage = chunk["usage"].clone();
            assert!(list(&chunk["choices"]).is_empty(), "usage stands alone");
            assert_eq!(at, events.len() - 1);
        }
        let Some(choice) = list(&chunk["choices"]).first() else { continue };
        let delta = &choice["delta"];
        if at == 0 {
            assert_eq!(delta["role"], "assistant");
        }
        for key in ["content", "reasoning_content"] {
            message[key] = json!(text(&message[key]) + &text(&delta[key]));
        }
        for call in list(&delta["tool_calls"]) {
            let index = call["index"].as_u64().expect("an index") as usize;
            let calls = message["tool_calls"].as_array_mut().expect("a list");
            if index == calls.len() {
                calls.push(json!({"id": call["id"], "type": call["type"], "function": {"name": call["function"]["name"], "arguments": ""}}));
            }
            let so_far = text(&calls[index]["function"]["arguments"]);
            calls[index]["function"]["arguments"] =
                json!(so_far + &text(&call["function"]["arguments"]));
        }
        if !choice["finish_reason"].is_null() {
            assert!(finish.is_null(), "one reason");
            finish = choice["finish_reason"].clone();
        }
    }
    whole(
        "chat_completions",
        &json!({"choices": [{"message": message, "finish_reason": finish}], "usage": usage}),
    )
}

fn responses_stream(events: &[(String, Value)]) -> Read {
    let mut texts: Vec<(String, String)> = Vec::new();
    for (at, (name, event)) in events.iter().enumerate() {
        assert_eq!(event["sequence_number"], at, "{name}");
        assert_eq!(&text(&event["type"]), name);
        if name.rsplit('.').next() == Some("delta") {
            let item = text(&event["item_id"]);
            match texts.iter_mut().find(|(id, _)| *id == item) {
                Some((_, so_far)) => *so_far += &text(&event["delta"]),
                None => texts.push((item, text(&event["delta"]))),
            }
        }
    }
    assert_eq!(events[0].0, "response.created");
    let (last, end) = events.last().expect("events");
    assert!(matches!(last.as_str(), "response.completed" | "response.incomplete"), "{last}");
    for item in list(&end["response"]["output"]) {
        let so_far = texts.iter().find(|(id, _)| *id == text(&item["id"]));
        let part = &item["content"][0];
        let summary = &item["summary"][0]["text"];
        let whole = [&part["text"], &part["refusal"], summary, &item["arguments"]];
        let whole = whole.iter().map(|value| text(value)).collect::<String>();
        if let Some((_, so_far)) = so_far {
            assert_eq!(*so_far, whole);
        }
    }
    whole("responses", &end["response"])
}

fn anthropic_stream(events: &[(String, Value)]) -> Read {
    let mut read = Read::default();
    let mut open: Option<(u64, Value, String)> = None;
    let mut next = 0;
    for (name, event) in events {
        assert_eq!(&text(&event["type"]), name);
        match name.as_str() {
            "content_block_start" => {
                assert!(open.is_none(), "one block at a time");
                assert_eq!(event["index"], next);
                open = Some((next, event["content_block"].clone(), String::new()));
                next += 1;
            }
            "content_block_delta" => {
                let (index, block, json) = open.as_mut().expect("an open block");
                assert_eq!(event["index"], *index);
                let delta = &event["delta"];
                for key in ["text", "thinking", "signature"] {
                    if let Some(more) = delta[key].as_str() {
                        block[key] = json!(text(&block[key]) + more);
                    }
                }
                *json += &text(&delta["partial_json"]);
            }
            "content_block_stop" => {
                let (index, mut block, json) = open.take().expect("an open block");
                assert_eq!(event["index"], index);
                if block["type"] == "tool_use" && !json.is_empty() {
                    block["input"] = serde_json::from_str(&json).expect("arguments");
                }
                read.anthropic_block(&block);
            }
            "message_delta" => {
                assert!(open.is_none());
                read.finish = text(&event["delta"]["stop_reason"]);
                read.usage = anthropic_usage(&event["usage"]);
            }
            "message_start" | "message_stop" | "ping" => {}
            other => panic!("{other}"),
        }
    }
    assert_eq!(events[0].0, "message_start");
    assert_eq!(events.last().expect("events").0, "message_stop");
    read
}

fn cohere_stream(events: &[(String, Value)]) -> Read {
    let mut read = Read::default();
    let mut arguments: Vec<(String, String)> = Vec::new();
    for (_, event) in events {
        let message = &event["delta"]["message"];
        match event["type"].as_str() {
            Some("content-start" | "content-delta") => {
                read.text += &text(&message["content"]["text"]);
                read.thought += &text(&message["content"]["thinking"]);
            }
            Some("tool-plan-delta") => read.thought += &text(&message["tool_plan"]),
            Some("tool-call-start") => {
                assert_eq!(event["index"], arguments.len());
                arguments.push((text(&message["tool_calls"]["function"]["name"]), String::new()));
            }
            Some("tool-call-delta") => {
                arguments.last_mut().expect("a call").1 +=
                    &text(&message["tool_calls"]["function"]["arguments"]);
            }
            Some("message-end") => {
                read.finish = text(&event["delta"]["finish_reason"]);
                read.usage = cohere_usage(&event["delta"]["usage"]);
            }
            _ => {}
        }
    }
    for (name, json) in &arguments {
        read.call(&json!(name), &json!(json));
    }
    read
}

fn bedrock_stream(events: &[(String, Value)]) -> Read {
    let mut read = Read::default();
    let mut call: Option<(Value, String)> = None;
    for (name, event) in events {
        let delta = &event["delta"];
        match name.as_str() {
            "contentBlockStart" => {
                call = Some((event["start"]["toolUse"]["name"].clone(), String::new()));
            }
            "contentBlockDelta" => {
                read.text += &text(&delta["text"]);
                read.thought += &text(&delta["reasoningContent"]["text"]);
                if let Some((_, json)) = &mut call {
                    *json += &text(&delta["toolUse"]["input"]);
                }
            }
            "contentBlockStop" => {
                if let Some((name, json)) = call.take() {
                    read.call(&name, &json!(json));
                }
            }
            "messageStop" => read.finish = text(&event["stopReason"]),
            "metadata" => read.usage = bedrock_usage(&event["usage"]),
            "messageStart" => assert_eq!(event["role"], "assistant"),
            other => panic!("{other}"),
        }
    }
    assert_eq!(events[0].0, "messageStart");
    read
}

impl Read {
    fn call(&mut self, name: &Value, arguments: &Value) {
        let arguments = text(arguments);
        let arguments = serde_json::from_str(&arguments)
            .unwrap_or_else(|error| panic!("arguments {arguments:?}: {error}"));
        self.calls.push((text(name), arguments));
    }

    fn anthropic_block(&mut self, block: &Value) {
        match block["type"].as_str() {
            Some("text") => self.text += &text(&block["text"]),
            Some("thinking") => self.thought += &text(&block["thinking"]),
            Some("tool_use") => {
                assert!(block["id"].as_str().is_some_and(|id| !id.is_empty()));
                assert!(block["input"].is_object());
                self.call(&block["name"], &json!(block["input"].to_string()));
            }
            other => panic!("{other:?}"),
        }
    }

    fn gemini(&mut self, body: &Value) {
        let candidate = &body["candidates"][0];
        for part in list(&candidate["content"]["parts"]) {
            if let Some(call) = part.get("functionCall") {
                assert!(call["args"].is_object());
                self.call(&call["name"], &json!(call["args"].to_string()));
            } else if part["thought"] == true {
                self.thought += &text(&part["text"]);
            } else {
                self.text += &text(&part["text"]);
            }
        }
        if let Some(reason) = candidate["finishReason"].as_str() {
            self.finish = reason.into();
        }
        if let Some(usage) = body.get("usageMetadata") {
            let thought = number(&usage["thoughtsTokenCount"]);
            self.usage = (
                number(&usage["promptTokenCount"]),
                number(&usage["candidatesTokenCount"]) + thought,
                number(&usage["cachedContentTokenCount"]),
                thought,
            );
        }
    }
}

fn openai_usage(usage: &Value, input: &str, output: &str) -> (u64, u64, u64, u64) {
    (
        number(&usage[format!("{input}_tokens")]),
        number(&usage[format!("{output}_tokens")]),
        number(&usage[format!("{input}_tokens_details")]["cached_tokens"]),
        number(&usage[format!("{output}_tokens_details")]["reasoning_tokens"]),
    )
}

fn anthropic_usage(usage: &Value) -> (u64, u64, u64, u64) {
    let cached = number(&usage["cache_read_input_tokens"]);
    (
        number(&usage["input_tokens"]) + cached + number(&usage["cache_creation_input_tokens"]),
        number(&usage["output_tokens"]),
        cached,
        number(&usage["output_tokens_details"]["thinking_tokens"]),
    )
}

fn cohere_usage(usage: &Value) -> (u64, u64, u64, u64) {
    let units = &usage["billed_units"];
    let (input, output) = (number(&units["input_tokens"]), number(&units["output_tokens"]));
    (input, output, number(&usage["cached_tokens"]), 0)
}

fn bedrock_usage(usage: &Value) -> (u64, u64, u64, u64) {
    let cached = number(&usage["cacheReadInputTokens"]);
    (
        number(&usage["inputTokens"]) + cached + number(&usage["cacheWriteInputTokens"]),
        number(&usage["outputTokens"]),
        cached,
        0,
    )
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}
