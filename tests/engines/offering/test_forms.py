"""Each type of tool: as a function, as the item that calls it, and back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentwire.engines.builtin.schema import Schemas
from agentwire.engines.offering.form import read_arguments
from agentwire.engines.offering.forms import FORM_OF_CALL, FORMS
from agentwire.engines.offering.names import plain_name
from agentwire.engines.offering.patches import NO_PATH
from agentwire.engines.offering.shells import NOTHING_SAID

Json = dict[str, Any]

EXEC: Json = {"type": "exec", "env": {}}
SEARCH: Json = {"type": "tool_search", "execution": "client"}


def called(kind: str, said: str | Json, **tool: Any) -> list[Json]:
    """What a model's arguments become."""
    text = said if isinstance(said, str) else json.dumps(said)
    return list(FORMS[kind].calls(read_arguments(text), {"type": kind, **tool}))


@pytest.mark.parametrize(
    ("said", "command", "more"),
    [
        ({"command": ["ls", "-l"]}, ["ls", "-l"], {}),
        ({"command": "ls | wc"}, ["bash", "-lc", "ls | wc"], {}),
        ({"cmd": ["head", "-n", 3]}, ["head", "-n", "3"], {}),
        ("ls -l", ["bash", "-lc", "ls -l"], {}),
        ('```json\n{"command": ["ls"]}\n```', ["ls"], {}),
        ({"command": ["make"], "timeout_ms": 5e3, "workdir": "/x", "env": {"A": 1}, "user": "me"}, ["make"],
         {"timeout_ms": 5000, "working_directory": "/x", "env": {"A": "1"}, "user": "me"}),
        ({"command": ["x"], "timeout_ms": -1, "working_directory": "", "env": "?"}, ["x"], {}),
        ({}, ["bash", "-lc", NOTHING_SAID], {}),
        ("", ["bash", "-lc", NOTHING_SAID], {}),
        ({"command": [None, True]}, ["bash", "-lc", NOTHING_SAID], {}),
    ],
)  # fmt: skip
def test_local_shell(said: str | Json, command: list[str], more: Json) -> None:
    assert called("local_shell", said) == [{"action": {**EXEC, "command": command, **more}}]


@pytest.mark.parametrize(
    ("said", "commands", "more"),
    [
        ({"commands": ["ls", "pwd"]}, ["ls", "pwd"], {}),
        ({"commands": "ls"}, ["ls"], {}),
        ({"command": ["grep", "a b", "c"]}, ["grep 'a b' c"], {}),
        ({"cmd": "ls"}, ["ls"], {}),
        ("ls", ["ls"], {}),
        ({"commands": ["ls", " "], "timeout_ms": 10, "max_output_length": True}, ["ls"], {"timeout_ms": 10}),
        ({}, [NOTHING_SAID], {}),
        ({"commands": 3}, [NOTHING_SAID], {}),
    ],
)
def test_shell(said: str | Json, commands: list[str], more: Json) -> None:
    assert called("shell", said) == [{"action": {"commands": commands, **more}}]


def test_a_shell_in_a_container_is_not_the_clients_to_run() -> None:
    assert FORMS["shell"].function({"type": "shell", "environment": {"type": "container_auto"}}) is None
    skills = [{"name": "tidy", "description": "Tidies.", "path": "/s/tidy"}]
    found = FORMS["shell"].function({"type": "shell", "environment": {"type": "local", "skills": skills}})
    assert found is not None
    assert "- tidy in /s/tidy: Tidies." in found[0]


@pytest.mark.parametrize(
    ("said", "operations"),
    [
        ({"type": "update_file", "path": "a", "diff": "@@\n-x\n+y"},
         [{"type": "update_file", "path": "a", "diff": "@@\n-x\n+y"}]),
        ({"operation": {"type": "delete_file", "path": "a", "diff": "x"}}, [{"type": "delete_file", "path": "a"}]),
        ({"type": "create_file", "path": "a", "diff": "+x\n+y\n"},
         [{"type": "create_file", "path": "a", "diff": "+x\n+y\n"}]),
        ({"type": "create_file", "path": "a", "diff": "x\n\ny"},
         [{"type": "create_file", "path": "a", "diff": "+x\n+\n+y"}]),
        ({"type": "create", "file": "a", "content": ""}, [{"type": "create_file", "path": "a", "diff": ""}]),
        ({"type": "remove", "path": "a"}, [{"type": "delete_file", "path": "a"}]),
        ({"type": "?", "diff": "+x"}, [{"type": "update_file", "path": NO_PATH, "diff": "+x"}]),
        ("", [{"type": "update_file", "path": NO_PATH, "diff": ""}]),
        ("*** Begin Patch\n*** Add File: a.py\n+x\n*** Update File: b.py\n@@\n-y\n*** Delete File: c\n*** End Patch\n",
         [{"type": "create_file", "path": "a.py", "diff": "+x\n"},
          {"type": "update_file", "path": "b.py", "diff": "@@\n-y\n"},
          {"type": "delete_file", "path": "c"}]),
    ],
)  # fmt: skip
def test_apply_patch(said: str | Json, operations: list[Json]) -> None:
    assert called("apply_patch", said) == [{"operation": operation} for operation in operations]


