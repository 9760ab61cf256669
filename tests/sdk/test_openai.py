"""The `openai` Python client."""

import base64
import json

import openai
import pytest

TOOLS = [{
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}]
MESSAGES = [{"role": "user", "content": "hello"}]


@pytest.fixture
def client(weir):
    return openai.OpenAI(base_url=f"{weir.url}/v1", api_key=weir.key, max_retries=0, timeout=20)


def test_chat(client):
    answer = client.chat.completions.create(model="sim-1", messages=MESSAGES)
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.completion_tokens == 12
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 12


def test_chat_stream(client):
    chunks = list(client.chat.completions.create(model="sim-1", messages=MESSAGES, stream=True))
    text = "".join(c.choices[0].delta.content or "" for c in chunks)
    assert text
    assert chunks[-1].choices[0].finish_reason == "stop"
    # weir asked for the usage frame; the client did not and must not see it.
    assert all(c.choices for c in chunks)


def test_chat_stream_with_usage(client):
    chunks = list(client.chat.completions.create(
        model="sim-1", messages=MESSAGES, stream=True, stream_options={"include_usage": True}))
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == 12


@pytest.mark.parametrize("stream", [False, True])
def test_tool_call_loop(client, stream):
    if stream:
        with client.chat.completions.stream(model="sim-1", messages=MESSAGES, tools=TOOLS) as events:
            for _ in events:
                pass
            message = events.get_final_completion().choices[0].message
    else:
        message = client.chat.completions.create(
            model="sim-1", messages=MESSAGES, tools=TOOLS).choices[0].message
    call = message.tool_calls[0]
    assert call.function.name == "get_weather"
    json.loads(call.function.arguments)
    history = MESSAGES + [
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": call.id, "type": "function",
             "function": {"name": call.function.name, "arguments": call.function.arguments}}]},
        {"role": "tool", "tool_call_id": call.id, "content": "sunny"},
    ]
    answer = client.chat.completions.create(model="sim-1", messages=history, tools=TOOLS)
    assert answer.choices[0].finish_reason == "stop"


def test_image_input(client):
    image = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(64)).decode()
    answer = client.chat.completions.create(model="sim-1", messages=[{"role": "user", "content": [
        {"type": "text", "text": "what is this?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}}]}])
    assert answer.choices[0].message.content


def test_responses(client):
    answer = client.responses.create(model="sim-1", input="hello")
    assert answer.output_text and answer.usage.output_tokens == 12
    kinds = [event.type for event in client.responses.create(model="sim-1", input="hello", stream=True)]
    assert kinds[0] == "response.created" and kinds[-1] == "response.completed"


def test_embeddings_float_and_base64(client):
    floats = client.embeddings.create(model="sim-embed", input=["a", "b"], encoding_format="float")
    packed = client.embeddings.create(model="sim-embed", input=["a", "b"])  # the client asks for base64
    assert len(floats.data) == len(packed.data) == 2
    assert floats.data[0].embedding == pytest.approx(packed.data[0].embedding, abs=1e-6)
    assert floats.usage.prompt_tokens > 0


def test_models(client):
    assert isinstance([model.id for model in client.models.list()], list)


@pytest.mark.parametrize(("model", "error"), [
    ("sim-1+fault:400", openai.BadRequestError),
    ("unknown-model", openai.NotFoundError),
    ("sim-1+fault:429=3", openai.RateLimitError),
    ("sim-1+fault:500", openai.InternalServerError),
    ("sim-1+fault:503", openai.InternalServerError),
    ("sim-1+fault:black_hole", openai.InternalServerError),
])
@pytest.mark.parametrize("stream", [False, True])
def test_typed_errors(client, model, error, stream):
    with pytest.raises(error) as raised:
        client.chat.completions.create(model=model, messages=MESSAGES, stream=stream)
    if error is openai.RateLimitError:
        assert float(raised.value.response.headers["retry-after"]) <= 3
    assert raised.value.response.headers["x-request-id"]


def test_unknown_key(weir):
    client = openai.OpenAI(base_url=f"{weir.url}/v1", api_key="wrong-key-0", max_retries=0)
    with pytest.raises(openai.AuthenticationError):
        client.chat.completions.create(model="sim-1", messages=MESSAGES)


def test_too_large(client):
    with pytest.raises(openai.APIStatusError) as raised:
        client.chat.completions.create(
            model="sim-1", messages=[{"role": "user", "content": "x" * (2 << 20)}])
    assert raised.value.status_code == 413


def test_client_timeout(weir):
    client = openai.OpenAI(base_url=f"{weir.url}/v1", api_key=weir.key, max_retries=0, timeout=0.3)
    with pytest.raises(openai.APITimeoutError):
        client.chat.completions.create(model="sim-1+fault:black_hole", messages=MESSAGES)


@pytest.mark.parametrize("fault", ["cut=3", "stall=3", "error_in_stream=3"])
def test_a_broken_stream_raises(client, fault):
    seen = []
    with pytest.raises(openai.APIError):
        for chunk in client.chat.completions.create(
                model=f"sim-1+fault:{fault}", messages=MESSAGES, stream=True):
            seen.append(chunk)
    assert seen, "tokens before the break reach the client"
