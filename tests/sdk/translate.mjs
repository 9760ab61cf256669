// The Node clients against upstreams of every other format: a loop with a tool, streamed and whole.
// Prints `ok` when everything held.
import assert from "node:assert/strict";
import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import Anthropic from "@anthropic-ai/sdk";
import { GoogleGenAI } from "@google/genai";
import { generateText, stepCountIs, streamText, tool } from "ai";
import OpenAI from "openai";
import { z } from "zod";

globalThis.AI_SDK_LOG_WARNINGS = false;
const [base, apiKey, ...formats] = process.argv.slice(2);
const schema = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const question = "What is the weather in Oslo?";

/** The client's own tool loop: it parses the call, runs the tool, sends the result. */
async function openaiRunner(model) {
  const client = new OpenAI({ baseURL: `${base}/v1`, apiKey, maxRetries: 0, timeout: 20_000 });
  for (const stream of [false, true]) {
    let ran = 0;
    const runner = client.chat.completions.runTools({
      model, stream, messages: [{ role: "user", content: question }],
      tools: [{ type: "function", function: {
        name: "get_weather", parameters: schema, parse: JSON.parse,
        function: ({ city }) => { assert.equal(typeof city, "string"); ran += 1; return "rain"; },
      } }],
    });
    const text = await runner.finalContent();
    assert.equal(ran, 1);
    assert.ok(text.length > 0);
    const last = (await runner.finalChatCompletion()).choices[0];
    assert.equal(last.finish_reason, "stop");
  }
}

async function openaiResponses(model) {
  const client = new OpenAI({ baseURL: `${base}/v1`, apiKey, maxRetries: 0, timeout: 20_000 });
  const tools = [{ type: "function", name: "get_weather", parameters: schema, strict: false }];
  const input = [{ role: "user", content: question }];
  const ask = () => client.responses.stream({ model, input, tools }).finalResponse();
  const first = await ask();
  const call = first.output.find((item) => item.type === "function_call");
  assert.equal(typeof JSON.parse(call.arguments).city, "string");
  input.push(...first.output.filter((item) => item.type !== "message"),
    { type: "function_call_output", call_id: call.call_id, output: "rain" });
  const second = await ask();
  assert.equal(second.status, "completed");
  assert.ok(second.output_text.length > 0);
}

async function anthropicRunner(model) {
  const client = new Anthropic({ baseURL: base, apiKey, maxRetries: 0, timeout: 20_000 });
  const tools = [{ name: "get_weather", input_schema: schema }];
  const messages = [{ role: "user", content: question }];
  const options = { model, max_tokens: 4000, messages, tools };
  const first = await client.messages.stream(options).finalMessage();
  const call = first.content.find((block) => block.type === "tool_use");
  assert.equal(first.stop_reason, "tool_use");
  assert.equal(typeof call.input.city, "string");
  messages.push({ role: "assistant", content: first.content },
    { role: "user", content: [{ type: "tool_result", tool_use_id: call.id, content: "rain" }] });
  const second = await client.messages.stream(options).finalMessage();
  assert.equal(second.stop_reason, "end_turn");
  assert.equal(second.usage.output_tokens, 12);
}

async function gemini(model) {
  const client = new GoogleGenAI({ apiKey, httpOptions: { baseUrl: base } });
  const config = { tools: [{ functionDeclarations: [
    { name: "get_weather", description: "The weather", parametersJsonSchema: schema }] }] };
  const contents = [{ role: "user", parts: [{ text: question }] }];
  const ask = async () => {
    const parts = [];
    let last;
    for await (const chunk of await client.models.generateContentStream({ model, contents, config })) {
      parts.push(...(chunk.candidates?.[0]?.content?.parts ?? []));
      last = chunk;
    }
    return [parts, last];
  };
  const [parts] = await ask();
  const { functionCall } = parts.find((part) => part.functionCall);
  assert.equal(typeof functionCall.args.city, "string");
  contents.push({ role: "model", parts }, { role: "user", parts: [{ functionResponse: {
    id: functionCall.id, name: functionCall.name, response: { result: "rain" } } }] });
  const [said, last] = await ask();
  assert.ok(said.map((part) => part.text ?? "").join("").length > 0);
  assert.equal(last.candidates[0].finishReason, "STOP");
  assert.equal(last.usageMetadata.candidatesTokenCount, 12);
}

/**
 * The AI SDK runs the tool itself, over as many steps as it takes. Where responses are kept, it sends
 * references to their items instead of the items.
 */
const aiSdk = (provider, openaiOptions = {}) => async (name) => {
  const model = provider(name);
  for (const run of [generateText, streamText]) {
    let ran = 0;
    const result = run({
      model, prompt: question, stopWhen: stepCountIs(4), maxRetries: 0,
      onError: ({ error }) => { throw error; },
      providerOptions: { openai: openaiOptions },
      tools: { get_weather: tool({
        description: "The weather", inputSchema: z.object({ city: z.string() }),
        execute: async () => { ran += 1; return "rain"; },
      }) },
    });
    const { text, finishReason, steps } = run === streamText ? result : await result;
    assert.ok((await text).length > 0);
    assert.equal(await finishReason, "stop");
    assert.equal((await steps).length, 2);
    assert.equal(ran, 1);
  }
};
const openai = createOpenAI({ baseURL: `${base}/v1`, apiKey });
const anthropic = createAnthropic({ baseURL: `${base}/v1`, apiKey });

const clients = [
  ["openai, chat", "chat_completions", openaiRunner],
  ["openai, responses", "responses", openaiResponses],
  ["@anthropic-ai/sdk", "anthropic", anthropicRunner],
  ["@google/genai", "gemini", gemini],
  ["ai, openai chat", "chat_completions", aiSdk((name) => openai.chat(name))],
  ["ai, openai responses", "responses", aiSdk((name) => openai.responses(name))],
  ["ai, openai responses, not kept", "responses", aiSdk((name) => openai.responses(name), { store: false })],
  ["ai, anthropic", "anthropic", aiSdk((name) => anthropic(name))],
];
let failed = 0;
for (const [client, own, run] of clients) {
  for (const format of formats.filter((format) => format !== own)) {
    try {
      await run(`via-${format}-claude`);
    } catch (error) {
      failed += 1;
      console.error(`${client} of ${format}:`, error);
    }
  }
}
assert.equal(failed, 0, `${failed} failed`);
console.log("ok");
