"""Agent frameworks, which run tools themselves, against upstreams of every format but their own."""

import asyncio

import openai
import pytest
from agents import Agent, ModelSettings, OpenAIChatCompletionsModel, OpenAIResponsesModel, Runner
from agents import function_tool, set_tracing_disabled
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic_ai import Agent as PydanticAgent
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.google import GoogleModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel as PydanticResponses
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.google import GoogleProvider
from pydantic_ai.providers.openai import OpenAIProvider

from conftest import FORMATS

QUESTION = "What is the weather in Oslo?"
set_tracing_disabled(True)


def pairs(*formats):
    return [(own, upstream) for own in formats for upstream in FORMATS if upstream != own]


@tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return "rain"


def langchain(weir, own, model):
    if own == "anthropic":
        return ChatAnthropic(
            model=model, anthropic_api_url=weir.url, api_key=weir.key, max_retries=0, max_tokens=4000)
    return ChatOpenAI(
        model=model, base_url=f"{weir.url}/v1", api_key=weir.key, max_retries=0,
        use_responses_api=own == "responses", stream_usage=True)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("own", "upstream"), pairs("chat_completions", "responses", "anthropic"))
def test_langchain(weir, own, upstream, stream):
    model = langchain(weir, own, f"via-{upstream}-claude").bind_tools([get_weather])

    def ask(messages):
        if not stream:
            return model.invoke(messages)
        whole = None
        for chunk in model.stream(messages):
            whole = chunk if whole is None else whole + chunk
        return whole

    messages = [HumanMessage(QUESTION)]
    answer = ask(messages)
    call = answer.tool_calls[0]
    assert call["name"] == "get_weather" and isinstance(call["args"]["city"], str)
    messages += [answer, ToolMessage(get_weather.invoke(call["args"]), tool_call_id=call["id"])]
    answer = ask(messages)
    assert answer.text and not answer.tool_calls
    assert answer.usage_metadata["output_tokens"] == 12


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("own", "upstream"), pairs("chat_completions", "responses"))
def test_openai_agents(weir, own, upstream, stream):
    asked = []

    @function_tool
    def get_weather(city: str) -> str:
        """The weather in a city."""
        asked.append(city)
        return "rain"

    async def run():
        client = openai.AsyncOpenAI(base_url=f"{weir.url}/v1", api_key=weir.key, max_retries=0)
        kind = OpenAIResponsesModel if own == "responses" else OpenAIChatCompletionsModel
        model = kind(model=f"via-{upstream}-claude", openai_client=client)
        agent = Agent(
            name="weather", instructions="Use the tool.", model=model, tools=[get_weather],
            model_settings=ModelSettings(include_usage=True))
        if not stream:
            return await Runner.run(agent, QUESTION)
        result = Runner.run_streamed(agent, QUESTION)
        async for _ in result.stream_events():
            pass
        return result

    result = asyncio.run(run())
    assert len(asked) == 1 and result.final_output
    assert result.context_wrapper.usage.requests == 2
    assert result.context_wrapper.usage.output_tokens > 12


def pydantic(weir, own, model):
    if own == "anthropic":
        return AnthropicModel(model, provider=AnthropicProvider(base_url=weir.url, api_key=weir.key))
    if own == "gemini":
        return GoogleModel(model, provider=GoogleProvider(base_url=weir.url, api_key=weir.key))
    provider = OpenAIProvider(base_url=f"{weir.url}/v1", api_key=weir.key)
    kind = PydanticResponses if own == "responses" else OpenAIChatModel
    return kind(model, provider=provider)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("own", "upstream"), pairs("chat_completions", "responses", "anthropic", "gemini"))
def test_pydantic_ai(weir, own, upstream, stream):
    agent = PydanticAgent(pydantic(weir, own, f"via-{upstream}-claude"))
    asked = []

    @agent.tool_plain
    def get_weather(city: str) -> str:
        """The weather in a city."""
        asked.append(city)
        return "rain"

    async def run():
        if not stream:
            result = await agent.run(QUESTION)
            return result.output, result.usage
        async with agent.run_stream(QUESTION) as result:
            return await result.get_output(), result.usage

    text, usage = asyncio.run(run())
    assert text and len(asked) == 1
    assert usage.requests == 2 and usage.output_tokens > 12
