"""Who works on which run of a file: a lock on one byte of a file beside it, which the system drops when we die.

Such locks are a process's (POSIX), so they are all taken through one descriptor; a second one that is closed would drop
them. Within the process a set says the same.
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from pathlib import Path
from typing import ClassVar

import attrs

from agentwire.client.journal.contract import JournalError

__all__ = ["Holds"]

_HELD = (errno.EACCES, errno.EAGAIN)


@attrs.define(eq=False)
class Holds:
    """The holds of this process on one file; made by `open`, and given back with `close` as often."""

    path: str
    _descriptor: int
    _file: tuple[int, int]
    _mine: set[int] = attrs.field(factory=set)
    _users: int = 0

    _lock: ClassVar = threading.Lock()
    _open: ClassVar[dict[tuple[int, int], Holds]] = {}

    @classmethod
    def open(cls, path: str) -> Holds:
        """Those on a file; one object for all who use it.

        Raises:
            JournalError: the file of locks cannot be made or opened.
        """
        try:
            with cls._lock:
                known = cls._open.get(_identity(Path(path).stat())) if Path(path).exists() else None
                if known is None:
                    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
                    known = cls(path, descriptor, _identity(os.fstat(descriptor)))
                    cls._open[known._file] = known
                known._users += 1
                return known
        except OSError as error:
            raise JournalError(f"cannot open the locks {path} of a journal: {error.strerror}") from error

    def close(self) -> None:
        """Give it back; nothing that was taken through it is held any more once all have."""
        with Holds._lock:
            self._users -= 1
            if not self._users:
                del Holds._open[self._file]
                os.close(self._descriptor)

    def take(self, run: int) -> bool:
        """Hold a run; False if somebody who lives has it.

        Raises:
            JournalError: the file system has no locks.
        """
        with Holds._lock:
            if run in self._mine or not self._try(run):
                return False
            self._mine.add(run)
            return True

    def release(self, run: int) -> None:
        """Hold it no more."""
        with Holds._lock:
            self._mine.discard(run)
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, run)

    def is_held(self, run: int) -> bool:
        """Whether anybody has it."""
        if not self.take(run):
            return True
        self.release(run)
        return False

    def _try(self, run: int) -> bool:
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, run)
        except OSError as error:
            if error.errno in _HELD:
                return False
            raise JournalError(f"cannot lock a run in {self.path}: {error.strerror}") from error
        return True


def _identity(stat: os.stat_result) -> tuple[int, int]:
    return stat.st_dev, stat.st_ino
