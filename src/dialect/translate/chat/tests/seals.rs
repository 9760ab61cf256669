//! Thinking with tools over several turns, through a client of any other format: what the provider
//! signed comes back to it as it was.

use serde_json::{Value, json};

use super::*;

const SIGNATURE: &str = "c2lnbmVkLXdpdGgtYS1rZXk=";

/// An answer that thinks and calls, as each provider gives it.
fn thinking_answer(format: Format) -> Option<Value> {
    Some(match format {
        Format::Anthropic => {
            json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "m",
            "content": [
                {"type": "thinking", "thinking": "Hm.", "signature": SIGNATURE},
                {"type": "tool_use", "id": "call_1", "name": "look", "input": {"z": 1}}],
            "stop_reason": "tool_use", "usage": {"input_tokens": 1, "output_tokens": 2}})
        }
        Format::Responses => {
            json!({"id": "resp_1", "object": "response", "status": "completed", "model": "m",
            "output": [
                {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}], "encrypted_content": SIGNATURE},
                {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "look", "arguments": "{\"z\":1}"}],
            "usage": {"input_tokens": 1, "output_tokens": 2}})
        }
        Format::Gemini => {
            json!({"responseId": "r1", "modelVersion": "m", "candidates": [{"index": 0, "finishReason": "STOP",
            "content": {"role": "model", "parts": [
                {"text": "Hm.", "thought": true},
                {"functionCall": {"name": "look", "args": {"z": 1}}, "thoughtSignature": SIGNATURE}]}}],
            "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 2}})
        }
        Format::Bedrock => json!({"output": {"message": {"role": "assistant", "content": [
                {"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": SIGNATURE}}},
                {"toolUse": {"toolUseId": "call_1", "name": "look", "input": {"z": 1}}}]}},
            "stopReason": "tool_use", "usage": {"inputTokens": 1, "outputTokens": 2}}),
        // These do not sign what they think.
        Format::Chat | Format::Cohere => return None,
    })
}

/// The client's next request: what it was told, and the result of the call.
fn next_turn(format: Format, answer: &Value) -> Option<Value> {
    let tools = json!([{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]);
    Some(match format {
        Format::Chat => {
            let message = &answer["choices"][0]["message"];
            json!({"model": "m", "tools": tools, "messages": [{"role": "user", "content": "x"}, message,
                {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "y"}]})
        }
        Format::Responses => {
            let mut input = vec![json!({"role": "user", "content": "x"})];
            input.extend(answer["output"].as_array().expect("items").iter().cloned());
            let call = input.last().expect("a call")["call_id"].clone();
            input.push(json!({"type": "function_call_output", "call_id": call, "output": "y"}));
            json!({"model": "m", "input": input})
        }
        Format::Anthropic => {
            let content = &answer["content"];
            let call = &content.as_array().expect("blocks").last().expect("a call")["id"];
            json!({"model": "m", "max_tokens": 4000, "messages": [{"role": "user", "content": "x"},
                {"role": "assistant", "content": content},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call, "content": "y"}]}]})
        }
        Format::Gemini => {
            let content = &answer["candidates"][0]["content"];
            let call = &content["parts"].as_array().expect("parts").last().expect("a call")["functionCall"];
            json!({"contents": [{"role": "user", "parts": [{"text": "x"}]}, content,
                {"role": "user", "parts": [{"functionResponse": {"id": call["id"], "name": "look", "response": {"result": "y"}}}]}]})
        }
        Format::Bedrock => {
            let message = &answer["output"]["message"];
            let content = message["content"].as_array().expect("blocks");
            let call = &content.last().expect("a call")["toolUse"]["toolUseId"];
            json!({"messages": [{"role": "user", "content": [{"text": "x"}]}, message,
                {"role": "user", "content": [{"toolResult": {"toolUseId": call, "content": [{"text": "y"}]}}]}]})
        }
        // There is no place in this format where it could be kept.
        Format::Cohere => return None,
    })
}

/// The signature in a request, where the provider looks for it.
fn signature(format: Format, request: &Value) -> &Value {
    match format {
        Format::Anthropic => &request["messages"][1]["content"][0]["signature"],
        Format::Responses => &request["input"][1]["encrypted_content"],
        Format::Gemini => &request["contents"][1]["parts"][0]["thoughtSignature"],
        Format::Bedrock => {
            &request["messages"][1]["content"][0]["reasoningContent"]["reasoningText"]["signature"]
        }
        Format::Chat | Format::Cohere => &Value::Null,
    }
}

#[test]
fn what_a_provider_signed_comes_back_through_every_client() {
    let mut checked = 0;
    for pair in pairs() {
        let Some(answer) = thinking_answer(pair.upstream) else { continue };
        let (ours, dropped) = pair
            .answer(answer.to_string().as_bytes(), client(pair.client))
            .unwrap_or_else(|error| panic!("{pair}: {error}"));
        let ours: Value = serde_json::from_slice(&ours).expect("JSON");
        let Some(next) = next_turn(pair.client, &ours) else {
            assert_eq!(dropped.header_value(), "thinking_signature", "{pair}");
            continue;
        };
        let body = next.to_string();
        let out = pair
            .request(body.as_bytes(), false, "claude", LossPolicy::Lenient)
            .unwrap_or_else(|error| panic!("{pair}: {error}\n{next}"));
        let out: Value = serde_json::from_slice(&out.body).expect("JSON");
        assert_eq!(signature(pair.upstream, &out), SIGNATURE, "{pair}\n{next}\n{out}");
        checked += 1;
    }
    assert_eq!(checked, 4 * 4);
}

#[test]
fn another_provider_does_not_get_what_was_not_its_own() {
    let answer = thinking_answer(Format::Anthropic).expect("an answer").to_string();
    for upstream in Format::ALL.into_iter().filter(|it| *it != Format::Anthropic) {
        let told = pair(Format::Responses, Format::Anthropic);
        let (ours, _) = told.answer(answer.as_bytes(), client(Format::Responses)).expect("answers");
        let ours: Value = serde_json::from_slice(&ours).expect("JSON");
        let next = next_turn(Format::Responses, &ours).expect("a turn").to_string();
        if upstream == Format::Responses {
            continue;
        }
        let out = pair(Format::Responses, upstream)
            .request(next.as_bytes(), false, "m", LossPolicy::Lenient)
            .expect("translates");
        let text = String::from_utf8_lossy(&out.body);
        assert!(!text.contains(SIGNATURE) && !text.contains("d2VpcjE6"), "{upstream}: {text}");
        assert!(!out.dropped.is_empty(), "{upstream}");
    }
}
