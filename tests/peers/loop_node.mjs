// The official JavaScript SDK over plain HTTP, with a loop of one's own: the whole history with each request.
//
//     node loop_node.mjs http://127.0.0.1:8000/v1 [--turns 50] [--store false]
//
// One JSON line at the end; exit code 1 if something threw.

import { createRequire } from "node:module";
import { parseArgs } from "node:util";

const require = createRequire(new URL("../../.peers/node/package.json", import.meta.url));
const { OpenAI } = require("openai");

const { values, positionals } = parseArgs({
  options: { turns: { type: "string", default: "50" }, store: { type: "string", default: "true" } },
  allowPositionals: true,
});
const turns = Number(values.turns);
const client = new OpenAI({ baseURL: positionals[0], apiKey: "unused", maxRetries: 0, timeout: 30000 });

const tool = {
  type: "function",
  name: "look_up",
  description: "Look up a page of the manual.",
  parameters: {
    type: "object",
    properties: { page: { type: "integer", description: "Number of the page, from 1" } },
    required: ["page"],
    additionalProperties: false,
  },
  strict: true,
};

function lookUp({ page }) {
  const lines = Array.from({ length: 30 }, (_, number) => `Line ${number} of page ${page} says ${number * page}.`);
  return `Page ${page}. ${lines.join(" ")}`;
}

async function hold() {
  const history = [{ role: "user", content: `Look up ${turns} pages.` }];
  for (let turn = 0; turn <= turns; turn++) {
    const response = await client.responses.create({
      model: "looking",
      instructions: "You look up pages, one after the other, and say how many there were.",
      input: history,
      tools: [tool],
      store: values.store === "true",
    });
    history.push(...response.output);
    const calls = response.output.filter((item) => item.type === "function_call");
    if (calls.length === 0) return response.output_text;
    for (const call of calls) {
      const output = lookUp(JSON.parse(call.arguments));
      history.push({ type: "function_call_output", call_id: call.call_id, output });
    }
  }
  throw new Error("the model did not come to an end");
}

try {
  console.log(JSON.stringify({ text: await hold() }));
} catch (error) {
  console.log(JSON.stringify({ error: String(error) }));
  process.exitCode = 1;
}
