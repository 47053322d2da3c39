"""A model that does what it is told: the user's message is a small program, and the model performs it.

    say 2; wait 1; call look at=3 | say 1

is one answer in two pieces of text, a pause and a call, and after the call's output another one. What it says tells how
much it has seen, so that a lost or doubled item shows at the other end. What is no program is answered with one word.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import attrs

from agentwire.engines.script import Call, Delay, Fail, Hang, Piece, Reasoning, Stop, Text, Turn
from agentwire.engines.scripted import ScriptedEngine, scripted
from agentwire.protocol.items import FunctionCallOutput, Item, McpCall, Message
from agentwire.protocol.response import Usage
from agentwire.runtime.contracts import Ask

__all__ = ["Program", "programmed"]

_KIB: Final = 1024
_USAGE: Final = Usage(10, 5)  # always: how a context is counted is no affair of a program


@attrs.frozen
class Program:
    """What a model shall do, answer by answer: each answer after the first follows the outputs of the calls before it.

    Attributes:
        answers: for each, its steps as text: ``say 2``, ``think 1``, ``flood 64`` (KiB of text), ``wait 0.5``,
            ``call look at=3``, ``stop`` (``incomplete``), ``fail``, ``crash``, ``hang``.
    """

    answers: tuple[tuple[str, ...], ...]

    def __str__(self) -> str:
        return " | ".join("; ".join(steps) for steps in self.answers)

    @classmethod
    def parse(cls, text: str) -> Program:
        """The program of a message; its unknown steps are skipped."""
        answers = (answer.split(";") for answer in text.split("|"))
        return cls(tuple(tuple(step.strip() for step in steps if _is_step(step)) for steps in answers))

    @property
    def calls(self) -> int:
        """How many calls it makes."""
        return sum(map(_calls, self.answers))

    @property
    def ends(self) -> bool:
        """Whether it comes to an end by itself."""
        return not any("hang" in steps for steps in self.answers)

    @property
    def fails(self) -> bool:
        """Whether one of its answers fails."""
        return any(step in ("fail", "crash") for steps in self.answers for step in steps)

    def answer_after(self, outputs: int) -> tuple[str, ...]:
        """The steps of the answer that follows so many outputs of calls."""
        for steps in self.answers[:-1]:
            outputs -= _calls(steps)
            if outputs < 0:
                return steps
        return self.answers[-1]


def _is_step(step: str) -> bool:
    return step.strip().partition(" ")[0] in _PIECES


def _calls(steps: Sequence[str]) -> int:
    return sum(step.startswith("call ") for step in steps)


def programmed() -> ScriptedEngine:
    """An engine that performs the program in the last message of the user.

    Any of its steps may be cancelled. See `ScriptedEngine` for what it records.
    """
    return scripted(_play, usage=_USAGE)


def _play(ask: Ask) -> Turn:
    said = [place for place, item in enumerate(ask.items) if _is_user(item)]
    after = ask.items[said[-1] + 1 :] if said else ask.items
    program = Program.parse(str(getattr(ask.items[said[-1]], "text", ""))) if said else Program(((),))
    outputs = sum(isinstance(item, FunctionCallOutput | McpCall) for item in after)
    steps = program.answer_after(outputs) or ("say 1",)
    return Turn(*(_perform(step, len(ask.items)) for step in steps))


def _is_user(item: Item) -> bool:
    return isinstance(item, Message) and item.role == "user"


def _perform(step: str, seen: int) -> Piece:
    name, _, rest = step.partition(" ")
    return Text(f"I have seen {seen} items.", pieces=int(rest or 1)) if name == "say" else _PIECES[name](rest)


def _call(told: str) -> Piece:
    name, *pairs = told.split()
    return Call(name, dict(map(_argument, pairs)))


def _argument(pair: str) -> tuple[str, Any]:
    name, _, value = pair.partition("=")
    return name, int(value) if value.lstrip("-").isdigit() else value


_PIECES: Final[Mapping[str, Callable[[str], Piece]]] = {
    "say": lambda count: Text("word", pieces=int(count or 1)),
    "think": lambda count: Reasoning("Let me think.", pieces=int(count or 1)),
    "flood": lambda size: Text("x" * (int(size or 1) * _KIB), pieces=max(1, int(size or 1) // 4)),
    "wait": lambda seconds: Delay(float(seconds or 1)),
    "call": _call,
    "stop": lambda _: Stop(),
    "fail": lambda _: Fail(),
    "crash": lambda _: Fail(RuntimeError("the model crashes")),
    "hang": lambda _: Hang(),
}
