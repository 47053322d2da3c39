// The Vercel AI SDK with the tools of a coding agent, which it runs itself: each is called, and its answer read.
//
//     node coding_aisdk.mjs http://127.0.0.1:8000/v1 '{"shell": "Run `ls`.", ...}'
//
// One JSON line at the end: for each tool what it was called with, and the text at the end. Nothing is really run.

import { createRequire } from "node:module";

const require = createRequire(new URL("../../.peers/aisdk/package.json", import.meta.url));
const { createOpenAI } = require("@ai-sdk/openai");
const { stepCountIs, streamText, tool } = require("ai");
const { z } = require("zod");

const openai = createOpenAI({ baseURL: process.argv[2], apiKey: "unused" });
const report = {};

/** What the agent has in each run; a hosted tool stands beside some, as users do it. */
function tools(seen) {
  const note = (value) => {
    seen.push(value);
    return value;
  };
  const done = (command) => ({ stdout: `ran ${command}`, stderr: "", outcome: { type: "exit", exitCode: 0 } });
  const inputSchema = z.object({ location: z.string() });
  return {
    function: { get_weather: tool({ description: "Get the weather", inputSchema, execute: async (input) => note(input) }) },
    local_shell: {
      local_shell: openai.tools.localShell({
        execute: async ({ action }) => ({ output: `ran ${note(action.command).join(" ")}` }),
      }),
      web_search: openai.tools.webSearch({}),
    },
    shell: { shell: openai.tools.shell({ execute: async ({ action }) => ({ output: note(action.commands).map(done) }) }) },
    apply_patch: {
      apply_patch: openai.tools.applyPatch({
        execute: async ({ operation }) => ({ status: "completed", output: `${note(operation).path} is there` }),
      }),
    },
    custom: {
      note: openai.tools.customTool({ name: "note", description: "Takes a note", execute: async (text) => `noted ${note(text)}` }),
    },
  };
}

for (const [name, prompt] of Object.entries(JSON.parse(process.argv[3]))) {
  const seen = [];
  const errors = [];
  const result = streamText({
    model: openai.responses("coding"),
    prompt,
    tools: tools(seen)[name],
    stopWhen: stepCountIs(4),
    maxRetries: 0,
    onError: ({ error }) => errors.push(String(error)),
  });
  let text = "";
  try {
    text = await result.text;
  } catch (error) {
    errors.push(String(error));
  }
  report[name] = { seen, text, errors };
}
console.log(JSON.stringify(report));
