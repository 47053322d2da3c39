"""Coding clients that nobody has changed: they offer their tools, run what is called, and come to their end.

Behind the server is an engine that knows functions alone: the built-in one, or a chat server with a script.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from agentwire.engines import builtin
from agentwire.engines.chat import open_chat_engine
from agentwire.runtime.contracts import Engine
from agentwire.server.server import Server, serve
from tests import peers
from tests.engines.chat.kit import Script, Upstream, call, calls, says, stop, text, upstream, used

pytestmark = [pytest.mark.peer, pytest.mark.socket]

Json = dict[str, Any]

PATCH = '*** Begin Patch\n*** Add File: hello.txt\n+say "hello"\n*** End Patch\n'
CODE = 'const r = await tools.exec_command({cmd: "echo from-the-code"}); text(r.output);'


@asynccontextmanager
async def serving(engine: Engine) -> AsyncGenerator[Server]:
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            yield await nursery.start(partial(serve, engine))
            nursery.cancel_scope.cancel(reason="the test is over")


@asynccontextmanager
async def chat_behind_a_server(*scripts: Script) -> AsyncGenerator[tuple[Server, Upstream]]:
    async with upstream(*scripts) as model, open_chat_engine(model.url) as engine, serving(engine) as server:
        yield server, model


def called(name: str, arguments: Any, *, size: int = 7) -> Script:
    """The model calls one function, and its arguments come in pieces."""
    sent = arguments if isinstance(arguments, str) else json.dumps(arguments)
    pieces = [sent[at : at + size] for at in range(0, len(sent), size)]
    return says(
        calls(call("", name=name, id="call_1")), *(calls(call(piece)) for piece in pieces), stop("tool_calls"), used()
    )


async def codex(server: Server, home: Path, task: str, *, model: str = "coder", http: bool = False) -> list[Json]:
    """One run of the Codex CLI without a terminal; what it says of it, event by event."""
    socket = "false" if http else "true"
    ours = {"name": "agentwire", "base_url": server.http_url, "env_key": "AGENTWIRE_KEY", "wire_api": "responses"}
    told = ",".join(f"{name}={json.dumps(value)}" for name, value in ours.items())
    provider = f"model_providers.agentwire={{{told},supports_websockets={socket}}}"
    options = ["model_provider=agentwire", f"model={model}", provider, "check_for_update_on_startup=false"]
    work = home / "work"
    work.mkdir()
    command: list[str | Path] = [peers.codex_exe(), "exec", "--json", "--skip-git-repo-check", "-C", work]
    command += ["--dangerously-bypass-approvals-and-sandbox"]  # the commands of these tests do nothing but echo
    for option in options:
        command += ["-c", option]
    nowhere = "http://127.0.0.1:9"
    env = {
        "PATH": "/usr/bin:/bin", "HOME": str(home), "CODEX_HOME": str(home), "AGENTWIRE_KEY": "unused",
        "HTTPS_PROXY": nowhere, "HTTP_PROXY": nowhere, "NO_PROXY": "127.0.0.1",
    }  # fmt: skip
    ran = await trio.run_process(
        [*command, task], stdin=b"", env=env, capture_stdout=True, capture_stderr=True, check=False
    )
    said = ran.stdout.decode()
    assert ran.returncode == 0, f"{said}\n{ran.stderr.decode()}"
    events = [json.loads(line) for line in said.splitlines()]
    assert "Falling back" not in said
    assert events[-1]["type"] == "turn.completed", said
    return [event["item"] for event in events if event["type"] == "item.completed"]


def of_kind(items: list[Json], kind: str) -> Json:
    (found,) = [item for item in items if item["type"] == kind]
    return found


async def test_codex_runs_a_command_and_reports_what_it_put_out(tmp_path: Path) -> None:
    async with serving(builtin()) as server:
        items = await codex(server, tmp_path, "Call exec_command with `echo from-the-shell`.")
        turns = server.statistics().turns
    ran = of_kind(items, "command_execution")
    assert (ran["aggregated_output"], ran["exit_code"]) == ("from-the-shell\n", 0)
    assert "from-the-shell" in of_kind(items, "agent_message")["text"]
    assert turns == {"completed": 3}  # the first one only warms up


async def test_codex_offers_its_tools_late_and_runs_code_that_calls_them(tmp_path: Path) -> None:
    async with serving(builtin()) as server:
        items = await codex(server, tmp_path, f"Use exec:\n```\n{CODE}\n```", model="gpt-5.6-sol")
    assert of_kind(items, "command_execution")["aggregated_output"] == "from-the-code\n"
    assert "from-the-code" in of_kind(items, "agent_message")["text"]


@pytest.mark.parametrize("written", [{"input": PATCH}, PATCH])
async def test_codex_applies_a_patch_of_a_model_that_knows_functions_alone(written: Any, tmp_path: Path) -> None:
    async with chat_behind_a_server(called("apply_patch", written), text("Done.")) as (server, model):
        items = await codex(server, tmp_path, "Say hello in a file.", model="gpt-5.5")
    assert of_kind(items, "agent_message")["text"] == "Done."
    assert (tmp_path / "work" / "hello.txt").read_text() == 'say "hello"\n'
    asked, answered = model.bodies
    assert {"apply_patch", "exec_command", "tool_search"} <= {tool["function"]["name"] for tool in asked["tools"]}
    assert answered["messages"][: len(asked["messages"])] == asked["messages"]
    assistant, output = answered["messages"][-2:]
    assert json.loads(assistant["tool_calls"][0]["function"]["arguments"]) == {"input": PATCH}
    assert "Success" in output["content"]


async def test_codex_over_http_with_a_tool_in_a_namespace(tmp_path: Path) -> None:
    scripts = (called("functions.exec", {"input": CODE}), text("Done."))
    async with chat_behind_a_server(*scripts) as (server, model):
        items = await codex(server, tmp_path, "Run some code.", model="gpt-5.6-sol", http=True)
    assert of_kind(items, "command_execution")["aggregated_output"] == "from-the-code\n"
    names = [tool["function"]["name"] for tool in model.bodies[0]["tools"]]
    assert {"functions__exec", "functions__wait", "collaboration__spawn_agent"} <= set(names)


TASKS = {
    "local_shell": "Use local_shell to run `ls -l`.",
    "shell": "Use the shell to run `pwd`.",
    "apply_patch": 'Use apply_patch to create the file `new.py` with "print(1)".',
    "computer": "Use the computer to take a screenshot.",
    "custom": "Use note with `milk`.",
    "deferred": 'Use calendar for "friday".',
}
SEEN: dict[str, list[Any]] = {
    "local_shell": [["bash", "-lc", "ls -l"]],
    "shell": [["pwd"]],
    "apply_patch": [["create_file", "new.py", "print(1)"]],
    "computer": ["screenshot"],
    "custom": ["milk"],
    "deferred": ["friday"],
}


async def test_the_agents_sdk_runs_every_tool_that_it_has(frameworks_python: Path) -> None:
    async with serving(builtin()) as server:
        report = await peers.converse(frameworks_python, "coding_agents.py", server.http_url, json.dumps(TASKS))
    assert {name: told["seen"] for name, told in report.items()} == SEEN
    assert "local output" in report["local_shell"]["text"]
    assert "create_file of new.py worked" in report["apply_patch"]["text"]
    assert "friday is free" in report["deferred"]["text"]


async def test_the_ai_sdk_runs_every_tool_that_it_has() -> None:
    kinds = ("local_shell", "shell", "apply_patch", "custom")
    tasks = {"function": "What is the weather in Rome?"} | {kind: TASKS[kind] for kind in kinds}
    async with serving(builtin()) as server:
        report = await peers.converse(peers.aisdk_node(), "coding_aisdk.mjs", server.http_url, json.dumps(tasks))
    assert [told["errors"] for told in report.values()] == [[]] * len(tasks)
    seen = {name: told["seen"][0] for name, told in report.items()}
    patch = {"type": "create_file", "path": "new.py", "diff": "+print(1)"}
    assert seen == {
        "function": {"location": "Rome"},
        **{kind: SEEN[kind][0] for kind in kinds},
        "apply_patch": patch,
    }
    assert "ran pwd" in report["shell"]["text"]
    assert "noted milk" in report["custom"]["text"]


async def test_the_agents_sdk_gets_the_items_that_it_knows_from_a_model_that_writes_badly(
    frameworks_python: Path,
) -> None:
    envelope = "*** Begin Patch\n*** Add File: new.py\n+x\n*** Update File: old.py\n@@\n a\n-b\n+B\n*** End Patch"
    said = {
        "shell": [called("shell", {"command": ["ls", "a b"]}), text("one")],
        "apply_patch": [called("apply_patch", {"patch": envelope}), text("two")],
        "computer": [called("computer", '{"type": "click", "x": 3, "y": 4}'), text("three")],
        "custom": [called("note", "just words"), text("four")],
    }
    tasks = dict.fromkeys(said, "go on")
    scripts = [script for each in said.values() for script in each]
    async with chat_behind_a_server(*scripts) as (server, model):
        report = await peers.converse(frameworks_python, "coding_agents.py", server.http_url, json.dumps(tasks))
    assert [told["text"] for told in report.values()] == ["one", "two", "three", "four"]
    assert report["shell"]["seen"] == [["ls 'a b'"]]
    assert report["apply_patch"]["seen"] == [
        ["create_file", "new.py", "x"],
        ["update_file", "old.py", "a\nB\nc\n"],
    ]
    assert report["computer"]["seen"] == [[3, 4, "left", {}], "screenshot"]
    assert report["custom"]["seen"] == ["just words"]
    outputs = [body["messages"][-1]["content"] for body in model.bodies[1::2]]
    assert outputs[0] == "shell output"
    assert outputs[1] == "update_file of old.py worked"
    assert outputs[2][0]["type"] == "image_url"
    assert outputs[3] == "noted"