@pytest.mark.parametrize(
    ("said", "action"),
    [
        ({"type": "click", "x": 1.0, "y": 2}, {"type": "click", "x": 1, "y": 2, "button": "left"}),
        ({"action": {"type": "keypress", "keys": "ENTER"}}, {"type": "keypress", "keys": ["ENTER"]}),
        ({"type": "scroll", "x": 1, "y": 2, "scroll_y": 9},
         {"type": "scroll", "x": 1, "y": 2, "scroll_x": 0, "scroll_y": 9}),
        ({"type": "type", "text": "hi", "x": None}, {"type": "type", "text": "hi"}),
        ({"type": "click"}, {"type": "screenshot"}),
        ({"type": []}, {"type": "screenshot"}),
        ("what?", {"type": "screenshot"}),
    ],
)  # fmt: skip
def test_computer(said: str | Json, action: Json) -> None:
    assert called("computer", said) == [{"actions": [action], "pending_safety_checks": []}]
    assert called("computer_use_preview", said) == [{"action": action, "pending_safety_checks": []}]


def test_the_screen_says_how_large_it_is() -> None:
    found = FORMS["computer_use_preview"].function({"display_width": 800, "display_height": 600})
    assert found is not None
    assert "800x600" in found[0]


def test_tool_search() -> None:
    form = FORMS["tool_search"]
    assert form.function({"type": "tool_search"}) is None
    assert called("tool_search", {"query": "x", "limit": 2}) == [
        {"arguments": {"query": "x", "limit": 2}, "execution": "client"}
    ]
    assert called("tool_search", "x") == [{"arguments": {"query": "x"}, "execution": "client"}]
    own = form.function({**SEARCH, "description": "Mine.", "parameters": {"type": "object"}})
    assert own == ("Mine.", {"type": "object"})


@pytest.mark.parametrize("kind", FORMS)
@given(said=st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["type", "command", "commands", "action", "operation", "path", "diff", "x", "y", "keys", "env", "timeout_ms"]
    ), inner, max_size=4), max_leaves=8,
))  # fmt: skip
def test_a_call_can_be_made_of_anything_and_told_again(kind: str, said: Any) -> None:
    tool = {"type": kind, "execution": "client"}
    form = FORMS[kind]
    found = form.function(tool)
    assert found is not None
    for members in form.calls(read_arguments(json.dumps(said)), tool):
        told = form.arguments(json.loads(json.dumps(members)))
        assert kind == "tool_search" or Schemas(found[1]).fits(found[1], told) or kind.startswith("computer")
        (again,) = form.calls(told, tool)
        assert again == members


@pytest.mark.parametrize("kind", FORM_OF_CALL)
def test_a_call_without_anything_in_it_is_told_all_the_same(kind: str) -> None:
    form = FORM_OF_CALL[kind]
    assert form.arguments({"type": kind}) == {}
    assert isinstance(form.output({"type": form.output_type}, plain_name), str)


@pytest.mark.parametrize(
    ("kind", "answer", "text"),
    [
        ("local_shell", {"output": "a\n"}, "a\n"),
        ("shell", {"output": "as it is"}, "as it is"),
        ("shell", {"output": [{"stdout": "a\n", "stderr": "b", "outcome": {"type": "exit", "exit_code": 3}}, 7]},
         "a\nb\n(exit code 3)"),
        ("shell", {"output": [{"stdout": "a", "outcome": {"type": "exit", "exit_code": 0}},
                              {"stdout": "", "outcome": {"type": "exit", "exit_code": 0}}]}, "a\n(exit code 0)"),
        ("shell", {"output": [{"stdout": "a", "outcome": {"type": "timeout"}}]}, "a\n(it was stopped: out of time)"),
        ("apply_patch", {"status": "completed"}, "completed"),
        ("apply_patch", {"status": "completed", "output": "Created a"}, "Created a"),
        ("apply_patch", {"status": "failed", "output": "no a"}, "failed: no a"),
        ("apply_patch", {"status": "failed"}, "failed"),
        ("tool_search", {"tools": []}, "Found no tool."),
        ("tool_search", {"tools": [{"type": "namespace", "name": "cal", "tools": [
            {"type": "function", "name": "add", "description": "Adds."}]}, {"type": "function", "name": "f"}, 3]},
         "Found; these can be called now:\n- cal__add: Adds.\n- f"),
    ],
)  # fmt: skip
def test_answers_in_words(kind: str, answer: Json, text: str) -> None:
    assert FORMS[kind].output(answer, plain_name) == text


def test_several_actions_at_once_are_told_as_they_were() -> None:
    acts = [{"type": "wait"}, {"type": "screenshot"}]
    assert FORMS["computer"].arguments({"actions": acts}) == {"actions": acts}
    assert FORMS["tool_search"].arguments({"arguments": "words"}) == {"query": "words"}
    assert FORMS["tool_search"].arguments({"arguments": '{"query":"x"}'}) == {"query": "x"}
