"""The `cohere` Python client (v2)."""

import cohere
import pytest
from cohere.core.api_error import ApiError

MESSAGES = [{"role": "user", "content": "hello"}]
TOOLS = [{"type": "function", "function": {"name": "get_weather", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}}}}}]
ONCE = {"max_retries": 0}


@pytest.fixture
def client(weir):
    return cohere.ClientV2(api_key=weir.key, base_url=weir.url, timeout=20)


def test_chat(client):
    answer = client.chat(model="sim-1", messages=MESSAGES)
    assert answer.message.content[0].text
    assert answer.usage.tokens.output_tokens == 12


def test_stream(client):
    events = list(client.chat_stream(model="sim-1", messages=MESSAGES))
    kinds = [event.type for event in events]
    assert kinds[0] == "message-start" and kinds[-1] == "message-end"
    assert events[-1].delta.usage.tokens.output_tokens == 12


def test_tool_call(client):
    answer = client.chat(model="sim-1", messages=MESSAGES, tools=TOOLS)
    assert answer.message.tool_calls[0].function.name == "get_weather"
    kinds = {event.type for event in client.chat_stream(model="sim-1", messages=MESSAGES, tools=TOOLS)}
    assert "tool-call-delta" in kinds


def test_embed(client):
    answer = client.embed(model="sim-embed", texts=["a", "b"], input_type="search_document",
                          embedding_types=["float"])
    assert len(answer.embeddings.float_) == 2


def test_rerank(client):
    answer = client.rerank(model="sim-1", query="a", documents=["a", "b"])
    assert len(answer.results) == 2


@pytest.mark.parametrize(("model", "error"), [
    ("sim-1+fault:400", cohere.BadRequestError),
    ("unknown-model", cohere.NotFoundError),
    ("sim-1+fault:429=3", cohere.TooManyRequestsError),
    ("sim-1+fault:500", cohere.InternalServerError),
    ("sim-1+fault:503", cohere.ServiceUnavailableError),
])
def test_typed_errors(client, model, error):
    with pytest.raises(error):
        client.chat(model=model, messages=MESSAGES, request_options=ONCE)


def test_unknown_key(weir):
    client = cohere.ClientV2(api_key="wrong-key-0", base_url=weir.url)
    with pytest.raises(cohere.UnauthorizedError):
        client.chat(model="sim-1", messages=MESSAGES)


def test_too_large_and_timeout(client):
    with pytest.raises(ApiError) as raised:
        client.chat(model="sim-1", messages=[{"role": "user", "content": "x" * (2 << 20)}],
                    request_options=ONCE)
    assert raised.value.status_code == 413
    with pytest.raises(ApiError) as raised:
        client.chat(model="sim-1+fault:black_hole", messages=MESSAGES, request_options=ONCE)
    assert raised.value.status_code == 504
