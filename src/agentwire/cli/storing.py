"""Where stored responses rest, as it is named on the command line: ``memory``, ``none`` or ``sqlite:///PATH``."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from agentwire.cli.failures import UserError
from agentwire.protocol.errors import StoreError
from agentwire.protocol.limits import Limits
from agentwire.runtime.contracts import Store

__all__ = ["check_store", "open_store", "store_below"]

_NAMED: Final = ("memory", "none")


def check_store(named: str | None) -> str | None:
    """The path of the file, or None where no file is named.

    A path after three slashes is relative, after four absolute, as other programs have it.

    Raises:
        UserError: this is no store.
    """
    if named is None or named in _NAMED:
        return None
    url = urlsplit(named)
    if url.scheme != "sqlite":
        raise UserError(f"--store must be memory, none or sqlite:///PATH, not {named!r}")
    path = unquote(url.path[1:])
    if url.netloc or url.query or url.fragment or not path:
        raise UserError(f"--store: {named!r} names no file, as sqlite:///name.db and sqlite:////var/lib/name.db do")
    return path


def store_below(named: str, folder: Path) -> str:
    """The same store, with a relative path of a file starting from the folder.

    Raises:
        UserError: this is no store.
    """
    path = check_store(named)
    return named if path is None else f"sqlite:///{quote(str(folder / path))}"


async def open_store(named: str | None, limits: Limits, stack: AsyncExitStack) -> Store:
    """The store, until the stack is left.

    Raises:
        UserError: it cannot be opened.
    """
    from agentwire.stores import MemoryStore, NoStore, open_sqlite_store

    path = check_store(named)
    if path is None:
        return NoStore() if named == "none" else MemoryStore(limits)
    try:
        return await stack.enter_async_context(open_sqlite_store(path, limits=limits))
    except StoreError as error:
        raise UserError(f"--store: {error}") from error
