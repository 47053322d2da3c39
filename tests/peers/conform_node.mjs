// The official JavaScript SDK over the WebSocket, each turn continuing the last one.
//
//     agentwire conform-client -- .peers/node/node tests/peers/conform_node.mjs

import { createRequire } from "node:module";

const require = createRequire(new URL("../../.peers/node/package.json", import.meta.url));
const { OpenAI } = require("openai");
const { ResponsesWS } = require("openai/resources/responses/ws");

const TERMINAL = ["response.completed", "response.failed", "response.incomplete"];
const TOOL = {
  type: "function",
  name: "look_up",
  description: "Look up a page.",
  parameters: {
    type: "object",
    properties: { page: { type: "integer" } },
    required: ["page"],
    additionalProperties: false,
  },
  strict: true,
};

async function turn(ws, messages, request) {
  ws.send({ type: "response.create", model: "scripted", tools: [TOOL], store: false, ...request });
  for (;;) {
    const { done, value } = await messages.next();
    if (done || value.type === "close") throw new Error(`the connection was closed before the answer had ended (${value?.code} ${value?.reason})`);
    if (value.type === "error") throw value.error;
    if (value.type !== "message" || !TERMINAL.includes(value.message.type)) continue;
    if (value.message.type !== "response.completed") throw new Error(JSON.stringify(value.message.response.error));
    return value.message.response;
  }
}

async function answer(call) {
  const { page } = JSON.parse(call.arguments);
  const output = await (await fetch(`${process.env.AGENTWIRE_TOOL_URL}?page=${page}`)).text();
  return { type: "function_call_output", call_id: call.call_id, output };
}

async function main() {
  const ws = new ResponsesWS(new OpenAI({ timeout: 1000 * Number(process.env.AGENTWIRE_PATIENCE) }));
  const messages = ws.stream();
  try {
    let response = await turn(ws, messages, { input: process.env.AGENTWIRE_TASK });
    for (;;) {
      const calls = response.output.filter((item) => item.type === "function_call");
      if (calls.length === 0) break;
      const input = await Promise.all(calls.map(answer));
      response = await turn(ws, messages, { input, previous_response_id: response.id });
    }
    const parts = response.output.flatMap((item) => item.content ?? []);
    console.log(parts.map((part) => part.text ?? "").join(""));
  } finally {
    ws.close();
  }
}

main().catch((error) => {
  console.error(`${error.name}: ${error.message}`);
  process.exitCode = 1;
});
