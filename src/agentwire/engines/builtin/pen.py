"""How the engine writes: word by word, within the client's bound, every token counted.

A token is estimated at four characters, and no token spans two words. Where the bound is reached the pen stops, and
the turn ends ``incomplete``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

import attrs
import msgspec
import trio

from agentwire.engines.builtin.arguments import Job
from agentwire.engines.offering import CallWriter
from agentwire.protocol.response import Usage
from agentwire.runtime.contracts import Finish, Out

__all__ = ["Pen", "count_tokens", "pieces"]

LONGEST_PIECE: Final = 32

_PIECE: Final = re.compile(rf"\s*\S{{1,{LONGEST_PIECE}}}|\s+")


def pieces(text: str) -> Iterator[str]:
    """A text in words, each with the blanks before it; very long words in several."""
    for match in _PIECE.finditer(text):
        yield match.group()


def count_tokens(text: str) -> int:
    """About how many tokens a text is."""
    return sum(_tokens(piece) for piece in pieces(text))


def _tokens(piece: str) -> int:
    return max(1, (len(piece.strip()) + 3) // 4)


@attrs.define
class Pen:
    """What one step of a turn writes.

    Attributes:
        out: where it goes.
        most: the client's bound on tokens, or None.
        delay: seconds to wait after each piece.
        new_id: makes ids, for a prefix.
        used: tokens written, reasoning included.
        thought: of them, reasoning.
        full: whether something did not fit any more.
    """

    out: Out
    most: int | None = None
    delay: float = 0.0
    new_id: Callable[[str], str] = attrs.field(kw_only=True)
    used: int = 0
    thought: int = 0
    full: bool = False

    async def text(self, text: str) -> None:
        """Write a text, as far as the bound allows. Waits while the client is slow; may be cancelled at any piece."""
        for piece in pieces(text):
            if not self._pay(_tokens(piece)):
                return
            await self.out.text(piece)
            if self.delay:
                await trio.sleep(self.delay)

    async def summary(self, line: str) -> None:
        """Write one line of a reasoning summary, if all of it fits."""
        tokens = count_tokens(line)
        if self._pay(tokens):
            self.thought += tokens
            await self.out.summary(line)
            if self.delay:
                await trio.sleep(self.delay)

    async def call(self, job: Job) -> None:
        """Make one call, if all of it fits: a call that is cut off cannot be run."""
        offer = job.offer
        arguments = job.arguments if isinstance(job.arguments, str) else msgspec.json.encode(job.arguments).decode()
        if not self._pay(count_tokens(offer.name) + count_tokens(arguments)):
            return
        if offer.kind == "formed":
            await CallWriter(self.out, offer.made_of, call_id=None, new_id=self.new_id).end(arguments)
        else:
            custom = offer.kind == "custom"
            await self.out.call(offer.name, arguments, custom=custom, namespace=offer.made_of.call_namespace)
        if self.delay:
            await trio.sleep(self.delay)

    def finish(self, input_tokens: int, cached_tokens: int) -> Finish:
        """How the step ended, with what it used."""
        usage = Usage(input_tokens, self.used, min(cached_tokens, input_tokens), self.thought)
        return Finish(usage, "max_output_tokens" if self.full else None)

    def _pay(self, tokens: int) -> bool:
        if self.full or (self.most is not None and self.used + tokens > self.most):
            self.full = True
            return False
        self.used += tokens
        return True
