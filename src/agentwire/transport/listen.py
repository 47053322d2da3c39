"""Listening sockets and the loop that accepts from them.

A connection's failure ends that connection: no exception of a handler and no shortage of descriptors ends the loop.
What is accepted belongs to a nursery of the caller, so that a server can stop listening and let connections go on.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import attrs
import trio

from agentwire.protocol.errors import ConnectionEnded
from agentwire.protocol.limits import Limits
from agentwire.transport.binding import close_all, file_identity, open_tcp, open_unix
from agentwire.transport.streams import NetworkStream, SocketByteStream, TlsByteStream

__all__ = ["Handler", "ListenStatistics", "Listening", "accept_loop", "accept_streams", "open_listeners"]

Handler = Callable[[NetworkStream], Awaitable[object]]
"""Serves one connection; the stream is closed by force when it returns or raises."""

_log = logging.getLogger("agentwire.transport")

_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}


@attrs.frozen
class ListenStatistics:
    """A snapshot of a listener: connections since it opened, and those open now.

    Attributes:
        accepted: connections taken.
        open: connections whose handler is running.
        failed: handlers that ended with an exception.
        tls_failed: TLS handshakes that failed or took too long.
        not_accepted: times that accepting failed, such as for want of file descriptors.
    """

    accepted: int
    open: int
    failed: int
    tls_failed: int
    not_accepted: int


@attrs.define(eq=False)
class Listening:
    """Open listening sockets; closed by `aclose`, or by leaving ``async with``.

    Attributes:
        sockets: of TCP first.
        tls: for the connections that come over TCP, or None.
        unix_path: where the Unix socket is, or None.
    """

    sockets: tuple[trio.socket.SocketType, ...]
    tls: ssl.SSLContext | None = None
    unix_path: Path | None = None
    _inode: tuple[int, int] | None = attrs.field(default=None, alias="inode")
    _streams: set[NetworkStream] = attrs.field(factory=set, init=False)
    _accepted: int = attrs.field(default=0, init=False)
    _open: int = attrs.field(default=0, init=False)
    _failed: int = attrs.field(default=0, init=False)
    _tls_failed: int = attrs.field(default=0, init=False)
    _not_accepted: int = attrs.field(default=0, init=False)

    @property
    def addresses(self) -> tuple[tuple[str, int], ...]:
        """Host and port of each TCP socket."""
        return tuple(sock.getsockname()[:2] for sock in self.sockets if sock.family != socket.AF_UNIX)

    @property
    def port(self) -> int | None:
        """The TCP port, the same for every address; None if there is only a Unix socket."""
        return self.addresses[0][1] if self.addresses else None

    def url(self, scheme: str) -> str:
        """Where a client on this machine finds it: ``ws://127.0.0.1:8000``, or ``unix:PATH``.

        Args:
            scheme: ``ws`` or ``http``; with TLS it becomes ``wss`` or ``https``.
        """
        if not self.addresses:
            return f"unix:{self.unix_path}"
        host, port = self.addresses[0]
        host = _WILDCARDS.get(host, host)
        return f"{scheme}{'s' if self.tls else ''}://{f'[{host}]' if ':' in host else host}:{port}"

    def statistics(self) -> ListenStatistics:
        """Counts at this moment."""
        return ListenStatistics(self._accepted, self._open, self._failed, self._tls_failed, self._not_accepted)

    async def cut_off(self) -> None:
        """Close every open connection by force, so that no write that waits for a peer holds up a cancellation."""
        with trio.CancelScope(shield=True):  # noqa: ASYNC912 - closing by force waits for nothing
            for stream in tuple(self._streams):
                await trio.aclose_forcefully(stream)

    async def aclose(self) -> None:
        """Stop listening, and remove the Unix socket's file if it is still ours. Open connections go on."""
        for sock in self.sockets:
            sock.close()
        if self.unix_path is not None and self._inode is not None and file_identity(self.unix_path) == self._inode:
            self.unix_path.unlink(missing_ok=True)
        self._inode = None
        await trio.lowlevel.checkpoint()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


