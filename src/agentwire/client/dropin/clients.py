"""HTTP clients for SDKs that only know HTTP: given one, their requests for responses ride one recovered WebSocket.

    client = OpenAI(http_client=agentwire.http_client("ws://127.0.0.1:8000/v1"))

The SDK sees plain HTTP. A history that it sends whole goes out as what is new in it, where the server has the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from agentwire.client.choices import check_choice, check_policy
from agentwire.client.dropin.asking import Repeat
from agentwire.client.dropin.library import Library, LibraryName, find_library
from agentwire.client.dropin.transport import AsyncTransport, Transport
from agentwire.client.dropin.wires import WireOptions, WiresStatistics
from agentwire.client.dropin.wiring import Wiring
from agentwire.link import Address
from agentwire.link.address import find_key
from agentwire.protocol.limits import Limits
from agentwire.runtime.policies import Policy, Resume

if TYPE_CHECKING:
    import httpx2

__all__ = ["async_http_client", "http_client", "wire_statistics"]

LONG: Final = Resume(within=60.0)


def http_client(
    url: str | None = None,
    *,
    key: str | None = None,
    on_disconnect: Policy = LONG,
    repeat: Repeat = "safe",
    connections: int = 8,
    limits: Limits | None = None,
    library: LibraryName | None = None,
    **options: Any,
) -> httpx2.Client:
    """An HTTP client over a WebSocket, for SDKs: ``OpenAI(http_client=agentwire.http_client(url))``.

    It is the library's own client, so everything that takes one takes it. Whatever is posted to ``…/responses``,
    streaming or not, is a turn over one connection that the first of them opens, and that is opened again when it is
    lost. A turn that breaks off is resumed where the server has the extension for that; elsewhere see ``repeat``.
    Errors come as HTTP would have brought them, with status, code and ``retry-after``, and the SDK's own timeouts
    hold. Closing a stream cancels its turn at once.

    Where a request's history begins with what the server said and was told before, under the same key, settings, tools
    and instructions, only the rest is sent, with ``previous_response_id``. Everything else goes over HTTP as it is:
    other requests, ``background`` and ``conversation``, and all requests for a while when the server takes no
    WebSocket.

    Closing the client, or the SDK's, closes the connections.

    Args:
        url: where responses are asked for, as for `agentwire.connect`; left out, it is where the SDK posts them.
        key: API key instead of the one that the SDK sends.
        on_disconnect: under `Resume`, for so many seconds a connection that was lost is opened again, and its turns
            are resumed; under `Cancel`, they are lost with it.
        repeat: which requests are asked again when they were lost and nothing of their answer was handed on. ``safe``:
            those that are not stored, and for which the server runs no tools; ``always``; ``never``. What is lost is
            a connection error to the SDK, which may try again by itself, and is not helped then.
        connections: most connections to one server; there is one until 16 turns run at once, or it has no lane left
            that does not remember an unstored conversation.
        limits: bounds and deadlines.
        library: ``httpx2`` or ``httpx``; left out, the one that the installed OpenAI SDK is built on.
        options: of the library's own client, such as ``proxy``, ``verify``, ``timeout`` and ``event_hooks``; the first
            two are the wire's as well, ``transport`` and ``mounts`` are for what goes over HTTP.

    Raises:
        ImportError: the library is not installed.
        LocalProtocolError: the address or another argument is not possible.
    """
    found = find_library(library)
    wiring = _wiring(
        found,
        options,
        url=url,
        key=key,
        resume_within=_within(on_disconnect),
        repeat=repeat,
        connections=connections,
        limits=limits or Limits(),
    )
    outer, inner = found.split(options)
    transport = Transport(found, wiring, found.module.Client(**inner))
    client: httpx2.Client = found.module.Client(transport=transport, **outer)
    _transports[client] = transport
    return client


def async_http_client(
    url: str | None = None,
    *,
    key: str | None = None,
    on_disconnect: Policy = LONG,
    repeat: Repeat = "safe",
    connections: int = 8,
    limits: Limits | None = None,
    library: LibraryName | None = None,
    **options: Any,
) -> httpx2.AsyncClient:
    """The same for ``AsyncOpenAI(http_client=agentwire.async_http_client(url))``; see `http_client`.

    It works under asyncio and under Trio. A task that is cancelled while it waits cancels its turn.

    Args:
        url: see `http_client`, as for all the others.
        key: ...
        on_disconnect: ...
        repeat: ...
        connections: ...
        limits: ...
        library: ...
        options: ...

    Raises:
        ImportError: the library is not installed.
        LocalProtocolError: the address or another argument is not possible.
    """
    found = find_library(library)
    wiring = _wiring(
        found,
        options,
        url=url,
        key=key,
        resume_within=_within(on_disconnect),
        repeat=repeat,
        connections=connections,
        limits=limits or Limits(),
    )
    outer, inner = found.split(options)
    transport = AsyncTransport(found, wiring, found.module.AsyncClient(**inner))
    client: httpx2.AsyncClient = found.module.AsyncClient(transport=transport, **outer)
    _transports[client] = transport
    return client


def wire_statistics(client: object) -> WiresStatistics:
    """What the wires of a client carry at this moment; may be called from any thread but the wires' own.

    Args:
        client: made by `http_client` or `async_http_client`.

    Raises:
        LookupError: it was not.
    """
    transport = _transports.get(client)
    if transport is None:
        raise LookupError(f"{client!r} has no wires: it was not made by agentwire.http_client or async_http_client")
    return transport.statistics()


_transports: Final[WeakKeyDictionary[object, Transport | AsyncTransport]] = WeakKeyDictionary()


def _wiring(library: Library, options: Mapping[str, Any], **chosen: Any) -> Wiring:
    """The wires of a client; they trust whom the library trusts, and take the proxy that it takes."""
    check_choice("repeat", chosen["repeat"], Repeat)
    made = WireOptions(tls=cache(partial(library.tls, options)), proxy=library.proxy(options), **chosen)
    if made.url is not None:
        find_key(Address.parse(made.url), made.key, {})
    return Wiring(made)


def _within(policy: Policy) -> float | None:
    check_policy(policy)
    return policy.within if isinstance(policy, Resume) else None
