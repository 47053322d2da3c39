"""LangChain's ``ChatOpenAI`` on the Responses API as it is over HTTP: the whole history with each request.

python loop_langchain.py http://127.0.0.1:8000/v1 [--turns 50] [--store false] [--drop-in PATHS]
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import loop
from langchain_core.messages import HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import StructuredTool
from langchain_openai import ChatOpenAI


def hold(options: argparse.Namespace, task: str) -> str:
    """The loop that LangChain's own documentation shows."""
    tool = StructuredTool.from_function(loop.look_up, name="look_up", description=loop.DESCRIPTION)
    model = ChatOpenAI(
        model="looking",
        base_url=options.base_url,
        use_responses_api=True,
        max_retries=0,
        store=options.store == "true",
        http_client=loop.drop_in(options),
    ).bind_tools([tool])
    history: list[Any] = [SystemMessage(loop.INSTRUCTIONS), HumanMessage(task)]
    for _ in range(options.turns + 1):
        answer: Any = model.invoke(history)
        history.append(answer)
        if not answer.tool_calls:
            return str(answer.text)
        history += [ToolMessage(tool.invoke(call["args"]), tool_call_id=call["id"]) for call in answer.tool_calls]
    raise RuntimeError("the model did not come to an end")


if __name__ == "__main__":
    sys.exit(loop.hold(hold, "A long tool loop over HTTP, by LangChain."))
