"""The official Python SDK over HTTP, streaming, with its own retries, and the whole history with each turn.

agentwire conform-client PYTHON tests/peers/conform_openai_http.py
"""

from __future__ import annotations

import json
import sys
from typing import Any

import conform_common as given
from openai import OpenAI


def work() -> None:
    """The task, with a loop of one's own."""
    client: Any = OpenAI(timeout=given.PATIENCE)
    history: list[Any] = [{"role": "user", "content": given.TASK}]
    for _ in range(given.MOST_TURNS):
        with client.responses.stream(model=given.MODEL, input=history, tools=[given.TOOL], store=False) as stream:
            response = stream.get_final_response()
        if response.status != "completed":
            raise RuntimeError(response.to_json(indent=None))
        history += [item.model_dump(exclude={"parsed_arguments", "parsed"}) for item in response.output]
        calls = [item for item in response.output if item.type == "function_call"]
        if not calls:
            print(response.output_text, flush=True)
            return
        for call in calls:
            said = given.look_up(**json.loads(call.arguments))
            history.append({"type": "function_call_output", "call_id": call.call_id, "output": said})
    raise RuntimeError("the model did not come to an end")


if __name__ == "__main__":
    sys.exit(given.main(work))
