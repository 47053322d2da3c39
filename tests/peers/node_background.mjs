// The official JavaScript SDK and background responses: polled, streamed from the middle, cancelled, listed, deleted.
//
//     node node_background.mjs http://127.0.0.1:8000/v1
//
// It asks a server of `tests.peers.patient`. One JSON line at the end; exit code 1 if something threw.

import { createRequire } from "node:module";

const require = createRequire(new URL("../../.peers/node/package.json", import.meta.url));
const { OpenAI } = require("openai");

const client = new OpenAI({ baseURL: process.argv[2], apiKey: "unused", maxRetries: 0, timeout: 30000 });
const model = "patient";
const input = "one two three four five";
const report = {};

async function polled() {
  let response = await client.responses.create({ model, input, background: true });
  const states = new Set([response.status]);
  while (response.status === "queued" || response.status === "in_progress") {
    await new Promise((resolve) => setTimeout(resolve, 20));
    response = await client.responses.retrieve(response.id);
    states.add(response.status);
  }
  return { states: [...states], text: response.output_text, background: response.background };
}

async function streamed() {
  const numbers = [];
  let id;
  for await (const event of await client.responses.create({ model, input, background: true, stream: true })) {
    numbers.push(event.sequence_number);
    if (event.type === "response.created") id = event.response.id;
    if (numbers.length === 5) break;
  }
  let last;
  for await (const event of await client.responses.retrieve(id, { stream: true, starting_after: numbers.at(-1) })) {
    numbers.push(event.sequence_number);
    last = event;
  }
  return { numbers, last: last.type };
}

async function cancelled() {
  const response = await client.responses.create({ model, input: "hang", background: true });
  const first = await client.responses.cancel(response.id);
  const again = await client.responses.cancel(response.id);
  return [first.status, again.status];
}

async function listed() {
  const response = await client.responses.create({ model, input: ["a", "b"].map((content) => ({ role: "user", content })) });
  const texts = [];
  for await (const item of client.responses.inputItems.list(response.id, { order: "asc", limit: 1 })) {
    texts.push(item.content[0].text);
  }
  return texts;
}

async function counted() {
  return (await client.responses.inputTokens.count({ model, input: "x".repeat(400) })).input_tokens;
}

async function deleted() {
  const response = await client.responses.create({ model, input, background: true });
  await client.responses.delete(response.id);
  return await client.responses.retrieve(response.id).catch((error) => error.status);
}

try {
  for (const part of [polled, streamed, cancelled, listed, counted, deleted]) report[part.name] = await part();
  console.log(JSON.stringify(report));
} catch (error) {
  console.log(JSON.stringify({ error: `${error.name}: ${error.message}`, ...report }));
  process.exitCode = 1;
}
