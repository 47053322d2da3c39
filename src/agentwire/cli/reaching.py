"""Whom a command asks: the server that is named, or one of our own, and the client that talks to it.

What a person can mend, a wrong address or a key that is not there, becomes an error that says so.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

import attrs

from agentwire.cli.failures import CommandFailed, UserError
from agentwire.client import Client, connect
from agentwire.protocol.errors import AgentwireError, LocalProtocolError
from agentwire.runtime.groups import open_flat_nursery
from agentwire.runtime.tools import LocalTool

__all__ = ["Settings", "open_client", "open_server", "split_url"]

_URL: Final = re.compile(r"(wss?|https?)://\S*|(ws|http)\+unix://.*", re.IGNORECASE)
_ADDRESS: Final = re.compile(r"[a-z][a-z0-9+.-]*://\S*", re.IGNORECASE)


@attrs.frozen
class Settings:
    """What was said on the command line about whom to ask, and how.

    Attributes:
        url: where the server is; None for one of our own.
        model: whom to ask.
        instructions: system text for every turn.
        key: the API key.
        tools: functions that the model may have run here.
    """

    url: str | None = None
    model: str | None = None
    instructions: str | None = None
    key: str | None = attrs.field(default=None, repr=False)
    tools: tuple[LocalTool[..., Any], ...] = ()


def split_url(words: Sequence[str]) -> tuple[str | None, Sequence[str]]:
    """The server's address, if the first word is one, and the other words.

    Raises:
        UserError: the first word is an address, and no server's; nobody shall ask another server for a slip.
    """
    if words and _URL.fullmatch(words[0]):
        return words[0], words[1:]
    if words and _ADDRESS.fullmatch(words[0]):
        raise UserError(
            f"{words[0]} is not a server's address, as http://127.0.0.1:8000/v1 is; in a text, quote it all"
        )
    return None, words


@asynccontextmanager
async def open_server(url: str | None, note: Callable[[str], None]) -> AsyncGenerator[str]:
    """Where to connect: the server that was named, or one of our own, which ends with the block.

    Args:
        url: the one that was named.
        note: told what was started instead of it.
    """
    if url is not None:
        yield url
        return
    from agentwire.engines.builtin import NOTICE, builtin
    from agentwire.server import serve

    note(f"no URL was given, so a server runs here, with {NOTICE}")
    async with open_flat_nursery() as nursery:
        server = await nursery.start(serve, builtin())
        yield server.url
        nursery.cancel_scope.cancel(reason="the command is done")


async def open_client(stack: AsyncExitStack, url: str, settings: Settings) -> Client:
    """Connect; the stack closes the connection.

    Raises:
        UserError: the address, the key or a tool is not possible.
        CommandFailed: nobody can be reached there.
    """
    opening = connect(url, key=settings.key, model=settings.model, tools=settings.tools)
    try:
        return await stack.enter_async_context(opening)
    except LocalProtocolError as error:
        raise UserError(str(error)) from error
    except AgentwireError as error:
        raise CommandFailed(f"cannot connect to {url}: {error}") from error
