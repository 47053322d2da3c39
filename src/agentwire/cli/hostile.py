"""``agentwire hostile``: a server that does wrong things on cue, for whoever wants to see what a client makes of them.

The first line on stdout says where it listens; then it tells on stderr what it sees and does, until a signal.
"""

from __future__ import annotations

import signal
import sys
from typing import Annotated, Final

import attrs
import trio
from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from agentwire.cli.failures import OK, UserError
from agentwire.cli.terminal import clean
from agentwire.testing.hostile import DEEDS, Answer, Cue, Say, cue, hostile_server
from agentwire.testing.hostile.clerk import Clerk

__all__ = ["hostile"]

_LINE: Final = 200


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class HostileOptions:
    """What can be said about the server."""

    port: int = 0
    """Port to listen on, on 127.0.0.1; any free one if left out."""
    pages: int = 3
    """How many pages the model wants to have looked up, before it is done: calls of look_up(page), one at a time."""
    say: str | None = None
    """What it says to everything, instead of calling anything."""
    forgetful: bool = False
    """Store no response, whatever a request says."""
    quiet: bool = False
    """Say nothing on stderr."""
    list_deeds: Annotated[bool, Parameter(name="--list")] = False
    """List the deeds; nothing is served."""


def hostile(*deeds: str, options: HostileOptions = HostileOptions()) -> int:
    """Serve, and do these things; see ``agentwire hostile --help``.

    Raises:
        UserError: there is no such deed, or it cannot listen there.
    """
    if options.list_deeds:
        _print_list()
        return OK
    try:
        cues = [cue(deed) for deed in deeds]
    except ValueError as error:
        raise UserError(f"{str(error).partition(' (there are')[0]}; --list shows them") from error
    if not 0 <= options.port <= 65_535 or options.pages < 1:
        raise UserError("--port is 0 to 65535, and --pages at least 1")
    trio.run(_serve, cues, options)
    return OK


async def _serve(cues: list[Cue], options: HostileOptions) -> None:
    said = Answer(Say(options.say, pieces=4)) if options.say is not None else Clerk(last_page=options.pages)
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        try:
            async with hostile_server(
                cues, said, sockets=True, port=options.port, stores=not options.forgetful
            ) as server:
                print(f"listening ws={server.ws_url} http={server.url}", flush=True)
                if not options.quiet:
                    server.seen.listener = _tell
                await anext(signals)
        except OSError as error:
            raise UserError(error.strerror or str(error)) from error


def _tell(line: str) -> None:
    """Say on stderr what goes by."""
    text = clean(line)
    print(text if len(text) <= _LINE else f"{text[:_LINE]}...", file=sys.stderr, flush=True)


def _print_list() -> None:
    table = Table(box=None, pad_edge=False)
    for name in ("deed", "first", "what it does"):
        table.add_column(name, no_wrap=name != "what it does")
    for deed in DEEDS.values():
        often = "+" if deed.times > 1 else ""
        table.add_row(deed.name, f"{deed.when} {deed.first}{often}", deed.title)
    console = Console(highlight=False)
    (console if console.is_terminal else Console(highlight=False, width=160, color_system=None)).print(table)
