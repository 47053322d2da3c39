"""A recording in a terminal: a head, a line for everything that went by, and a line for each connection at the end.

Lanes have a column and a colour each, what clients send points to the right, and what is wrong is red. A line is cut
where the terminal ends; nothing is cut in a pipe.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import IO, Any, Final

import attrs
from rich.console import Console
from rich.text import Text

from agentwire.cli.terminal import clean
from agentwire.testing.redaction import Secrets
from agentwire.testing.timeline import Line, lines
from agentwire.testing.trace import Trace, decode

__all__ = ["Filter", "show_json", "show_lines"]

_LANES: Final = ("cyan", "magenta", "yellow", "green", "blue", "bright_cyan", "bright_magenta", "bright_yellow")
_STYLES: Final[Mapping[str, str]] = {
    "error": "bold red",
    "fault": "bold red",
    "end of response": "bold green",
    "http": "blue",
    "control": "dim",
    "end": "dim",
    "note": "dim italic",
}
_LONGEST_LANE: Final = 14
_NARROW: Final = 100
"""Columns of a terminal below which names of messages lose what all of them have."""


@attrs.frozen
class Filter:
    """What is shown.

    Attributes:
        lanes: messages on these alone; ``-`` is the default lane. All, if empty.
        connections: these alone; all, if empty.
        since: seconds after the first record.
        until: seconds after the first record.
    """

    lanes: tuple[str, ...] = ()
    connections: tuple[int, ...] = ()
    since: float | None = None
    until: float | None = None

    def passes(self, line: Line) -> bool:
        """Whether it is shown."""
        return (
            (not self.connections or line.connection in self.connections)
            and (not self.lanes or (line.is_message and (line.lane or "-") in self.lanes))
            and (self.since is None or line.time >= self.since)
            and (self.until is None or line.since <= self.until)
        )


def show_json(trace: Trace, chosen: Filter, file: IO[str]) -> None:
    """One JSON object a line: what was said, decoded, with the time and the connection."""
    secrets = Secrets()
    origin = trace.records[0].time if trace.records else 0.0
    for line in lines(trace, runs=False):
        if not chosen.passes(_moved(line, origin)):
            continue
        shown: dict[str, Any] = {"t": line.time, "connection": line.connection, "by": line.by, "what": line.name}
        if line.exchange is not None:
            shown["exchange"] = line.exchange
        if line.size is not None:
            shown["bytes"] = line.size
        if line.payloads:
            payload = secrets.message(b"".join(line.payloads))
            shown["message"] = decode(payload) or payload.decode(errors="replace")
        elif line.says:
            shown["says"] = line.says
        file.write(json.dumps(shown, ensure_ascii=False) + "\n")


def _moved(line: Line, origin: float) -> Line:
    line.time -= origin
    line.since -= origin
    return line


def show_lines(trace: Trace, chosen: Filter, console: Console, *, full: bool) -> None:
    """A timeline.

    Args:
        trace: what happened.
        chosen: what of it.
        console: where to.
        full: every message, in full.
    """
    origin = trace.records[0].time if trace.records else 0.0
    told = [_moved(line, origin) for line in lines(trace, runs=not full)]
    shown = [line for line in told if chosen.passes(line)]
    view = _View.of(told, console)
    view.head(trace, told)
    for line in shown:
        view.show(line, full=full)
    if len(shown) < len(told):
        view.note(f"{len(told) - len(shown)} more lines are not shown")
    for summary in _summaries(told):
        view.note(summary)
    if trace.left_out:
        view.note(f"{trace.left_out} records are not in the file, which had no room for them", "bold red")


@attrs.frozen
class _View:
    console: Console
    lanes: dict[str, str]
    lane_width: int
    place_width: int

    @classmethod
    def of(cls, told: list[Line], console: Console) -> _View:
        names = list(dict.fromkeys(line.lane for line in told if line.lane is not None))
        styles = {name: _LANES[place % len(_LANES)] for place, name in enumerate(names)}
        width = min(_LONGEST_LANE, max(map(len, names), default=0))
        return cls(console, styles, width, max((len(_place(line)) for line in told), default=0))

    def head(self, trace: Trace, told: list[Line]) -> None:
        about = trace.about
        of = f"{about['of']}, " if "of" in about else ""
        seconds = told[-1].time if told else 0.0
        when = str(about.get("started", ""))[:19].replace("T", " ")
        self.note(f"{of}{when} UTC, {seconds:.3f} s, {len(trace.records)} records".removeprefix(" UTC, "), "bold")
        if about and not about.get("whole", True):
            self.note("the file breaks off, as after a crash", "bold red")

    def show(self, line: Line, *, full: bool) -> None:
        text = Text(no_wrap=not full, overflow="ellipsis")
        text.append(f"{line.time:9.3f} ", "dim")
        text.append(f"{_place(line):{self.place_width}} ", "dim")
        text.append("   " if line.by == "local" else "─▶ " if line.by == "client" else "◀─ ", "dim")
        lane_style = self.lanes.get(line.lane or "", "")
        if self.lane_width:
            lane = line.lane or ""
            lane = lane if len(lane) <= self.lane_width else f"{lane[: self.lane_width - 1]}…"
            text.append(f"{clean(lane):{self.lane_width}} ", lane_style)
        narrow = self.console.is_terminal and self.console.width < _NARROW
        name = line.name.removeprefix("response.") if narrow else line.name
        text.append(clean(name), _STYLES.get(line.kind, lane_style))
        if line.count > 1:
            text.append(f" x {line.count} in {line.time - line.since:.3f} s", "dim")
        if line.size is not None:
            text.append(f" {_size(line.size)}", "dim")
        if line.says:
            text.append(f"  {clean(line.says)}")
        self._print(text, cut=not full)
        if full:
            self._payloads(line)

    def note(self, text: str, style: str = "dim") -> None:
        self._print(Text(clean(text), style=style), cut=False)

    def _payloads(self, line: Line) -> None:
        secrets = Secrets()
        for payload in filter(None, line.payloads):
            message = decode(secrets.message(payload))
            shown = payload.decode(errors="replace")
            if message is not None:
                shown = json.dumps(message, ensure_ascii=False, indent=2)
            for row in clean(shown).splitlines():
                self._print(Text(f"{'':13}{row}", style="dim"), cut=False)

    def _print(self, text: Text, *, cut: bool) -> None:
        if cut and self.console.is_terminal:
            self.console.print(text, no_wrap=True, overflow="ellipsis", crop=True)
        else:
            self.console.print(text, soft_wrap=not self.console.is_terminal)


def _place(line: Line) -> str:
    """``#2``, or ``#2/1`` for the second request of an HTTP connection."""
    if line.connection is None:
        return ""
    return f"#{line.connection}" + (f"/{line.exchange}" if line.exchange else "")


