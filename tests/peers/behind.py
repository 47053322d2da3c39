"""The engine of an agentwire that stands behind another one: fixed rules, and three words that make it go wrong.

What it does is told on standard error, line by line, so that a test can read what became of a turn.
"""

from __future__ import annotations

import sys

import trio

from agentwire.engines import builtin
from agentwire.protocol.errors import EngineError
from agentwire.protocol.items import Message
from agentwire.runtime.contracts import Ask, Finish, Out

__all__ = ["behind"]

_rules = builtin()


async def behind(ask: Ask, out: Out) -> Finish | None:
    """Answer as `builtin` does; ``BUSY``: refuse, ``CRASH``: fail in the middle, ``SILENT``: begin, and say no more."""
    last = ask.items[-1]
    word = last.text if isinstance(last, Message) else ""
    if word == "BUSY":
        raise EngineError("Too many at once.", code="rate_limit_exceeded", status=429, headers={"retry-after": "7"})
    if word == "CRASH":
        await out.text("Half an")
        raise EngineError("Not now.", code="server_is_overloaded", status=503)
    if word == "SILENT":
        await out.text("So ")
        try:
            await trio.sleep_forever()
        finally:
            sys.stderr.write("turn ended\n")
    return await _rules(ask, out)
