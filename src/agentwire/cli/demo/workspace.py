"""The agent's tools: list, read and search the real files under one folder, and nothing outside of it.

They are plain async functions, as a user would write them. What they give is bounded and in a fixed order, so that the
same task takes the same steps over every transport.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import attrs
import msgspec
import trio

from agentwire.runtime.tools import ToolError

__all__ = ["Workspace"]

SKIPPED: Final = frozenset(("__pycache__", "build", "dist", "node_modules", "_build", "htmlcov"))
"""Folders that hold what was made from something else; hidden ones are left out, too."""
LISTED: Final = 60
READ_BYTES: Final = 6_000
MATCHES: Final = 30
SEARCHED_FILES: Final = 1_500
SEARCHED_BYTES: Final = 200_000


@attrs.frozen
class Workspace:
    """Files under one folder.

    Attributes:
        root: the folder, absolute.
        stride: files that a search reads in one go, before it can be cancelled.
        pause: seconds that it rests after them; for a demonstration that has to catch it at work.
    """

    root: Path
    stride: int = 32
    pause: float = 0.0

    @property
    def tools(self) -> tuple[Callable[..., Any], ...]:
        """What the agent may call."""
        return (self.list_files, self.read_file, self.search)

    @property
    def size(self) -> int:
        """How many files a search looks at."""
        return len(self._files(self.root))

    async def list_files(self, path: Annotated[str, msgspec.Meta(description="Folder, from the root")]) -> str:
        """List the files and folders in a folder; folders end in a slash."""
        return await trio.to_thread.run_sync(self._list, self._inside(path))

    async def read_file(self, path: Annotated[str, msgspec.Meta(description="File, from the root")]) -> str:
        """Read a file; of a long one, only the beginning."""
        return await trio.to_thread.run_sync(self._read, self._inside(path))

    async def search(
        self,
        pattern: Annotated[str, msgspec.Meta(description="Text or regular expression to look for")],
        path: Annotated[str, msgspec.Meta(description="Folder or file to look in")] = ".",
    ) -> str:
        """Search the lines of all files below a path for a pattern."""
        try:
            wanted = re.compile(pattern)
        except re.error as error:
            raise ToolError(f"{pattern!r} is no regular expression: {error}") from error
        found: list[str] = []
        count = 0
        files = await trio.to_thread.run_sync(self._files, self._inside(path))
        for start in range(0, len(files), self.stride):
            hits = await trio.to_thread.run_sync(self._grep_all, files[start : start + self.stride], wanted)
            count += len(hits)
            found += hits[: MATCHES - len(found)]
            await trio.sleep(self.pause)
        head = f"{count} lines match {pattern!r}" + (f"; the first {MATCHES}:" if count > MATCHES else ":")
        return "\n".join((head, *found)) if count else f"no line matches {pattern!r}"

    def _inside(self, path: str) -> Path:
        place = (self.root / path).resolve()
        if not place.is_relative_to(self.root):
            raise ToolError(f"{path!r} is outside of the folder that may be looked at")
        if not place.exists():
            raise ToolError(f"there is no {path!r}")
        return place

    def _name(self, place: Path) -> str:
        return f"{place.relative_to(self.root).as_posix()}{'/' if place.is_dir() else ''}"

    def _list(self, folder: Path) -> str:
        if not folder.is_dir():
            raise ToolError(f"{self._name(folder)} is a file, not a folder")
        entries = [entry for entry in sorted(folder.iterdir()) if _shown(entry)]
        lines = [self._name(entry) for entry in entries[:LISTED]]
        more = [f"... and {len(entries) - LISTED} more"] if len(entries) > LISTED else []
        return "\n".join((*lines, *more)) or "it is empty"

    def _read(self, file: Path) -> str:
        if file.is_dir():
            raise ToolError(f"{self._name(file)} is a folder; list it")
        with file.open("rb") as opened:
            data = opened.read(READ_BYTES + 1)
        text = data[:READ_BYTES].decode(errors="replace")
        if len(data) > READ_BYTES:
            text = text[: text.rfind("\n") + 1] + f"... cut; the file has {file.stat().st_size} bytes"
        return text or "it is empty"

    def _files(self, place: Path) -> list[Path]:
        if place.is_file():
            return [place]
        found: list[Path] = []
        for file in _walk(place):
            if len(found) == SEARCHED_FILES:
                break
            found.append(file)
        return found

    def _grep_all(self, files: Sequence[Path], wanted: re.Pattern[str]) -> list[str]:
        return [hit for file in files for hit in self._grep(file, wanted)]

    def _grep(self, file: Path, wanted: re.Pattern[str]) -> list[str]:
        with file.open("rb") as opened:
            data = opened.read(SEARCHED_BYTES)
        if b"\0" in data:
            return []
        lines = data.decode(errors="replace").splitlines()
        name = self._name(file)
        return [f"{name}:{at}: {line.strip()[:120]}" for at, line in enumerate(lines, 1) if wanted.search(line)]


def _shown(entry: Path) -> bool:
    return not entry.name.startswith(".") and entry.name not in SKIPPED and not entry.name.endswith(".egg-info")


def _walk(folder: Path) -> Iterator[Path]:
    for entry in sorted(folder.iterdir()):
        if not _shown(entry):
            continue
        if entry.is_dir() and not entry.is_symlink():
            yield from _walk(entry)
        elif entry.is_file():
            yield entry