def _size(size: int) -> str:
    if size < 10_000:
        return f"{size} B"
    return f"{size / 1000:.0f} kB" if size < 10_000_000 else f"{size / 1_000_000:.1f} MB"


def _summaries(told: list[Line]) -> Iterator[str]:
    connections: dict[int, list[Line]] = {}
    for line in told:
        if line.connection is not None:
            connections.setdefault(line.connection, []).append(line)
    for number, its in sorted(connections.items()):
        first = next((line.name for line in its if line.kind == "http"), "no HTTP")
        up, down = (sum(line.size or 0 for line in its if line.by == side) for side in ("client", "server"))
        ended = sum(line.kind == "end of response" or line.name == "response.failed" for line in its)
        responses = f"{ended} response{'' if ended == 1 else 's'}"
        faults = "".join(f", {line.name}" for line in its if line.kind == "fault")
        yield f"#{number} {first}: {_size(up)} up, {_size(down)} down, {responses} told{_end(its)}{faults}"


def _end(its: list[Line]) -> str:
    """How it ended, by whoever was first to end it."""
    how = next((line for line in its if line.name == "close" or (line.kind == "end" and line.name != "open")), None)
    if how is None:
        return ", open at the end"
    code = f" with {how.says}" if how.name == "close" and how.says else ""
    return f", the {how.by} {'closes' if how.name == 'close' else how.name}{code}"
