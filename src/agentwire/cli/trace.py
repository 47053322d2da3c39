"""``agentwire trace``: record what goes by in front of a server, show a recording, and judge it by the invariants.

A recording holds what was said, word for word, and no keys. The first line that `record` writes on stdout says where it
listens, like that of ``serve``.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Final

import trio
from cyclopts import Parameter
from rich.console import Console

from agentwire.cli.failures import FAILED, OK, UserError
from agentwire.cli.trace_view import Filter, show_json, show_lines
from agentwire.testing.invariants import INVARIANTS, each_broken
from agentwire.testing.recorder import Recorder, open_recorder
from agentwire.testing.trace import Trace
from agentwire.testing.trace_file import LARGEST, TraceFileError, TraceWriter

__all__ = ["check", "record", "show"]

FLUSH: Final = 1.0
"""Seconds after which others can read what was recorded."""


def record(
    file: str,
    *,
    to: str,
    listen: int = 0,
    host: str = "127.0.0.1",
    limit: int = LARGEST,
    overwrite: bool = False,
) -> int:
    """Record; see ``agentwire trace record --help``.

    Args:
        file: where to.
        to: URL of the server, such as http://127.0.0.1:8000/v1 or wss://api.openai.com/v1.
        listen: port to listen on; any free one if left out.
        host: address to listen on.
        limit: bytes that the file may have; what comes later is counted, and not kept. 256 MiB if left out.
        overwrite: replace the file if there is one.

    Raises:
        UserError: the server's URL, the port or the file is of no use.
    """
    path = Path(file)
    if path.exists() and not overwrite and path.stat().st_size:
        raise UserError(f"{file} exists; name another file, or say --overwrite")
    try:
        with TraceWriter(path, {"of": f"a relay to {_without_password(to)}"}, most=limit) as writer:
            trio.run(_record, writer, to, host, listen)
    except ValueError as error:
        raise UserError(str(error)) from error
    except OSError as error:
        raise UserError(f"cannot record: {error}") from error
    left_out = f", and {writer.left_out} that the file had no room for" if writer.left_out else ""
    print(f"{writer.written} records in {file}{left_out}", file=sys.stderr)
    return OK


def _without_password(url: str) -> str:
    scheme, mark, rest = url.partition("://")
    place, slash, path = rest.partition("/")
    return f"{scheme}{mark}{place.rpartition('@')[2]}{slash}{path.partition('?')[0]}"


async def _record(writer: TraceWriter, to: str, host: str, port: int) -> None:
    trace = Trace(sink=writer.write)
    trace.secrets = writer.secrets
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with open_recorder(to, trace, host=host, port=port) as recorder, trio.open_nursery() as nursery:
            _announce(recorder)
            nursery.start_soon(_flush, writer)
            await anext(signals)
            nursery.cancel_scope.cancel(reason="the recording was ended")
        print(f"{recorder.connections} connections", end=", ", file=sys.stderr)


def _announce(recorder: Recorder) -> None:
    print(f"recording ws={recorder.through('ws')} http={recorder.url}", flush=True)
    print(f"everything that comes there goes to {recorder.target.name}; Ctrl-C ends it", file=sys.stderr)


async def _flush(writer: TraceWriter) -> None:
    while True:
        await trio.sleep(FLUSH)
        writer.flush()


def show(
    file: str,
    *,
    lane: Annotated[tuple[str, ...], Parameter(consume_multiple=False)] = (),
    connection: Annotated[tuple[int, ...], Parameter(consume_multiple=False)] = (),
    from_: Annotated[float | None, Parameter(name="--from")] = None,
    to: float | None = None,
    full: bool = False,
    json: bool = False,
) -> int:
    """Show a recording; see ``agentwire trace show --help``.

    Args:
        file: a recording.
        lane: only what was said on this lane; - is the default lane. May be given again.
        connection: only this connection, by its number. May be given again.
        from_: only what happened so many seconds after the beginning, or later.
        to: only what happened until so many seconds after the beginning.
        full: every message in full, each delta by itself.
        json: one JSON object a line on stdout, for programs.

    Raises:
        UserError: it is no recording, or cannot be read.
    """
    trace = _load(file)
    chosen = Filter(lane, connection, from_, to)
    console = Console(highlight=False, soft_wrap=False)
    if json:
        show_json(trace, chosen, console.file)
    else:
        show_lines(trace, chosen, console, full=full)
    return OK


def check(
    file: str,
    *,
    cancelled_after: float | None = None,
    limit: Annotated[tuple[str, ...], Parameter(consume_multiple=False)] = (),
    without: Annotated[tuple[str, ...], Parameter(consume_multiple=False)] = (),
) -> int:
    """Judge a recording; see ``agentwire trace check --help``.

    Args:
        file: a recording.
        cancelled_after: seconds within which work ends whose connection has gone; for recordings that have work.
        limit: bytes that something may hold, as NAME=BYTES; for recordings that have sizes. May be given again.
        without: an invariant that does not apply. May be given again.

    Raises:
        UserError: it is no recording, or an option makes no sense.
    """
    trace = _load(file)
    limits = dict(_limit(one) for one in limit)
    try:
        broken = list(each_broken(trace, cancelled_after=cancelled_after, limits=limits, without=without))
    except ValueError as error:
        raise UserError(str(error)) from error
    for one in broken:
        print(f"{one}\n")
    judged = len(INVARIANTS) - len(set(without)) - (cancelled_after is None and "cancelled_within" not in without)
    if not trace.is_whole:
        print("the recording is not whole, so that what has no end in it may have had one", file=sys.stderr)
    print(f"{judged} invariants, {len(broken)} broken{_names(one.name for one in broken)}")
    return FAILED if broken else OK


def _names(names: Iterable[str]) -> str:
    shown = ", ".join(names)
    return f": {shown}" if shown else ""


def _limit(given: str) -> tuple[str, int]:
    name, mark, value = given.partition("=")
    if not mark or not value.isdigit():
        raise UserError(f"--limit is NAME=BYTES, not {given!r}")
    return name, int(value)


def _load(file: str) -> Trace:
    try:
        return Trace.load(file)
    except TraceFileError as error:
        raise UserError(str(error)) from error
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror or error}") from error
