"""Shells that the client runs: ``local_shell``, which takes an argument vector, and ``shell``, which takes commands."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final

from agentwire.engines.offering.form import Form, Json, Said, count_of, shape, text_of, texts_of

__all__ = ["LocalShell", "Shell"]

NOTHING_SAID: Final = "echo 'This call named no command to run.' >&2; exit 2"
"""Run in place of a command that a model has left out: the client's own shell tells it."""

_TEXT: Final = {"type": "string"}
_TEXTS: Final = {"type": "array", "items": _TEXT}
_TIMEOUT: Final = {"type": "integer", "description": "Milliseconds until the command is stopped."}


class LocalShell(Form):
    """One program with its arguments."""

    tool_types: ClassVar = ("local_shell",)
    call_type: ClassVar = "local_shell_call"
    output_type: ClassVar = "local_shell_call_output"
    id_prefix: ClassVar = "lsh"
    name: ClassVar = "local_shell"

    def function(self, tool: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        """Always the client's to run."""
        parameters = shape(
            ("command",),
            command={
                **_TEXTS,
                "description": 'The program and its arguments; ["bash", "-lc", "..."] for a line of shell.',
            },
            working_directory={**_TEXT, "description": "Where to run it."},
            env={"type": "object", "additionalProperties": _TEXT, "description": "Environment variables to set."},
            timeout_ms=_TIMEOUT,
            user={**_TEXT, "description": "The user to run it as."},
        )
        return "Runs a command on the user's machine and returns its output.", parameters

    def calls(self, said: Said, tool: Mapping[str, Any]) -> Sequence[Json]:
        """The arguments may be a line of shell, too."""
        told = said if isinstance(said, Mapping) else {"command": said}
        command = told.get("command", told.get("cmd"))
        argv = _lines(command) if isinstance(command, str) else texts_of(command)
        env = told.get("env")
        action = {
            "type": "exec",
            "command": argv or _lines(NOTHING_SAID),
            "env": {name: str(value) for name, value in env.items()} if isinstance(env, Mapping) else {},
            "timeout_ms": count_of(told.get("timeout_ms")),
            "working_directory": text_of(told, "working_directory", "workdir", "cwd"),
            "user": text_of(told, "user"),
        }
        return ({"action": _said(action)},)

    def arguments(self, call: Mapping[str, Any]) -> Json:
        """What the action says, without what it leaves open."""
        action = call.get("action")
        members = _said(action) if isinstance(action, Mapping) else {}
        return {name: value for name, value in members.items() if name != "type" and value != {}}

    def output(self, answer: Mapping[str, Any], name_of: Callable[[str, str | None], str]) -> str:
        """A text already; some clients put JSON into it."""
        output = answer.get("output")
        return output if isinstance(output, str) else _outputs(output)


class Shell(Form):
    """Some lines of shell."""

    tool_types: ClassVar = ("shell",)
    call_type: ClassVar = "shell_call"
    output_type: ClassVar = "shell_call_output"
    id_prefix: ClassVar = "sh"
    name: ClassVar = "shell"

    def function(self, tool: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]] | None:
        """Not one in a container, which the hosted service would have to run."""
        environment = tool.get("environment")
        if isinstance(environment, Mapping) and environment.get("type") not in (None, "local"):
            return None
        parameters = shape(
            ("commands",),
            commands={**_TEXTS, "description": "Lines of shell; each is run by itself."},
            timeout_ms=_TIMEOUT,
            max_output_length={"type": "integer", "description": "Characters of output to return of each."},
        )
        text = "Runs shell commands on the user's machine and returns what they print."
        return text + _skills(environment), parameters

    def calls(self, said: Said, tool: Mapping[str, Any]) -> Sequence[Json]:
        """One command may be given instead of a list, and an argument vector too."""
        told = said if isinstance(said, Mapping) else {"commands": said}
        commands = texts_of(told.get("commands"))
        if not commands:
            vector = told.get("command", told.get("cmd"))
            commands = texts_of(vector) if isinstance(vector, str) else [shlex.join(texts_of(vector))]
        action = {
            "commands": [command for command in commands if command.strip()] or [NOTHING_SAID],
            "timeout_ms": count_of(told.get("timeout_ms")),
            "max_output_length": count_of(told.get("max_output_length")),
        }
        return ({"action": _said(action)},)

    def arguments(self, call: Mapping[str, Any]) -> Json:
        """What the action says, without what it leaves open."""
        action = call.get("action")
        return _said(action) if isinstance(action, Mapping) else {}

    def output(self, answer: Mapping[str, Any], name_of: Callable[[str, str | None], str]) -> str:
        """What each command printed, and how it ended."""
        return _outputs(answer.get("output"))


def _said(action: Mapping[str, Any]) -> Json:
    """Without what is null: the AI SDK takes such members only where they are left out."""
    return {name: value for name, value in action.items() if value is not None}


def _lines(command: str) -> list[str]:
    return ["bash", "-lc", command] if command.strip() else []


def _skills(environment: object) -> str:
    """What a local environment has ready, by name."""
    skills = environment.get("skills") if isinstance(environment, Mapping) else None
    told = [skill for skill in skills if isinstance(skill, Mapping)] if isinstance(skills, list | tuple) else []
    lines = [f"\n- {each.get('name')} in {each.get('path')}: {each.get('description')}" for each in told]
    return f" Skills, each explained in a SKILL.md:{''.join(lines)}" if lines else ""


def _outputs(output: object) -> str:
    if isinstance(output, str):
        return output
    entries = output if isinstance(output, list | tuple) else ()
    return "\n".join(_output(entry) for entry in entries if isinstance(entry, Mapping))


def _output(entry: Mapping[str, Any]) -> str:
    printed = [text.rstrip("\n") for name in ("stdout", "stderr") if (text := str(entry.get(name) or ""))]
    outcome = entry.get("outcome")
    ended = outcome if isinstance(outcome, Mapping) else {}
    if ended.get("type") == "timeout":
        printed.append("(it was stopped: out of time)")
    elif (code := ended.get("exit_code")) or (code == 0 and not printed):
        printed.append(f"(exit code {code})")
    return "\n".join(printed)
