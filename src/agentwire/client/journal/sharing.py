"""One open journal for all runs of a Trio loop that name the same file: what they write at a time is written together.

It is kept by a task of the loop's own, from the first run that needs it to the last, whoever ends first.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import attrs
import trio

from agentwire.client.journal.contract import JournalError
from agentwire.client.journal.file import FileJournal, open_journal
from agentwire.protocol.ids import Sources
from agentwire.protocol.limits import Limits
from agentwire.stores.sqlite.file import absolute

__all__ = ["share_journal"]


@attrs.define(eq=False)
class _Shared:
    """A file that is open, or about to be."""

    path: str
    users: int = 0
    journal: FileJournal | None = None
    error: Exception | None = None
    ready: trio.Event = attrs.field(factory=trio.Event)
    unused: trio.Event = attrs.field(factory=trio.Event)
    closed: trio.Event = attrs.field(factory=trio.Event)

    async def keep(self, limits: Limits, sources: Sources) -> None:
        """Hold it open; a task of the loop's own must not raise."""
        try:
            async with open_journal(self.path, limits=limits, sources=sources) as self.journal:
                self.ready.set()
                await self.unused.wait()
        except Exception as error:  # noqa: BLE001 - raised again to whoever opens it
            self.error = error
        finally:
            self.ready.set()
            self.closed.set()


_files: trio.lowlevel.RunVar[dict[str, _Shared]] = trio.lowlevel.RunVar("agentwire's journals")


@asynccontextmanager
async def share_journal(
    path: str | os.PathLike[str], *, limits: Limits, sources: Sources
) -> AsyncGenerator[FileJournal]:
    """A file's journal, until the block is left; whoever leaves last closes it, and waits for that.

    Args:
        path: of the file.
        limits: see `open_journal`; those of whoever comes first count.
        sources: the same.

    Raises:
        JournalError: as `open_journal` does.
    """
    shared = _find(absolute(path), limits, sources)
    shared.users += 1
    try:
        await shared.ready.wait()
        if shared.journal is None:
            raise JournalError(str(shared.error)) from shared.error
        yield shared.journal
    finally:
        shared.users -= 1
        if not shared.users:
            files = _files.get()
            if files.get(shared.path) is shared:
                del files[shared.path]
            shared.unused.set()
            with trio.move_on_after(2 * limits.cleanup, shield=True):
                await shared.closed.wait()


def _find(path: str, limits: Limits, sources: Sources) -> _Shared:
    files = _files.get({})
    _files.set(files)
    shared = files.get(path)
    if shared is None:
        shared = files[path] = _Shared(path)
        trio.lowlevel.spawn_system_task(shared.keep, limits, sources, name=f"journal {path}")
    return shared
