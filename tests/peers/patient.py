"""An engine for the peers that ask in the background: it takes its time over each word, and hangs if it is asked to."""

from __future__ import annotations

import trio

from agentwire.protocol.items import Message
from agentwire.protocol.response import Usage
from agentwire.runtime.contracts import Ask, Finish, Out

__all__ = ["patient"]

PAUSE = 0.02


async def patient(ask: Ask, out: Out) -> Finish:
    """Say the words of the last message, one after the other; hang after the first if that is ``hang``."""
    last = ask.new_items[-1]
    words = last.text.split() if isinstance(last, Message) else []
    for word in words:
        await out.text(f"{word} ")
        if word == "hang":
            await trio.sleep_forever()
        await trio.sleep(PAUSE)
    return Finish(Usage(len(ask.items), len(words)))
