"""The OpenAI Agents SDK with the tools of a coding agent, which it runs itself: each is called, and its answer read.

python coding_agents.py http://127.0.0.1:8000/v1 '{"shell": "Run `ls`.", ...}'

Prints one JSON line: for each tool what it was called with, and the text at the end. Nothing is really run.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from agents import (
    Agent,
    ApplyPatchTool,
    Computer,
    ComputerTool,
    CustomTool,
    LocalShellTool,
    ModelSettings,
    OpenAIResponsesModel,
    Runner,
    ShellTool,
    ToolSearchTool,
    WebSearchTool,
    function_tool,
    set_tracing_disabled,
)
from agents.apply_diff import apply_diff
from openai import AsyncOpenAI

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


class Files:
    """An editor whose files are in memory."""

    def __init__(self, seen: list[Any]) -> None:
        self.seen = seen
        self.files = {"old.py": "a\nb\nc\n"}

    def create_file(self, operation: Any) -> str:
        self.files[operation.path] = apply_diff("", operation.diff, mode="create")
        return self._done(operation)

    def update_file(self, operation: Any) -> str:
        self.files[operation.path] = apply_diff(self.files[operation.path], operation.diff)
        return self._done(operation)

    def delete_file(self, operation: Any) -> str:
        del self.files[operation.path]
        return self._done(operation)

    def _done(self, operation: Any) -> str:
        self.seen.append([operation.type, operation.path, self.files.get(operation.path)])
        return f"{operation.type} of {operation.path} worked"


class Screen(Computer):  # type: ignore[misc]
    """A screen on which everything is only noted."""

    environment = "linux"
    dimensions = (800, 600)

    def __init__(self, seen: list[Any]) -> None:
        self.seen = seen

    def screenshot(self) -> str:
        self.seen.append("screenshot")
        return PIXEL

    def _note(self, *said: Any, **more: Any) -> None:
        self.seen.append([*said, more])

    click = double_click = scroll = type = wait = move = keypress = drag = _note


def tools(seen: list[Any]) -> dict[str, list[Any]]:
    """What the agent has in each run; hosted tools stand beside some, as users do it."""

    def local(request: Any) -> str:
        seen.append(request.data.action.command)
        return "local output"

    def shell(request: Any) -> str:
        seen.append(request.data.action.commands)
        return "shell output"

    async def note(_: Any, text: str) -> str:
        seen.append(text)
        return "noted"

    def late(day: str) -> str:
        """Look a day up."""
        seen.append(day)
        return f"{day} is free"

    return {
        "local_shell": [LocalShellTool(executor=local), WebSearchTool()],
        "shell": [ShellTool(executor=shell), WebSearchTool()],
        "apply_patch": [ApplyPatchTool(editor=Files(seen))],
        "computer": [ComputerTool(computer=Screen(seen))],
        "custom": [CustomTool(name="note", description="Takes a note.", on_invoke_tool=note)],
        "deferred": [function_tool(late, name_override="calendar", defer_loading=True), ToolSearchTool()],
    }


def main() -> int:
    """Each of the named tools in a run of its own."""
    set_tracing_disabled(True)
    model = OpenAIResponsesModel("coding", AsyncOpenAI(base_url=sys.argv[1], api_key="unused", max_retries=0))
    report: dict[str, Any] = {}
    for name, task in json.loads(sys.argv[2]).items():
        seen: list[Any] = []
        settings = ModelSettings(truncation="auto") if name == "computer" else ModelSettings()
        agent: Any = Agent(name="coder", model=model, tools=tools(seen)[name], model_settings=settings)
        try:
            text = str(Runner.run_sync(agent, task, max_turns=4).final_output)
        except Exception as error:  # noqa: BLE001 - whatever it is, the test wants to read it
            text = f"{type(error).__name__}: {error}"
        report[name] = {"seen": seen, "text": text}
    print(json.dumps(report))
    return 0


if __name__ == "__main__":
    os.environ.pop("OPENAI_BASE_URL", None)
    sys.exit(main())
