// The official JavaScript SDK on lanes: a warm-up, a fork, and a steer; one JSON line at the end.
//
//     node node_lanes.mjs http://127.0.0.1:8000/v1
//
// Exit code 0: the conversation went as it should. 1: it did not; what went wrong is in the line's `error`.

import { createRequire } from "node:module";

const require = createRequire(new URL("../../.peers/node/package.json", import.meta.url));
const { OpenAI } = require("openai");
const { ResponsesWS } = require("openai/resources/responses/ws");

const TERMINAL = ["response.completed", "response.failed", "response.incomplete"];
const BASE = { type: "response.create", model: "default", store: false };

function talker(ws) {
  const messages = ws.stream();
  return async function until(...kinds) {
    const events = [];
    for (;;) {
      const { done, value } = await messages.next();
      if (done || value.type === "close") throw new Error(`the connection ended after ${events.map((e) => e.type)}`);
      if (value.type === "error") throw value.error;
      if (value.type !== "message") continue;
      events.push(value.message);
      if (kinds.includes(value.message.type)) return events;
    }
  };
}

function textOf(response) {
  const messages = response.output.filter((item) => item.type === "message");
  return messages.flatMap((item) => item.content.map((part) => part.text ?? "")).join("");
}

function told({ type, stream_id: lane = null, sequence_number: number, response, steer, error }) {
  const found = { type, lane, number };
  if (response) {
    const { id, previous_response_id: previous, status, output, incomplete_details: details } = response;
    const items = output.map((item) => item.type);
    Object.assign(found, { id, previous, status, text: textOf(response), items, reason: details?.reason ?? null });
  }
  return steer ? { ...found, steer, code: error?.code ?? null } : found;
}

async function steerOne(ws, until) {
  ws.send({ ...BASE, stream_id: "steered", input: "Wait." });
  const events = await until("response.output_item.done");
  const id = events[0].response.id;
  ws.send({ type: "response.steer", previous_response_id: id, input: "Be brief." });
  events.push(...(await until("response.incomplete")), ...(await until("response.completed")));
  const late = [{ role: "user", content: "Too late." }];
  ws.send({ type: "response.steer", previous_response_id: id, input: late });
  events.push(...(await until("response.steer.failed")));
  return events.map(told);
}

async function hold(ws) {
  const until = talker(ws);
  ws.send({ ...BASE, stream_id: "main", generate: false, input: "Remember slate." });
  const warm = (await until(...TERMINAL)).at(-1);
  ws.send({ ...BASE, stream_id: "main", previous_response_id: warm.response.id, input: [] });
  const first = (await until(...TERMINAL)).at(-1);
  for (const lane of ["left", "right"]) {
    ws.send({ ...BASE, stream_id: lane, previous_response_id: first.response.id, input: `Go ${lane}.` });
  }
  const both = [...(await until(...TERMINAL)), ...(await until(...TERMINAL))];
  const forks = both.filter((event) => TERMINAL.includes(event.type));
  return { warm_up: told(warm), first: told(first), forks: forks.map(told), steered: await steerOne(ws, until) };
}

async function main() {
  const ws = new ResponsesWS(new OpenAI({ baseURL: process.argv[2], apiKey: "unused", maxRetries: 0 }));
  try {
    return await hold(ws);
  } catch (error) {
    process.exitCode = 1;
    return { error: `${error.name}: ${error.message}` };
  } finally {
    ws.close();
  }
}

const late = setTimeout(() => {
  console.log(JSON.stringify({ error: "not done after a minute" }));
  process.exit(1);
}, 60_000);
console.log(JSON.stringify(await main()));
clearTimeout(late);
