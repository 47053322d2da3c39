"""The companion as a server of the WebSocket mode, for servers under test that relay that wire to their models.

It is agentwire's own server, before the companion's HTTP: what its clients leave is left there, too, and is heard of as
ever. What a play does to its connection is done to the one on which the turn was asked.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from functools import partial
from typing import Final

import trio

from agentwire.engines.responses import open_responses_engine
from agentwire.protocol.codec import to_wire
from agentwire.protocol.errors import EngineError
from agentwire.protocol.limits import Limits
from agentwire.runtime.contracts import Ask, Engine, Finish, Out
from agentwire.runtime.groups import open_flat_nursery
from agentwire.server import serve
from agentwire.testing.conformance.asked import read_responses
from agentwire.testing.conformance.companion import Companion
from agentwire.testing.conformance.plays import MODELS, Play
from agentwire.testing.hostile.socket import reset_now, server_frame_of
from agentwire.testing.network import Network, network
from agentwire.testing.replies import Reply
from agentwire.testing.upstream import SeenRequest, scripted_upstream
from agentwire.transport.frames import TEXT
from agentwire.transport.streams import NetworkStream, SocketByteStream, close_now

__all__ = ["open_wired"]

_PATIENCE: Final = Limits(
    connections=10_000,
    response_bytes=1 << 40,
    write_progress=math.inf,
    ping_interval=math.inf,
    ping_timeout=math.inf,
    keepalive_interval=math.inf,
    upstream_first_event=math.inf,
    upstream_silence=math.inf,
)
"""It gives up nobody, and fills no silence: that is what the server under test is looked at for."""

_line: ContextVar[NetworkStream] = ContextVar("_line")
"""The connection of whatever runs: a task inherits it from the one that has started it."""


class _Door(trio.abc.Listener[NetworkStream]):
    """Accepts connections for the server, which runs each in tasks of its own."""

    def __init__(self, listener: trio.abc.Listener[trio.abc.Stream]) -> None:
        self._listener = listener

    async def accept(self) -> NetworkStream:
        stream = await self._listener.accept()
        line = SocketByteStream(stream) if isinstance(stream, trio.SocketStream) else stream
        assert isinstance(line, NetworkStream)
        _line.set(line)
        return line

    async def aclose(self) -> None:
        await self._listener.aclose()


def _with_faults(model: Engine) -> Engine:
    """The model, whose end in the midst of an answer is one of the wire, too."""

    async def engine(ask: Ask, out: Out) -> Finish | None:
        try:
            return await model(ask, out)
        except EngineError as error:
            failed = error
        await _do_to(_line.get(), read_responses(to_wire(ask.request)).play)
        raise failed

    return engine


async def _do_to(line: NetworkStream, play: Play) -> None:
    if play.die is not None:
        await reset_now(line)
    elif play.cut is not None:
        await close_now(line)
    elif play.rubbish is not None:
        await _say(line, server_frame_of(TEXT, b"this is no JSON"))


async def _say(line: NetworkStream, frame: bytes) -> None:
    """Send it once the server's writer does not; a line that is gone hears nothing."""
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        while True:
            with suppress(trio.BusyResourceError):
                return await line.send_all(frame)
            await trio.sleep(0.01)


@asynccontextmanager
async def open_wired(
    companion: Companion, host: str = "127.0.0.1", *, net: Network | None = None
) -> AsyncGenerator[str]:
    """Let a companion be asked over the WebSocket mode as well, as long as the block lasts.

    Args:
        companion: it hears what is asked, and answers it.
        host: where to listen, on a free port.
        net: a network in memory that it is on instead.

    Returns:
        The base URL, with ``/v1``: of a whole server of the Responses API, which remembers what was said, and knows
        lanes and steering; over HTTP as well.

    Raises:
        OSError: it cannot listen there.
    """

    def choose(request: SeenRequest) -> Reply:
        behind.requests.clear()  # the companion keeps them
        return companion.choose(request)

    if net is None:
        listener, *others = await trio.open_tcp_listeners(0, host=host)
        for other in others:  # a name with several addresses, and a port of its own on each
            await other.aclose()
        name, port = listener.socket.getsockname()[:2]
        url = f"http://[{name}]:{port}/v1" if ":" in name else f"http://{name}:{port}/v1"
        door = _Door(listener)
    else:
        url, door = "http://wired.test/v1", _Door(net.listener())
    async with (
        scripted_upstream(choose=choose, net=network(keep=False)) as behind,
        open_responses_engine(behind.url, connector=behind.connect, limits=_PATIENCE) as model,
        open_flat_nursery() as nursery,
    ):
        engine, listed = _with_faults(model), tuple(MODELS)
        usual = partial(serve, host=None, models=listed, extensions=(), allowed_hosts=("*",), limits=_PATIENCE)
        await nursery.start(partial(usual, engine, listeners=[door]))
        companion.wired = True
        try:
            yield url
        finally:
            companion.wired = False
            nursery.cancel_scope.cancel(reason="the companion is not needed any more")
