"""A conversation with one tool, in the words of each client library."""

import json
import typing

import anthropic
import boto3
import cohere
import openai
from botocore.config import Config
from google import genai
from google.genai import types

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
NAME, ABOUT = "get_weather", "The weather in a city"


class Answer(typing.NamedTuple):
    """An answer: calls are triples of id, name and arguments."""

    text: str | None
    calls: list
    tokens: int
    reason: str


class Client:
    """What all of them have."""

    # The most tokens that an answer may have.
    tokens = 96
    # What its library says of the end of an answer: complete, and with calls.
    reasons = ("stop", "tool_calls")

    def __init__(self, url, key, model):
        self.url, self.key, self.model = url, key, model
        # More members of its requests.
        self.more = {}
        self.connect()


class Chat(Client):
    """`openai`, Chat Completions."""

    own = "chat_completions"

    def connect(self):
        self.client = openai.OpenAI(
            base_url=f"{self.url}/v1", api_key=self.key, max_retries=0, timeout=120)
        self.messages = []

    def say(self, text):
        self.messages.append({"role": "user", "content": text})

    def ask(self, stream, tools=False, required=False):
        more = {"tools": [{"type": "function", "function": {
            "name": NAME, "description": ABOUT, "parameters": SCHEMA}}]} if tools else {}
        if required:
            more["tool_choice"] = "required"
        options = {"model": self.model, "messages": self.messages, "max_completion_tokens": self.tokens,
                   **more, **self.more}
        if stream:
            with self.client.chat.completions.stream(
                    **options, stream_options={"include_usage": True}) as events:
                for _ in events:
                    pass
                answer = events.get_final_completion()
        else:
            answer = self.client.chat.completions.create(**options)
        message = answer.choices[0].message
        said = message.model_dump(exclude_none=True, exclude={"parsed"})
        for call in said.get("tool_calls", []):
            call["function"].pop("parsed_arguments", None)
        self.messages.append(said)
        calls = [(call.id, call.function.name, json.loads(call.function.arguments))
                 for call in message.tool_calls or []]
        return Answer(
            message.content, calls, answer.usage.completion_tokens, answer.choices[0].finish_reason)

    def result(self, call, text):
        self.messages.append({"role": "tool", "tool_call_id": call, "content": text})


class Responses(Client):
    """`openai`, Responses."""

    own = "responses"
    reasons = ("completed", "completed")

    def connect(self):
        self.client = openai.OpenAI(
            base_url=f"{self.url}/v1", api_key=self.key, max_retries=0, timeout=120)
        self.items = []

    def say(self, text):
        self.items.append({"role": "user", "content": text})

    def ask(self, stream, tools=False, required=False):
        more = {"tools": [{"type": "function", "name": NAME, "description": ABOUT,
                           "parameters": SCHEMA, "strict": False}]} if tools else {}
        if required:
            more["tool_choice"] = "required"
        options = {"model": self.model, "input": self.items, "max_output_tokens": self.tokens,
                   "store": False, **more, **self.more}
        if stream:
            with self.client.responses.stream(**options) as events:
                for _ in events:
                    pass
                answer = events.get_final_response()
        else:
            answer = self.client.responses.create(**options)
        self.items += [item.model_dump(exclude_none=True, exclude={"parsed_arguments"})
                       for item in answer.output]
        calls = [(item.call_id, item.name, json.loads(item.arguments))
                 for item in answer.output if item.type == "function_call"]
        return Answer(answer.output_text, calls, answer.usage.output_tokens, answer.status)

    def result(self, call, text):
        self.items.append({"type": "function_call_output", "call_id": call, "output": text})


class Messages(Client):
    """`anthropic`."""

    own = "anthropic"
    reasons = ("end_turn", "tool_use")

    def connect(self):
        self.client = anthropic.Anthropic(
            base_url=self.url, api_key=self.key, max_retries=0, timeout=120)
        self.messages = []

    def say(self, text):
        self.messages.append({"role": "user", "content": text})

    def ask(self, stream, tools=False, required=False):
        more = {"tools": [{"name": NAME, "description": ABOUT, "input_schema": SCHEMA}]} if tools else {}
        if required:
            more["tool_choice"] = {"type": "any"}
        options = {"model": self.model, "messages": self.messages, "max_tokens": self.tokens,
                   **more, **self.more}
        if stream:
            with self.client.messages.stream(**options) as events:
                answer = events.get_final_message()
        else:
            answer = self.client.messages.create(**options)
        self.messages.append({"role": "assistant", "content": [
            block.model_dump(exclude_none=True, exclude={"parsed_output"}) for block in answer.content]})
        text = "".join(block.text for block in answer.content if block.type == "text")
        calls = [(block.id, block.name, block.input) for block in answer.content if block.type == "tool_use"]
        return Answer(text, calls, answer.usage.output_tokens, answer.stop_reason)

    def result(self, call, text):
        self.messages.append({"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": call, "content": text}]})


