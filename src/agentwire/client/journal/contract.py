"""What a journal is: for each key, the entries of one run, in the order in which they were appended.

A journal knows nothing of what is in an entry, so that one is written in a few lines over any database; `RunJournal`
reads and writes them. It keeps two promises: what `append` has returned of is there after the process has died, and a
key is open once at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from agentwire.protocol.errors import StoreError

__all__ = ["Journal", "JournalError", "JournalHeld", "JournalMismatch", "Log"]


class JournalError(StoreError):
    """A journal cannot be opened, read or written: which one, and why. No tool runs that it does not know of."""


class JournalHeld(JournalError):
    """Somebody who lives has this key open.

    Args:
        key: the key.
        where: the journal, in words.
        who: who has it.
    """

    def __init__(self, key: str, where: str, who: str) -> None:
        super().__init__(f"the run {key!r} of {where} is open in {who}; a run has one owner at a time")
        self.key = key


class JournalMismatch(JournalError):
    """The key was used with another input.

    Args:
        key: the key.
    """

    def __init__(self, key: str) -> None:
        super().__init__(f"the run {key!r} of this journal began with another input; a new task needs a new key")
        self.key = key


class Log(Protocol):
    """The entries of one run, open for one owner."""

    @property
    def entries(self) -> Sequence[bytes]:
        """What was there when it was opened, oldest first."""

    async def append(self, entries: Sequence[bytes]) -> None:
        """Add entries, all of them or none; on return they outlive this process. Called by one task at a time.

        Raises:
            JournalError: they cannot be kept.
        """


class Journal(Protocol):
    """Where runs are written down."""

    def open(self, key: str) -> AbstractAsyncContextManager[Log]:
        """The entries of one run, which is held until the block is left; a new key has none.

        Who died without leaving the block does not hold it any more.

        Raises:
            JournalHeld: somebody has it open.
            JournalError: it cannot be read.
        """
