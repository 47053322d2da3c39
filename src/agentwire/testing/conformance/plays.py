"""What the companion does for a request, as data that fits into the words of a user's message.

A gateway passes the words of its users on as they are, so that a case can choose through it how the model behaves.
"""

from __future__ import annotations

import re
from typing import Any, Final, Self

import attrs

__all__ = ["MODELS", "Play"]

_MARK: Final = re.compile(r"\[play((?: [a-z_]+=[\w.]+)*)\]")
_MOST: Final = 1 << 30


@attrs.frozen(kw_only=True)
class Play:
    """How the model answers one request; times are seconds, and words are its events.

    What is to happen after more words than it says happens after the last one, before the answer's formal end.

    Attributes:
        words: how many words it says.
        pace: silence before each word.
        head: silence before the head of its HTTP answer.
        first: silence after the head, before the first event.
        stall: words after which it says nothing any more, until its client goes.
        die: words after which its connection is reset.
        cut: words after which its connection is closed, in the middle of the answer.
        rubbish: words after which it says something that is no JSON.
        error: words after which it says that it has failed, in the words of its API.
        flood: bytes of text that it says, in pieces of 16 KiB, instead of words.
        calls: how many calls it makes, of the tools that it was offered, one after the other.
        status: of its HTTP answer, if it refuses.
        code: of its error, if it refuses; one that goes with the status if left out.
        retry_after: seconds, in the header of a refusal.
        tag: a word by which the request is found again.
    """

    words: int = 5
    pace: float = 0.0
    head: float = 0.0
    first: float = 0.0
    stall: int | None = None
    die: int | None = None
    cut: int | None = None
    rubbish: int | None = None
    error: int | None = None
    flood: int = 0
    calls: int = 0
    status: int = 200
    code: str = ""
    retry_after: int | None = None
    tag: str = ""

    @classmethod
    def read(cls, text: str) -> Self | None:
        """The play that a text asks for, the last one in it; None if there is none that makes sense."""
        found = _MARK.findall(text)
        if not found:
            return None
        given = dict(pair.split("=", 1) for pair in found[-1].split())
        try:
            return cls(**{name: _value(name, told) for name, told in given.items()})
        except (KeyError, TypeError, ValueError):
            return None

    def __str__(self) -> str:
        """The words that ask for it."""
        given = (
            f" {field.name}={getattr(self, field.name)}"
            for field in attrs.fields(type(self))
            if getattr(self, field.name) != field.default
        )
        return f"[play{''.join(given)}]"

    def tagged(self, tag: str, text: str = "Tell me something.") -> str:
        """A message that asks for it, and by which its request is found again."""
        return f"{text} {attrs.evolve(self, tag=tag)}"


def _value(name: str, told: str) -> Any:
    if name in ("tag", "code"):
        return told
    value = float(told) if name in ("pace", "head", "first") else int(told)
    if not 0 <= value <= _MOST:
        raise ValueError(name)
    return value


MODELS: Final[dict[str, Play]] = {
    "companion": Play(),
    "companion-slow": Play(words=40, pace=0.1, head=0.3),
    "companion-silent": Play(head=70.0),
    "companion-fails": Play(die=2),
}
"""The companion's models, and how each behaves where the message asks for nothing."""
