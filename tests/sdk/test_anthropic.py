"""The `anthropic` Python client."""

import base64

import anthropic
import pytest

MESSAGES = [{"role": "user", "content": "hello"}]
TOOLS = [{"name": "get_weather", "input_schema": {
    "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}]


@pytest.fixture
def client(weir):
    return anthropic.Anthropic(base_url=weir.url, api_key=weir.key, max_retries=0, timeout=20)


def ask(client, model="sim-1", **more):
    return client.messages.create(**{"model": model, "max_tokens": 64, "messages": MESSAGES, **more})


def test_message(client):
    answer = ask(client)
    assert answer.content[0].text
    assert answer.stop_reason == "end_turn"
    assert answer.usage.output_tokens == 12


def test_stream(client):
    with client.messages.stream(model="sim-1", max_tokens=64, messages=MESSAGES) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == final.content[0].text
    assert final.usage.output_tokens == 12


@pytest.mark.parametrize("stream", [False, True])
def test_tool_call_loop(client, stream):
    if stream:
        with client.messages.stream(
                model="sim-1", max_tokens=64, messages=MESSAGES, tools=TOOLS) as events:
            answer = events.get_final_message()
    else:
        answer = ask(client, tools=TOOLS)
    call = next(block for block in answer.content if block.type == "tool_use")
    assert answer.stop_reason == "tool_use" and isinstance(call.input, dict)
    history = MESSAGES + [
        {"role": "assistant", "content": [
            {"type": "tool_use", "id": call.id, "name": call.name, "input": call.input}]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}]},
    ]
    assert ask(client, messages=history, tools=TOOLS).stop_reason == "end_turn"


def test_image_input(client):
    data = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(64)).decode()
    answer = ask(client, messages=[{"role": "user", "content": [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}},
        {"type": "text", "text": "what is this?"}]}])
    assert answer.content[0].text


def test_count_tokens(client):
    assert client.messages.count_tokens(model="sim-1", messages=MESSAGES).input_tokens > 0


@pytest.mark.parametrize(("model", "error"), [
    ("sim-1+fault:400", anthropic.BadRequestError),
    ("unknown-model", anthropic.NotFoundError),
    ("sim-1+fault:429=3", anthropic.RateLimitError),
    ("sim-1+fault:500", anthropic.InternalServerError),
    ("sim-1+fault:503", anthropic.APIStatusError),
    ("sim-1+fault:529", anthropic.APIStatusError),
    ("sim-1+fault:black_hole", anthropic.APIStatusError),
])
def test_typed_errors(client, model, error):
    with pytest.raises(error) as raised:
        ask(client, model)
    if error is anthropic.RateLimitError:
        assert float(raised.value.response.headers["retry-after"]) <= 3


def test_unknown_key(weir):
    client = anthropic.Anthropic(base_url=weir.url, api_key="wrong-key-0", max_retries=0)
    with pytest.raises(anthropic.AuthenticationError):
        ask(client)


def test_too_large(client):
    with pytest.raises(anthropic.APIStatusError) as raised:
        ask(client, messages=[{"role": "user", "content": "x" * (2 << 20)}])
    assert raised.value.status_code == 413


@pytest.mark.parametrize("fault", ["cut=3", "stall=3", "error_in_stream=3"])
def test_a_broken_stream_raises(client, fault):
    with pytest.raises(anthropic.APIError):
        with client.messages.stream(
                model=f"sim-1+fault:{fault}", max_tokens=64, messages=MESSAGES) as stream:
            for _ in stream.text_stream:
                pass
