"""What a person sees of the demonstration: live in a terminal, plain lines elsewhere, nothing at all beside JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Final

import attrs
from rich.console import Console, Group
from rich.live import Live
from rich.rule import Rule
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from agentwire.cli.terminal import clean

__all__ = ["Stage", "View"]

TAIL: Final = 6
"""Lines of the answer that are shown while it is written."""
PREVIEW: Final = 64
PLAIN_WIDTH: Final = 140


@attrs.frozen
class View:
    """Shows the parts of the demonstration as they come.

    Attributes:
        console: where; a quiet one shows nothing.
    """

    console: Console

    @classmethod
    def of(cls, *, quiet: bool = False) -> View:
        """On stdout; ``quiet`` shows nothing. Without a terminal, lines are plain and wide."""
        console = Console(quiet=quiet, highlight=False, soft_wrap=False)
        if not console.is_terminal:
            console = Console(quiet=quiet, highlight=False, width=PLAIN_WIDTH, color_system=None)
        return cls(console)

    def heading(self, title: str, text: str) -> None:
        """A new part begins."""
        self.console.print()
        self.console.print(Rule(Text(title, style="bold"), align="left"))
        self.line(text)

    def line(self, text: str, *, style: str = "") -> None:
        """One line, or a paragraph."""
        self.console.print(Text(clean(text), style=style), soft_wrap=not self.console.is_terminal)

    def quote(self, text: str) -> None:
        """What was said, set apart."""
        self.line("\n".join(f"  > {line}".rstrip() for line in text.strip().splitlines()), style="dim")

    def table(self, columns: Sequence[tuple[str, bool]], rows: Iterable[Sequence[str]]) -> None:
        """A table; each row has as many texts as there are columns.

        Args:
            columns: each one's head, and whether it holds numbers.
            rows: the texts.
        """
        table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
        for head, numeric in columns:
            table.add_column(head, justify="right" if numeric else "left", no_wrap=True)
        for row in rows:
            table.add_row(*map(Text, row))
        self.console.print(table)

    def cancellations(self, seen: Iterable[tuple[str, str, float, str]]) -> None:
        """What was cancelled: where, what, seconds after the cut, and why."""
        for where, what, seconds, reason in seen:
            line = Text.assemble(
                ("  cancelled ", "red"), f"at the {where}, after ", (f"{seconds * 1000:.1f} ms", "bold")
            )
            self.console.print(Text.assemble(line, f": {clean(what)}"), soft_wrap=not self.console.is_terminal)
            self.line(f"            {reason}", style="dim")

    def status(self, text: str) -> AbstractContextManager[Any]:
        """Something takes its time; shown while the block runs, if there is a terminal."""
        return self.console.status(Text(text)) if self._live else nullcontext()

    @contextmanager
    def rollout(self) -> Iterator[Stage]:
        """A rollout is shown while the block runs."""
        stage = Stage(self)
        if not self._live:
            yield stage
            stage.flush()
            return
        with Live(get_renderable=stage.render, console=self.console, transient=True, refresh_per_second=12):
            yield stage
        stage.flush()

    @property
    def _live(self) -> bool:
        return self.console.is_terminal and not self.console.quiet


@attrs.define
class Stage:
    """One rollout: a line for each call that is done; below it what runs, and the end of the answer so far."""

    view: View
    number: int = 0
    done: int = 0
    answer: str = ""
    _running: dict[str, Text] = attrs.field(factory=dict)

    def turn(self, number: int) -> None:
        """A turn begins."""
        self.number = number

    def started(self, call_id: str, name: str, arguments: str) -> None:
        """A tool begins."""
        self._running[call_id] = Text(clean(f"{name} {arguments}"))

    def finished(self, call_id: str, output: str, seconds: float) -> None:
        """A tool has ended, and this is what it put out."""
        self.done += 1
        call = self._running.pop(call_id)
        lines = clean(output).splitlines() or [""]
        first = lines[0] if len(lines[0]) <= PREVIEW else f"{lines[0][:PREVIEW]}..."
        more = f" (+{len(lines) - 1} lines)" if len(lines) > 1 else ""
        line = Text.assemble(
            (f"turn {self.number:2} ", "dim"),
            call,
            (f"  {seconds * 1000:.0f} ms  ", "dim"),
            (first, "cyan"),
            (more, "dim"),
        )
        self.view.console.print(line, overflow="ellipsis", no_wrap=True)

    def said(self, piece: str) -> None:
        """A piece of the answer."""
        self.answer += clean(piece)

    def flush(self) -> None:
        """The answer is complete."""
        self.view.quote(self.answer)

    def render(self) -> Group:
        """The live part."""
        head = Spinner("dots", Text(f"turn {self.number}, {self.done} calls done", style="bold"))
        running = [Text.assemble("   ", ("running ", "yellow"), text) for text in self._running.values()]
        tail = [
            Text(f"  > {line}", style="dim", no_wrap=True, overflow="ellipsis")
            for line in self.answer.splitlines()[-TAIL:]
        ]
        return Group(head, *running, *tail)
