"""Every client library against upstreams of every other format: thinking, tools over two turns, streams."""

import json

import anthropic
import boto3
import cohere
import openai
import pytest
from botocore.config import Config
from google import genai
from google.genai import types

from conftest import FORMATS

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
QUESTION = "What is the weather in Oslo?"


@pytest.fixture(params=list(FORMATS))
def model(request):
    # The simulated Bedrock thinks as Anthropic's models do.
    return f"via-{request.param}-claude"


def others(own, model):
    if model.startswith(f"via-{own}-"):
        pytest.skip("the same format is forwarded")


@pytest.mark.parametrize("stream", [False, True])
def test_openai_chat(weir, model, stream):
    others("chat_completions", model)
    client = openai.OpenAI(base_url=f"{weir.url}/v1", api_key=weir.key, max_retries=0, timeout=20)
    tools = [{"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}]
    messages = [{"role": "user", "content": QUESTION}]

    def ask(**more):
        options = {"model": model, "messages": messages, "max_completion_tokens": 4000, **more}
        if not stream:
            return client.chat.completions.create(**options)
        with client.chat.completions.stream(
                **options, stream_options={"include_usage": True}) as events:
            for _ in events:
                pass
            return events.get_final_completion()

    answer = ask(tools=tools)
    message = answer.choices[0].message
    assert answer.choices[0].finish_reason == "tool_calls"
    assert isinstance(json.loads(message.tool_calls[0].function.arguments)["city"], str)
    messages.append(message.model_dump(exclude_none=True, exclude={"parsed"}))
    for call in messages[-1]["tool_calls"]:
        call["function"].pop("parsed_arguments", None)
    messages.append({"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "rain"})
    answer = ask(tools=tools)
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.completion_tokens == 12


@pytest.mark.parametrize("stream", [False, True])
def test_openai_responses(weir, model, stream):
    others("responses", model)
    client = openai.OpenAI(base_url=f"{weir.url}/v1", api_key=weir.key, max_retries=0, timeout=20)
    tools = [{"type": "function", "name": "get_weather", "parameters": SCHEMA, "strict": False}]
    items = [{"role": "user", "content": QUESTION}]

    def ask():
        options = {"model": model, "input": items, "tools": tools, "max_output_tokens": 4000}
        if not stream:
            return client.responses.create(**options)
        with client.responses.stream(**options) as events:
            for _ in events:
                pass
            return events.get_final_response()

    answer = ask()
    call = next(item for item in answer.output if item.type == "function_call")
    assert isinstance(json.loads(call.arguments)["city"], str)
    items += [
        {"type": "function_call", "call_id": call.call_id, "name": call.name, "arguments": call.arguments},
        {"type": "function_call_output", "call_id": call.call_id, "output": "rain"},
    ]
    answer = ask()
    assert answer.output_text and answer.status == "completed"
    assert answer.usage.output_tokens == 12


@pytest.mark.parametrize("stream", [False, True])
def test_anthropic(weir, model, stream):
    others("anthropic", model)
    client = anthropic.Anthropic(base_url=weir.url, api_key=weir.key, max_retries=0, timeout=20)
    tools = [{"name": "get_weather", "input_schema": SCHEMA}]
    messages = [{"role": "user", "content": QUESTION}]

    def ask():
        options = {"model": model, "max_tokens": 4000, "messages": messages, "tools": tools,
                   "thinking": {"type": "enabled", "budget_tokens": 1024}}
        if not stream:
            return client.messages.create(**options)
        with client.messages.stream(**options) as events:
            return events.get_final_message()

    answer = ask()
    call = next(block for block in answer.content if block.type == "tool_use")
    assert answer.stop_reason == "tool_use" and isinstance(call.input["city"], str)
    messages += [
        {"role": "assistant", "content": [block.model_dump() for block in answer.content]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "rain"}]},
    ]
    answer = ask()
    assert answer.stop_reason == "end_turn"
    assert any(block.type == "text" and block.text for block in answer.content)
    assert answer.usage.output_tokens > 0


@pytest.mark.parametrize("stream", [False, True])
def test_gemini(weir, model, stream):
    others("gemini", model)
    client = genai.Client(api_key=weir.key, http_options={"base_url": weir.url})
    config = types.GenerateContentConfig(
        max_output_tokens=4000,
        automatic_function_calling={"disable": True},
        tools=[types.Tool(function_declarations=[
            types.FunctionDeclaration(name="get_weather", parameters_json_schema=SCHEMA)])],
    )
    contents = [types.Content(role="user", parts=[types.Part(text=QUESTION)])]

    def ask():
        if not stream:
            answer = client.models.generate_content(model=model, contents=contents, config=config)
            return answer.candidates[0].content.parts, answer
        parts = []
        for chunk in client.models.generate_content_stream(model=model, contents=contents, config=config):
            if chunk.candidates and chunk.candidates[0].content:
                parts += chunk.candidates[0].content.parts or []
        return parts, chunk

    parts, _ = ask()
    call = next(part.function_call for part in parts if part.function_call)
    assert isinstance(call.args["city"], str)
    contents.append(types.Content(role="model", parts=parts))
    contents.append(types.Content(role="user", parts=[types.Part(
        function_response=types.FunctionResponse(
            id=call.id, name=call.name, response={"result": "rain"}))]))
    parts, last = ask()
    assert "".join(part.text or "" for part in parts)
    assert last.candidates[0].finish_reason == "STOP"
    assert last.usage_metadata.candidates_token_count == 12


@pytest.mark.parametrize("stream", [False, True])
def test_cohere(weir, model, stream):
    others("cohere", model)
    client = cohere.ClientV2(api_key=weir.key, base_url=weir.url, timeout=20)
    tools = [{"type": "function", "function": {
        "name": "get_weather", "description": "The weather", "parameters": SCHEMA}}]
    messages = [{"role": "user", "content": QUESTION}]
    answer = client.chat(model=model, messages=messages, tools=tools, max_tokens=4000)
    call = answer.message.tool_calls[0]
    assert answer.finish_reason == "TOOL_CALL"
    assert isinstance(json.loads(call.function.arguments)["city"], str)
    messages += [
        {"role": "assistant", "tool_calls": [call.model_dump()]},
        {"role": "tool", "tool_call_id": call.id, "content": "rain"},
    ]
    if not stream:
        answer = client.chat(model=model, messages=messages, tools=tools, max_tokens=4000)
        assert answer.message.content[0].text and answer.finish_reason == "COMPLETE"
        assert answer.usage.billed_units.output_tokens == 12
        return
    text, end = "", None
    for event in client.chat_stream(model=model, messages=messages, tools=tools, max_tokens=4000):
        if event.type == "content-delta":
            text += event.delta.message.content.text or ""
        if event.type == "message-end":
            end = event.delta
    assert text and end.finish_reason == "COMPLETE"
    assert end.usage.billed_units.output_tokens == 12


@pytest.mark.parametrize("stream", [False, True])
def test_bedrock(weir, model, stream):
    others("bedrock", model)
    client = boto3.client(
        "bedrock-runtime", endpoint_url=weir.url, region_name="us-east-1",
        aws_access_key_id=weir.key, aws_secret_access_key="unused",
        config=Config(retries={"max_attempts": 1}),
    )
    options = {
        "modelId": model,
        "inferenceConfig": {"maxTokens": 4000},
        "toolConfig": {"tools": [{"toolSpec": {
            "name": "get_weather", "inputSchema": {"json": SCHEMA}}}]},
    }
    messages = [{"role": "user", "content": [{"text": QUESTION}]}]
    answer = client.converse(messages=messages, **options)
    message = answer["output"]["message"]
    call = next(block["toolUse"] for block in message["content"] if "toolUse" in block)
    assert answer["stopReason"] == "tool_use" and isinstance(call["input"]["city"], str)
    messages += [message, {"role": "user", "content": [{"toolResult": {
        "toolUseId": call["toolUseId"], "content": [{"text": "rain"}]}}]}]
    if not stream:
        answer = client.converse(messages=messages, **options)
        assert answer["output"]["message"]["content"][0]["text"]
        assert answer["usage"]["outputTokens"] == 12
        return
    text, reason, usage = "", None, None
    for event in client.converse_stream(messages=messages, **options)["stream"]:
        text += event.get("contentBlockDelta", {}).get("delta", {}).get("text", "")
        reason = event.get("messageStop", {}).get("stopReason", reason)
        usage = event.get("metadata", {}).get("usage", usage)
    assert text and reason == "end_turn"
    assert usage["outputTokens"] == 12


def test_errors_are_the_clients_own(weir):
    with pytest.raises(openai.RateLimitError):
        openai.OpenAI(base_url=f"{weir.url}/v1", api_key=weir.key, max_retries=0).chat.completions.create(
            model="via-anthropic-x+fault:429", messages=[{"role": "user", "content": "x"}])
    with pytest.raises(anthropic.NotFoundError):
        anthropic.Anthropic(base_url=weir.url, api_key=weir.key, max_retries=0).messages.create(
            model="via-gemini-x+fault:404", max_tokens=9, messages=[{"role": "user", "content": "x"}])
    with pytest.raises(anthropic.APIError):
        with anthropic.Anthropic(base_url=weir.url, api_key=weir.key, max_retries=0).messages.stream(
                model="via-cohere-x+fault:truncate=4", max_tokens=90,
                messages=[{"role": "user", "content": "x"}]) as events:
            events.get_final_message()
