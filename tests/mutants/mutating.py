"""Makes mutants: one small change each, of the modules that decide how turns live and end.

The changes are mutmut's own, to which two are added that it does not have: a statement left out, and a condition
turned round. Texts for people are left alone: no check may depend on their words.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import attrs

__all__ = ["FILES", "ROOT", "Mutant", "load_mutants", "make_mutants", "save_mutants"]

ROOT: Final = Path(__file__).resolve().parent.parent.parent
FILES: Final = (
    "protocol/desk.py",
    "protocol/tickets.py",
    "runtime/session.py",
    "runtime/wire_session.py",
    "runtime/turn.py",
    "runtime/outbox.py",
)
"""What is mutated, below src/agentwire."""


@attrs.frozen
class Mutant:
    """One change of one file.

    Attributes:
        file: below src/agentwire.
        line: where the change begins.
        last: the last line of what is changed.
        place: the function, by its qualified name; empty outside of functions, where tables and classes are made.
        operator: the kind of change.
        before: what stood there.
        after: what stands there now.
        start: of the edit, in characters of the file.
        end: of the edit.
        text: what is put in place of that.
        mark: of what stood there and stands there now, whole.
    """

    file: str
    line: int
    last: int
    place: str
    operator: str
    before: str
    after: str
    start: int
    end: int
    text: str
    mark: str = ""

    @property
    def path(self) -> Path:
        """The file that is changed."""
        return ROOT / "src/agentwire" / self.file

    @property
    def name(self) -> str:
        """Names it as long as its surroundings do not change; a line that moves keeps its mutants."""
        return _mark(self.file, self.place, self.operator, self.before, self.after, self.mark)

    @property
    def source(self) -> str:
        """The whole file, changed."""
        code = self.path.read_text(encoding="utf-8")
        return code[: self.start] + self.text + code[self.end :]

    def __str__(self) -> str:
        return f"{self.file}:{self.line} ({self.place or 'module'}): {self.before}  ->  {self.after}"


def make_mutants(file: str) -> Iterator[Mutant]:
    """All mutants of one file; needs the packages of ``requirements.in``."""
    from tests.mutants.operators import changes

    code = (ROOT / "src/agentwire" / file).read_text(encoding="utf-8")
    known: set[str] = set()
    alike: Counter[tuple[str, ...]] = Counter()
    for change in changes(code):
        if change.code in known or change.code == code:
            continue
        known.add(change.code)
        try:
            compile(change.code, file, "exec")
        except SyntaxError:
            continue
        start, end, text = _edit(code, change.code)
        same = (change.place, change.operator, change.before, change.after)
        alike[same] += 1
        yield Mutant(
            file,
            change.line,
            change.last,
            change.place,
            change.operator,
            _short(change.before),
            _short(change.after),
            start,
            end,
            text,
            _mark(*same, str(alike[same])),
        )


def _edit(old: str, new: str) -> tuple[int, int, str]:
    """The smallest edit that makes one text of another."""
    start = next((at for at, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    longest = min(len(old), len(new)) - start
    same = next((at for at in range(longest) if old[-1 - at] != new[-1 - at]), longest)
    return start, len(old) - same, new[start : len(new) - same]


def _mark(*told: str) -> str:
    return hashlib.sha256("\0".join(told).encode()).hexdigest()[:10]


def _short(text: str) -> str:
    told = " ".join(text.split())
    return told if len(told) <= 110 else f"{told[:107]}..."


def save_mutants(path: Path, files: Iterable[str] = FILES, tell: Callable[[str], Any] = print) -> None:
    """Make all mutants and write them down, for runners that have no mutmut."""
    made = []
    for file in files:
        mutants = list(make_mutants(file))
        tell(f"{file}: {len(mutants)} mutants")
        made += [attrs.asdict(mutant) for mutant in mutants]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(map(json.dumps, made)) + "\n", encoding="utf-8")


def load_mutants(path: Path) -> list[Mutant]:
    """What `save_mutants` wrote."""
    return [Mutant(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
