"""The `google-genai` Python client."""

import pytest
from google import genai
from google.genai import errors, types


@pytest.fixture
def client(weir):
    return genai.Client(api_key=weir.key, http_options=types.HttpOptions(base_url=weir.url, timeout=20_000))


TOOLS = [types.Tool(function_declarations=[types.FunctionDeclaration(
    name="get_weather", parameters=types.Schema(
        type="OBJECT", properties={"city": types.Schema(type="STRING")}))])]
NO_AUTO = types.AutomaticFunctionCallingConfig(disable=True)


def test_generate(client):
    answer = client.models.generate_content(model="sim-1", contents="hello")
    assert answer.text
    assert answer.usage_metadata.candidates_token_count == 12


def test_stream(client):
    chunks = list(client.models.generate_content_stream(model="sim-1", contents="hello"))
    assert "".join(c.text or "" for c in chunks)
    assert chunks[-1].usage_metadata.candidates_token_count == 12


@pytest.mark.parametrize("stream", [False, True])
def test_tool_call(client, stream):
    config = types.GenerateContentConfig(tools=TOOLS, automatic_function_calling=NO_AUTO)
    if stream:
        chunks = client.models.generate_content_stream(model="sim-1", contents="hello", config=config)
        calls = [call for c in chunks for call in c.function_calls or []]
    else:
        calls = client.models.generate_content(
            model="sim-1", contents="hello", config=config).function_calls
    assert calls[0].name == "get_weather"


def test_image_input(client):
    part = types.Part.from_bytes(data=b"\x89PNG\r\n\x1a\n" + bytes(64), mime_type="image/png")
    assert client.models.generate_content(model="sim-1", contents=["what is this?", part]).text


def test_embed_and_count(client):
    answer = client.models.embed_content(model="sim-embed", contents=["a", "b"])
    assert len(answer.embeddings) == 2 and answer.embeddings[0].values
    assert client.models.count_tokens(model="sim-1", contents="hello there").total_tokens > 0


@pytest.mark.parametrize(("model", "error", "code"), [
    ("sim-1+fault:400", errors.ClientError, 400),
    ("unknown-model", errors.ClientError, 404),
    ("sim-1+fault:429=3", errors.ClientError, 429),
    ("sim-1+fault:500", errors.ServerError, 500),
    ("sim-1+fault:503", errors.ServerError, 503),
    ("sim-1+fault:black_hole", errors.ServerError, 504),
])
def test_typed_errors(client, model, error, code):
    with pytest.raises(error) as raised:
        client.models.generate_content(model=model, contents="hello")
    assert raised.value.code == code


def test_unknown_key(weir):
    client = genai.Client(api_key="wrong-key-0", http_options=types.HttpOptions(base_url=weir.url))
    with pytest.raises(errors.ClientError) as raised:
        client.models.generate_content(model="sim-1", contents="hello")
    assert raised.value.code == 401


def test_too_large(client):
    with pytest.raises(errors.ClientError) as raised:
        client.models.generate_content(model="sim-1", contents="x" * (2 << 20))
    assert raised.value.code == 413


def test_a_broken_stream_raises(client):
    with pytest.raises(errors.APIError):
        for _ in client.models.generate_content_stream(model="sim-1+fault:cut=3", contents="hello"):
            pass