async def open_listeners(
    host: str | None,
    port: int = 0,
    *,
    unix_path: str | os.PathLike[str] | None = None,
    tls: ssl.SSLContext | None = None,
    backlog: int = Limits().backlog,
) -> Listening:
    """Open what a server listens on; the caller closes it.

    Args:
        host: a name or an address; every address that a name has here is opened, on one port. None for no TCP.
        port: 0 for any free one.
        unix_path: a Unix socket besides, for this user alone; a file left behind by a dead server is replaced.
        tls: for TCP.
        backlog: ``limits.backlog``.

    Raises:
        OSError: it cannot listen there; the message says where and why.
        ValueError: there is nothing to listen on.
    """
    if host is None and unix_path is None:
        raise ValueError("name a host or a Unix socket to listen on")
    sockets: list[socket.socket] = []
    path = None if unix_path is None else Path(unix_path)
    try:
        if host is not None:
            sockets += await open_tcp(host, port, backlog)
        if path is not None:
            sockets.append(open_unix(path, backlog))
    except BaseException:
        close_all(sockets)
        raise
    wrapped = tuple(trio.socket.from_stdlib_socket(sock) for sock in sockets)
    return Listening(wrapped, tls, path, None if path is None else file_identity(path))


async def accept_loop(listening: Listening, handler: Handler, *, nursery: trio.Nursery, limits: Limits) -> None:
    """Accept connections until cancelled, or until ``listening`` is closed.

    Each runs ``handler`` in a task of ``nursery``: stop accepting by cancelling this function, and end the connections
    by cancelling the nursery. TLS is agreed on in that task, within ``limits.handshake``. Nothing that a handler raises
    gets any further than the log, and its socket is always closed in the end.
    """
    async with trio.open_nursery() as loops:
        for sock in listening.sockets:
            loops.start_soon(_accept_from, sock, listening, handler, nursery, limits)


async def _accept_from(
    sock: trio.socket.SocketType, listening: Listening, handler: Handler, nursery: trio.Nursery, limits: Limits
) -> None:
    trouble = False
    while True:  # noqa: ASYNC913 - every way round waits
        try:
            connection, _ = await sock.accept()
        except trio.ClosedResourceError:
            return
        except OSError as error:
            # Out of descriptors, or a connection's own failure, which Linux reports here: the next one may be well.
            listening._not_accepted += 1
            _log.log(
                logging.DEBUG if trouble else logging.WARNING, "cannot accept a connection: %s", error.strerror or error
            )
            trouble = True
            await trio.sleep(0 if error.errno == errno.ECONNABORTED else limits.accept_pause)
            continue
        trouble = False
        nursery.start_soon(_serve, connection, listening, handler, limits, name="agentwire connection")


async def accept_streams(
    listener: trio.abc.Listener[NetworkStream], listening: Listening, handler: Handler, *, nursery: trio.Nursery
) -> None:
    """The same for streams from elsewhere, such as a network in memory, until ``listener`` is closed."""
    with suppress(trio.ClosedResourceError):
        while True:
            nursery.start_soon(_run, await listener.accept(), listening, handler, name="agentwire connection")


async def _serve(connection: trio.socket.SocketType, listening: Listening, handler: Handler, limits: Limits) -> None:
    async def agree_and_handle(stream: NetworkStream) -> None:
        assert isinstance(stream, SocketByteStream)
        secure = await _agree_on_tls(stream, listening, limits)
        if secure is not None:
            await handler(secure)

    await _run(SocketByteStream(trio.SocketStream(connection)), listening, agree_and_handle)


async def _run(stream: NetworkStream, listening: Listening, handler: Handler) -> None:
    """Handle one connection; whatever comes of it stays here."""
    listening._accepted += 1
    listening._open += 1
    listening._streams.add(stream)
    try:
        await handler(stream)
    except* ConnectionEnded as ended:
        _log.debug("connection from %s: %s", stream.peer, ended.exceptions[0])
    except* Exception as failure:  # noqa: BLE001 - the server goes on
        listening._failed += 1
        _log.error("the connection from %s failed", stream.peer, exc_info=failure)
    finally:
        listening._open -= 1
        listening._streams.discard(stream)
        await trio.aclose_forcefully(stream)


async def _agree_on_tls(stream: SocketByteStream, listening: Listening, limits: Limits) -> NetworkStream | None:
    """The stream to serve; None if the peer cannot agree on TLS."""
    if listening.tls is None or stream.is_unix:
        return stream
    secure = trio.SSLStream(stream, listening.tls, server_side=True, https_compatible=True)
    try:
        with trio.fail_after(limits.handshake):
            await secure.do_handshake()
    except (trio.BrokenResourceError, trio.TooSlowError) as error:
        listening._tls_failed += 1
        _log.debug("no TLS with %s: %r", stream.peer, error.__cause__ or error)
        return None
    return TlsByteStream(secure, slice_bytes=limits.slice_bytes)
