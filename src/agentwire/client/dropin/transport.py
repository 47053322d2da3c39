"""The transports under an SDK's HTTP client: what posts a response goes over the wire, and all the rest over HTTP.

One asks from a thread, the other from a coroutine; both ask the same wires in Trio. HTTP is a plain client of the same
library, which sends what it is given as it is.
"""

from __future__ import annotations

import weakref
from concurrent.futures import wait
from functools import cache
from typing import Any, Self

from agentwire.client.dropin.answer import Answer
from agentwire.client.dropin.asking import Events
from agentwire.client.dropin.library import Library
from agentwire.client.dropin.wire import GoesOverHttp
from agentwire.client.dropin.wires import WiresStatistics
from agentwire.client.dropin.wiring import Wanted, Wiring
from agentwire.client.portal import Held, Portal
from agentwire.client.waiting import async_result, result, until
from agentwire.protocol.errors import AgentwireError, LocalProtocolError

__all__ = ["AsyncTransport", "Transport"]


class _Body:
    """An answer that comes piece by piece; when nobody has it any more, it is given up."""

    def __init__(self, library: Library, portal: Portal, held: Held[Answer | Events], events: Events) -> None:
        self._library = library
        self._portal = portal
        self._held = held
        self._events = events
        self._give_up = weakref.finalize(self, held.leave)

    def _error(self, error: AgentwireError) -> Exception:
        return self._library.error(error)


class _SyncBody(_Body):
    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        work = self._portal.submit(self._events.more)
        try:
            data = result(work.future, work)
        except AgentwireError as error:
            raise self._error(error) from error
        if not data:
            raise StopIteration
        return data

    def close(self) -> None:
        """Give up what has not come yet."""
        self._give_up()
        wait([self._held.work.future])


class _AsyncBody(_Body):
    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        work = self._portal.submit(self._events.more)
        try:
            data = await async_result(work.future, work)
        except AgentwireError as error:
            raise self._error(error) from error
        if not data:
            raise StopAsyncIteration
        return data

    async def aclose(self) -> None:
        """Give up what has not come yet."""
        self._give_up()
        await until(self._held.work.future)


@cache
def _bodies(library: Library) -> tuple[type[Any], type[Any]]:
    """The two kinds of bodies as the library's own."""
    module = library.module
    return type("Body", (_SyncBody, module.SyncByteStream), {}), type("Body", (_AsyncBody, module.AsyncByteStream), {})


class _Transport:
    """What both have in common.

    Args:
        library: of the HTTP client.
        wiring: its wires.
        plain: a client of the same library, for what goes over HTTP; closed with the transport.
    """

    def __init__(self, library: Library, wiring: Wiring, plain: Any) -> None:
        self._library = library
        self._wiring = wiring
        self._plain = plain
        weakref.finalize(self, wiring.close_soon).atexit = False

    def statistics(self) -> WiresStatistics:
        """Queues and totals of the wires at this moment."""
        return self._wiring.statistics()

    def _passed_on(self, response: Any) -> Any:
        """A response of the plain client as this transport's own."""
        return self._library.module.Response(
            response.status_code,
            headers=response.headers,
            stream=response.stream,
            extensions=response.extensions,
        )

    def _whole(self, answer: Answer) -> Any:
        return self._library.module.Response(answer.status, headers=list(answer.headers), content=answer.body)

    def _stream(self, body: Any, events: Events) -> Any:
        return self._library.module.Response(events.status, headers=list(events.headers), stream=body)

    def _over_http(self, request: Any, wanted: Wanted) -> Any:
        """The same request to the same server, over HTTP."""
        url = self._library.module.URL(wanted.place.over_http)
        if url.host != request.url.host or url.port != request.url.port:
            headers = [line for line in request.headers.multi_items() if line[0].lower() != "host"]
            request = self._library.module.Request(
                request.method, url, headers=headers, content=request.content, extensions=request.extensions
            )
        request.headers.update(wanted.place.headers)
        return request


class Transport(_Transport):
    """For a client that blocks; `close` ends its wires and closes the plain client."""

    def handle_request(self, request: Any) -> Any:
        """Answer a request.

        Raises:
            LocalProtocolError: its key would go in the clear to somewhere it was not meant for.
            ...: the library's own errors.
        """
        wanted = self._wiring.read(request, request.read()) if self._wiring.wants(request) else None
        if wanted is None:
            return self._send(request)
        portal, held = self._wiring.ask(wanted)
        try:
            answer = result(held.entered, held.work)
        except GoesOverHttp:
            return self._send(self._over_http(request, wanted))
        except LocalProtocolError:
            raise
        except AgentwireError as error:
            raise self._library.error(error) from error
        if isinstance(answer, Events):
            return self._stream(_bodies(self._library)[0](self._library, portal, held, answer), answer)
        held.leave()
        return self._whole(answer)

    def _send(self, request: Any) -> Any:
        return self._passed_on(self._plain.send(request, stream=True, auth=None, follow_redirects=False))

    def close(self) -> None:
        """End the wires, and close the plain client."""
        self._wiring.close()
        self._plain.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncTransport(_Transport):
    """For a client of coroutines, under asyncio and under Trio; `aclose` ends its wires and closes the plain client."""

    async def handle_async_request(self, request: Any) -> Any:
        """Answer a request.

        Raises:
            LocalProtocolError: its key would go in the clear to somewhere it was not meant for.
            ...: the library's own errors.
        """
        wanted = self._wiring.read(request, await request.aread()) if self._wiring.wants(request) else None
        if wanted is None:
            return await self._send(request)
        portal, held = self._wiring.ask(wanted)
        try:
            answer = await async_result(held.entered, held.work)
        except GoesOverHttp:
            return await self._send(self._over_http(request, wanted))
        except LocalProtocolError:
            raise
        except AgentwireError as error:
            raise self._library.error(error) from error
        if isinstance(answer, Events):
            return self._stream(_bodies(self._library)[1](self._library, portal, held, answer), answer)
        held.leave()
        return self._whole(answer)

    async def _send(self, request: Any) -> Any:
        return self._passed_on(await self._plain.send(request, stream=True, auth=None, follow_redirects=False))

    async def aclose(self) -> None:
        """End the wires, and close the plain client."""
        await self._wiring.aclose()
        await self._plain.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