class Gemini(Client):
    """`google-genai`."""

    own = "gemini"
    reasons = ("STOP", "STOP")

    def connect(self):
        self.client = genai.Client(api_key=self.key, http_options={"base_url": self.url})
        self.contents, self.named = [], {}

    def say(self, text):
        self.contents.append(types.Content(role="user", parts=[types.Part(text=text)]))

    def ask(self, stream, tools=False, required=False):
        declared = types.Tool(function_declarations=[types.FunctionDeclaration(
            name=NAME, description=ABOUT, parameters_json_schema=SCHEMA)])
        mode = types.ToolConfig(function_calling_config=types.FunctionCallingConfig(mode="ANY"))
        config = types.GenerateContentConfig(
            max_output_tokens=self.tokens, automatic_function_calling={"disable": True},
            tools=[declared] if tools else None, tool_config=mode if required else None)
        options = {"model": self.model, "contents": self.contents, "config": config}
        if stream:
            chunks = list(self.client.models.generate_content_stream(**options))
        else:
            chunks = [self.client.models.generate_content(**options)]
        parts = [part for chunk in chunks if chunk.candidates and chunk.candidates[0].content
                 for part in chunk.candidates[0].content.parts or []]
        self.contents.append(types.Content(role="model", parts=parts))
        text = "".join(part.text or "" for part in parts if not part.thought)
        found = [part.function_call for part in parts if part.function_call]
        self.named.update({call.id: call.name for call in found})
        calls = [(call.id, call.name, call.args) for call in found]
        last = chunks[-1]
        return Answer(text, calls, last.usage_metadata.candidates_token_count, last.candidates[0].finish_reason)

    def result(self, call, text):
        self.contents.append(types.Content(role="user", parts=[types.Part(
            function_response=types.FunctionResponse(
                id=call, name=self.named[call], response={"result": text}))]))


class Cohere(Client):
    """`cohere`."""

    own = "cohere"
    reasons = ("COMPLETE", "TOOL_CALL")

    def connect(self):
        self.client = cohere.ClientV2(api_key=self.key, base_url=self.url, timeout=120)
        self.messages = []

    def say(self, text):
        self.messages.append({"role": "user", "content": text})

    def ask(self, stream, tools=False, required=False):
        more = {"tools": [{"type": "function", "function": {
            "name": NAME, "description": ABOUT, "parameters": SCHEMA}}]} if tools else {}
        if required:
            more["tool_choice"] = "REQUIRED"
        options = {"model": self.model, "messages": self.messages, "max_tokens": self.tokens,
                   **more, **self.more}
        text, calls = "", []
        if stream:
            for event in self.client.chat_stream(**options):
                if event.type == "content-delta":
                    text += event.delta.message.content.text or ""
                elif event.type == "tool-call-start":
                    call = event.delta.message.tool_calls
                    calls.append([call.id, call.function.name, call.function.arguments or ""])
                elif event.type == "tool-call-delta":
                    calls[-1][2] += event.delta.message.tool_calls.function.arguments
                elif event.type == "message-end":
                    end = event.delta
        else:
            answer = end = self.client.chat(**options)
            text = "".join(part.text for part in answer.message.content or [] if part.type == "text")
            calls = [[call.id, call.function.name, call.function.arguments]
                     for call in answer.message.tool_calls or []]
        said = {"role": "assistant"}
        if calls:
            said["tool_calls"] = [{"id": id, "type": "function", "function": {"name": name, "arguments": given}}
                                  for id, name, given in calls]
        else:
            said["content"] = text
        self.messages.append(said)
        calls = [(id, name, json.loads(given)) for id, name, given in calls]
        return Answer(text, calls, end.usage.billed_units.output_tokens, end.finish_reason)

    def result(self, call, text):
        self.messages.append({"role": "tool", "tool_call_id": call, "content": text})


class Bedrock(Client):
    """`boto3`: the binary event stream, signed requests."""

    own = "bedrock"
    reasons = ("end_turn", "tool_use")

    def connect(self):
        self.client = boto3.client(
            "bedrock-runtime", endpoint_url=self.url, region_name="us-east-1",
            aws_access_key_id=self.key, aws_secret_access_key="unused",
            config=Config(retries={"max_attempts": 1}, read_timeout=120))
        self.messages = []

    def say(self, text):
        self.messages.append({"role": "user", "content": [{"text": text}]})

    def ask(self, stream, tools=False, required=False):
        options = {"modelId": self.model, "messages": self.messages,
                   "inferenceConfig": {"maxTokens": self.tokens}}
        if tools:
            options["toolConfig"] = {"tools": [{"toolSpec": {
                "name": NAME, "description": ABOUT, "inputSchema": {"json": SCHEMA}}}]}
        if required:
            options["toolConfig"]["toolChoice"] = {"any": {}}
        if stream:
            content, usage, reason = self.streamed(self.client.converse_stream(**options)["stream"])
        else:
            answer = self.client.converse(**options)
            content, usage = answer["output"]["message"]["content"], answer["usage"]
            reason = answer["stopReason"]
        self.messages.append({"role": "assistant", "content": content})
        text = "".join(block.get("text", "") for block in content)
        calls = [(block["toolUse"]["toolUseId"], block["toolUse"]["name"], block["toolUse"]["input"])
                 for block in content if "toolUse" in block]
        return Answer(text, calls, usage["outputTokens"], reason)

    @staticmethod
    def streamed(events):
        blocks, usage, reason = {}, None, None
        for event in events:
            if start := event.get("contentBlockStart"):
                blocks[start["contentBlockIndex"]] = {"toolUse": {**start["start"]["toolUse"], "input": ""}}
            if delta := event.get("contentBlockDelta"):
                given = delta["delta"]
                block = blocks.setdefault(delta["contentBlockIndex"], {} if "toolUse" in given else {"text": ""})
                if "text" in given:
                    block["text"] += given["text"]
                if "toolUse" in given:
                    block["toolUse"]["input"] += given["toolUse"]["input"]
            reason = event.get("messageStop", {}).get("stopReason", reason)
            usage = event.get("metadata", {}).get("usage", usage)
        for block in blocks.values():
            if "toolUse" in block:
                block["toolUse"]["input"] = json.loads(block["toolUse"]["input"] or "{}")
        return list(blocks.values()), usage, reason

    def result(self, call, text):
        self.messages.append({"role": "user", "content": [{"toolResult": {
            "toolUseId": call, "content": [{"text": text}]}}]})


CLIENTS = [Chat, Responses, Messages, Gemini, Cohere, Bedrock]
