"""The official OpenAI SDK's plain HTTP calls, with a tool loop, over one WebSocket: pip install openai

In one terminal: agentwire serve. In another: python examples/drop_in.py [http://127.0.0.1:8000/v1]
"""

from __future__ import annotations

import json
import sys

from openai import OpenAI

import agentwire

WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "Tells the weather in a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}

base_url = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000/v1"
client = OpenAI(base_url=base_url, api_key="unused", http_client=agentwire.http_client())  # that is all
history = [{"role": "user", "content": 'Use get_weather for "Paris" and "Oslo", one after the other.'}]

while True:
    response = client.responses.create(model="builtin", tools=[WEATHER], input=history)  # the whole history each time
    history += response.output
    calls = [item for item in response.output if item.type == "function_call"]
    if not calls:
        break
    for call in calls:
        print(f"{call.name}({call.arguments})")
        answer = json.dumps({"city": json.loads(call.arguments)["city"], "sky": "sunny", "celsius": 21})
        history.append({"type": "function_call_output", "call_id": call.call_id, "output": answer})
print(response.output_text)
