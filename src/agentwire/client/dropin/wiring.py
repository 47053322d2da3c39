"""What posts a response, and the wires that it takes: opened by the first request, and closed with their client.

They live in a Trio loop in a thread of its own. A client that is not closed is closed when nobody has it any more, and
when the process ends.
"""

from __future__ import annotations

import atexit
import math
import os
import threading
import weakref
from collections.abc import Mapping
from concurrent.futures import wait
from functools import partial
from typing import Any, Final

import attrs

from agentwire.client.dropin.answer import Answer
from agentwire.client.dropin.asked import Asked
from agentwire.client.dropin.asking import Events
from agentwire.client.dropin.place import Place
from agentwire.client.dropin.wire import Times
from agentwire.client.dropin.wires import WireOptions, Wires, WiresStatistics
from agentwire.client.portal import Held, Portal, Work
from agentwire.client.waiting import result, until

__all__ = ["Wanted", "Wiring"]

RESOURCE: Final = "/responses"
RETRIES: Final = "x-stainless-retry-count"
"""The header by which the official SDKs say how often they have asked already."""


@attrs.frozen
class Wanted:
    """What is to be asked.

    Attributes:
        asked: the request.
        place: where.
        times: how long its caller waits.
    """

    asked: Asked
    place: Place
    times: Times


class Wiring:
    """The wires of one HTTP client, and the loop that they run in, from their first use on.

    Args:
        options: how wires are made.
    """

    def __init__(self, options: WireOptions) -> None:
        self._options = options
        self._lock = threading.Lock()
        self._running: tuple[Portal, Wires, Work[None]] | None = None
        self._process = 0

    def wants(self, request: Any) -> bool:
        """Whether a request posts a response."""
        path: str = request.url.path
        return request.method == "POST" and path.rstrip("/").endswith(RESOURCE)

    def read(self, request: Any, body: bytes) -> Wanted | None:
        """What a request asks; None if it is for HTTP.

        Raises:
            LocalProtocolError: its key would go in the clear to somewhere it was not meant for.
        """
        asked = Asked.read(body)
        if asked is None or "content-encoding" in request.headers:
            return None
        lines = [(name, value) for name, value in request.headers.multi_items() if value.isascii()]
        place = Place.of(self._options.url, str(request.url), lines, key=self._options.key)
        first = request.headers.get(RETRIES, "0") == "0"
        return Wanted(asked, place, _times(request.extensions.get("timeout") or {}, first=first))

    def ask(self, wanted: Wanted) -> tuple[Portal, Held[Answer | Events]]:
        """Ask, and return at once."""
        portal, wires, _ = self._open()
        return portal, Held(portal, partial(wires.ask, wanted.asked, wanted.place, wanted.times))

    def statistics(self) -> WiresStatistics:
        """Queues and totals at this moment; nothing, if nothing was asked yet or all is closed."""
        with self._lock:
            running = self._running
        if running is None:
            return WiresStatistics()
        portal, wires, _ = running
        work = portal.submit(wires.statistics)
        return result(work.future, work)

    def _open(self) -> tuple[Portal, Wires, Work[None]]:
        with self._lock:
            if self._running is None or self._process != os.getpid():
                portal, wires = Portal.take(), Wires(self._options)
                self._running = portal, wires, portal.submit(wires.run)
                self._process = os.getpid()
                _open.add(self)
            return self._running

    def close(self) -> None:
        """End the connections, and wait for that, within ``limits.close_grace``; what still runs is lost."""
        if (closing := self._closing()) is not None:
            portal, work = closing
            wait([work.future])
            portal.release()

    async def aclose(self) -> None:
        """The same without blocking."""
        if (closing := self._closing()) is not None:
            portal, work = closing
            try:
                await until(work.future)
            finally:
                portal.release()

    def close_soon(self) -> None:
        """The same in the background: a garbage collector may run in any thread, and must not wait."""
        threading.Thread(target=self.close, name="agentwire closing", daemon=True).start()

    def _closing(self) -> tuple[Portal, Work[None]] | None:
        """Begin to close what this process has opened."""
        with self._lock:
            running, self._running = self._running, None
        _open.discard(self)
        if running is None or self._process != os.getpid():
            return None
        portal, wires, work = running
        portal.soon(wires.close)
        return portal, work


_open: Final[weakref.WeakSet[Wiring]] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """Say goodbye when the process ends: few programs close their HTTP clients."""
    for wiring in tuple(_open):
        wiring.close()


def _times(given: Mapping[str, float | None], *, first: bool) -> Times:
    chosen = {name: given.get(name) for name in ("connect", "pool", "read")}
    return Times(**{name: math.inf if most is None else most for name, most in chosen.items()}, first=first)
