"""The official OpenAI SDK, unchanged, against agentwire: pip install "openai[realtime]"

In one terminal: agentwire serve. In another: python examples/openai_sdk.py [http://127.0.0.1:8000/v1]
"""

from __future__ import annotations

import json
import sys

from openai import OpenAI

WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "Tells the weather in a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}

base_url = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000/v1"
client = OpenAI(base_url=base_url, api_key="unused")

with client.responses.connect() as connection:
    request = {"model": "builtin", "tools": [WEATHER], "input": 'Use get_weather for "Paris".'}
    while True:
        connection.response.create(**request)
        for event in connection:
            if event.type == "response.output_text.delta":
                print(event.delta, end="", flush=True)
            if event.type in ("response.completed", "response.failed", "response.incomplete"):
                break
        calls = [item for item in event.response.output if item.type == "function_call"]
        if not calls:
            break
        outputs = []
        for call in calls:
            print(f"{call.name}({call.arguments})")
            answer = json.dumps({"city": json.loads(call.arguments)["city"], "sky": "sunny", "celsius": 21})
            outputs.append({"type": "function_call_output", "call_id": call.call_id, "output": answer})
        request |= {"input": outputs, "previous_response_id": event.response.id}
print()
