"""Every client library against mock servers of others and against a small model, in every other format."""

import pytest

from clients import CLIENTS
from conftest import UPSTREAMS

QUESTION = "What is the weather in Oslo?"


def cells(*upstreams):
    return [pytest.param(client, upstream, name, id=f"{client.own}-{upstream}-{name}")
            for upstream in upstreams for name in UPSTREAMS[upstream]
            for client in CLIENTS if client.own != name]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("client", "upstream", "name"), cells("aimock", "llmock"))
def test_a_tool_over_two_turns(weir, client, upstream, name, stream):
    chat = client(weir.url, "any", f"{upstream}-{name}-claude")
    chat.say(QUESTION)
    ((call, tool, given),) = chat.ask(stream, tools=True).calls
    assert tool == "get_weather" and isinstance(given["city"], str)
    chat.result(call, "rain")
    answer = chat.ask(stream, tools=True)
    assert answer.text and not answer.calls and answer.tokens > 0


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("client", "upstream", "name"), cells("katan", "llama"))
def test_a_conversation(weir, client, upstream, name, stream):
    if (upstream, name, stream) == ("katan", "bedrock", True):
        pytest.skip("its stream is lines of JSON, not messages of the event stream")
    chat = client(weir.url, "any", f"{upstream}-{name}-claude")
    # Enough to come to an end: OpenAI's helpers for streams refuse what is cut for its length.
    chat.tokens = 192
    for text in ["Say hello.", "And once more."]:
        chat.say(text)
        answer = chat.ask(stream)
        assert answer.text and answer.tokens > 0


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("client", "upstream", "name"), cells("llama"))
def test_a_model_that_has_to_call_a_tool(weir, calls_when_it_has_to, client, upstream, name, stream):
    """Where the server binds its sampling by a grammar, even a small one makes a call that can be read."""
    if not calls_when_it_has_to:
        pytest.skip("the model makes no call, asked without weir")
    chat = client(weir.url, "any", f"{upstream}-{name}-claude")
    chat.say(QUESTION)
    chat.tokens = 64
    calls = chat.ask(stream, tools=True, required=True).calls
    call, tool, given = calls[0]
    assert tool == "get_weather" and isinstance(given["city"], str)
    chat.result(call, "rain")
    for other, _, _ in calls[1:]:
        chat.result(other, "rain")
    chat.tokens = 16
    answer = chat.ask(stream)
    assert answer.text and answer.tokens > 0
