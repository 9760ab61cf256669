"""Every client library against upstreams of every other format: tools over two turns, thinking, errors."""

import anthropic
import openai
import pytest

from clients import CLIENTS, Messages
from conftest import FORMATS

QUESTION = "What is the weather in Oslo?"


def cells(*clients):
    # The simulated Bedrock thinks as Anthropic's models do.
    return [pytest.param(client, f"via-{name}-claude", id=f"{client.own}-{name}")
            for client in clients for name in FORMATS if client.own != name]


def call_and_answer(chat, stream):
    chat.say(QUESTION)
    answer = chat.ask(stream, tools=True)
    assert answer.reason == chat.reasons[1]
    ((call, tool, given),) = answer.calls
    assert tool == "get_weather" and isinstance(given["city"], str)
    chat.result(call, "rain")
    answer = chat.ask(stream, tools=True)
    assert answer.text and not answer.calls
    assert answer.reason == chat.reasons[0]
    return answer


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("client", "model"), cells(*CLIENTS))
def test_a_tool_over_two_turns(weir, client, model, stream):
    answer = call_and_answer(client(weir.url, weir.key, model), stream)
    assert answer.tokens == 12


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("client", "model"), cells(Messages))
def test_thinking_with_a_tool(weir, client, model, stream):
    chat = client(weir.url, weir.key, model)
    chat.tokens = 4000
    chat.more = {"thinking": {"type": "enabled", "budget_tokens": 1024}}
    call_and_answer(chat, stream)


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
