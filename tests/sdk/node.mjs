// The `openai` Node client. Prints `ok` when everything held.
import assert from "node:assert/strict";
import OpenAI from "openai";

const [baseURL, apiKey] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0, timeout: 20_000 });
const messages = [{ role: "user", content: "hello" }];
const tools = [{
  type: "function",
  function: { name: "get_weather", parameters: { type: "object", properties: { city: { type: "string" } } } },
}];

const answer = await client.chat.completions.create({ model: "sim-1", messages });
assert.equal(answer.usage.completion_tokens, 12);

let text = "";
for await (const chunk of await client.chat.completions.create({ model: "sim-1", messages, stream: true })) {
  assert.equal(chunk.choices.length, 1);
  text += chunk.choices[0].delta.content ?? "";
}
assert.ok(text.length > 0);

const final = await client.chat.completions.stream({ model: "sim-1", messages, tools }).finalChatCompletion();
assert.equal(final.choices[0].message.tool_calls[0].function.name, "get_weather");

const floats = await client.embeddings.create({ model: "sim-embed", input: "a", encoding_format: "float" });
const packed = await client.embeddings.create({ model: "sim-embed", input: "a" });
assert.ok(Math.abs(floats.data[0].embedding[0] - packed.data[0].embedding[0]) < 1e-6);

const expected = [
  ["sim-1+fault:400", OpenAI.BadRequestError],
  ["unknown-model", OpenAI.NotFoundError],
  ["sim-1+fault:429=3", OpenAI.RateLimitError],
  ["sim-1+fault:500", OpenAI.InternalServerError],
  ["sim-1+fault:503", OpenAI.InternalServerError],
];
for (const [model, type] of expected) {
  await assert.rejects(client.chat.completions.create({ model, messages }), type, model);
}
await assert.rejects(
  new OpenAI({ baseURL, apiKey: "wrong-key-0", maxRetries: 0 }).models.list().then((page) => page.data.length),
  OpenAI.AuthenticationError,
);
await assert.rejects(async () => {
  const stream = await client.chat.completions.create({ model: "sim-1+fault:cut=3", messages, stream: true });
  for await (const _ of stream) { /* until it breaks */ }
}, OpenAI.APIError);
console.log("ok");
