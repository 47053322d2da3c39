// The official JavaScript SDK over the WebSocket: two turns with a tool call on one connection, one JSON line at the end.
//
//     node node_ws.mjs http://127.0.0.1:8000/v1 [--key KEY] [--text-only] ...
//
// Exit code 0: the conversation went as it should. 1: it did not; what went wrong is in the line's `error`.

import { createRequire } from "node:module";
import { parseArgs } from "node:util";

const require = createRequire(new URL("../../.peers/node/package.json", import.meta.url));
const { OpenAI } = require("openai");
const { ResponsesWS } = require("openai/resources/responses/ws");

const TERMINAL = ["response.completed", "response.failed", "response.incomplete"];
const TOOL = {
  type: "function",
  name: "get_weather",
  description: "Tells the weather in a city.",
  parameters: {
    type: "object",
    properties: { city: { type: "string", description: "Name of the city" } },
    required: ["city"],
    additionalProperties: false,
  },
  strict: true,
};

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    key: { type: "string", default: "unused" },
    model: { type: "string", default: "builtin" },
    "tool-choice": { type: "string", default: "auto" },
    store: { type: "string" },
    "text-only": { type: "boolean", default: false },
    timeout: { type: "string", default: "60" },
  },
});

const base = { model: options.model };
if (options.store) base.store = options.store === "true";
const tools = { ...base, tools: [TOOL] };

function firstTurn() {
  if (options["text-only"]) return { ...base, input: "Say hello.", max_output_tokens: 24 };
  return { ...tools, tool_choice: options["tool-choice"], input: 'What is the weather in "Paris"? Use get_weather.' };
}

function secondTurn(response) {
  const output = JSON.stringify({ city: "Paris", sky: "sunny", celsius: 21 });
  const answer = { type: "function_call_output", call_id: callOf(response).call_id, output };
  return { ...tools, tool_choice: "auto", input: [answer], previous_response_id: response.id };
}

function callOf(response) {
  const calls = response.output.filter((item) => item.type === "function_call");
  if (calls.length !== 1) {
    throw new Error(`one function call was expected, the output holds ${response.output.map((item) => item.type)}`);
  }
  return calls[0];
}

async function turn(ws, messages, request) {
  ws.send({ type: "response.create", ...request });
  const events = [];
  for (;;) {
    const { done, value } = await messages.next();
    if (done || value.type === "close") throw new Error(`the connection ended after ${events}`);
    if (value.type === "error") throw value.error;
    if (value.type !== "message") continue;
    events.push(value.message.type);
    if (TERMINAL.includes(value.message.type)) return { events, response: value.message.response };
  }
}

function textOf(response) {
  const messages = response.output.filter((item) => item.type === "message");
  const parts = messages.flatMap((item) => item.content).filter((part) => part.type === "output_text");
  return parts.map((part) => part.text).join("");
}

function report(turns) {
  const seen = turns.map(({ events, response: { id, status, model } }) => ({ events, id, status, model }));
  const last = turns.at(-1).response;
  const found = { turns: seen, text: textOf(last), usage: last.usage ?? null };
  if (turns.length > 1) {
    const { call_id: id, name, arguments: text } = callOf(turns[0].response);
    found.call = { id, name, arguments: JSON.parse(text) };
  }
  return found;
}

async function main() {
  const client = new OpenAI({ baseURL: positionals[0], apiKey: options.key, maxRetries: 0 });
  const ws = new ResponsesWS(client);
  const messages = ws.stream();
  const turns = [];
  try {
    turns.push(await turn(ws, messages, firstTurn()));
    if (!options["text-only"]) turns.push(await turn(ws, messages, secondTurn(turns[0].response)));
    return report(turns);
  } catch (error) {
    process.exitCode = 1;
    return { error: `${error.name}: ${error.message}`, turns: turns.map(({ events }) => events) };
  } finally {
    ws.close();
  }
}

const late = setTimeout(() => {
  console.log(JSON.stringify({ error: `not done after ${options.timeout} s` }));
  process.exit(1);
}, Number(options.timeout) * 1000);
console.log(JSON.stringify(await main()));
clearTimeout(late);
