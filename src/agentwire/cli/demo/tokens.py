"""An engine whose text comes in pieces as small as a language model's: about four characters, never across two words.

So a connection that is lost between two events is lost in the middle of a word, as it would be with a model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

import attrs
import trio

from agentwire.runtime.contracts import Ask, Engine, Finish, Out

__all__ = ["in_tokens"]

_TOKEN: Final = re.compile(r"\s*\S{1,4}|\s+")


def in_tokens(engine: Engine, *, pause: float) -> Engine:
    """The same engine, writing token by token.

    Args:
        engine: what answers.
        pause: seconds after each token.
    """

    async def writing(ask: Ask, out: Out) -> Finish | None:
        """One step; whatever ends the engine, and any cancellation, passes."""
        return await engine(ask, cast(Out, _Tokens(out, pause)))

    return writing


@attrs.frozen
class _Tokens:
    """An `Out` whose text is cut small; everything else is the one beneath."""

    out: Out
    pause: float

    def __getattr__(self, name: str) -> Any:
        return getattr(self.out, name)

    async def text(self, piece: str, *, logprobs: Sequence[Mapping[str, Any]] = ()) -> None:
        """Write a piece in tokens. Waits while the client is slow; may be cancelled at any token."""
        for match in _TOKEN.finditer(piece):
            await self.out.text(match.group(), logprobs=logprobs)
            if self.pause:
                await trio.sleep(self.pause)
