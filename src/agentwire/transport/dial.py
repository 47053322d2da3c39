"""Connecting: TCP, TLS, through a proxy or to a Unix socket, as a `NetworkStream`, within one deadline.

Names with several addresses are tried side by side (RFC 8305, by Trio); what cannot be connected is one error that
says where and why.
"""

from __future__ import annotations

import os
import ssl

import trio

from agentwire.protocol.errors import AgentwireError, ConnectionEnded, RemoteProtocolError
from agentwire.protocol.limits import Limits
from agentwire.transport.proxy import Proxy, TunnelRefused, open_tunnel
from agentwire.transport.streams import NetworkStream, SocketByteStream, TlsByteStream, close_now

__all__ = ["ConnectFailed", "dial_tcp", "dial_unix"]


class ConnectFailed(AgentwireError):
    """No connection could be made; nothing was sent.

    Args:
        target: where to, as ``host:port`` or a path.
        cause: what happened, in words.
        final: whether it would be the same again: a certificate is not trusted, or a proxy will not have it.
        tunnel: the HTTP status of a proxy that made no tunnel.
    """

    def __init__(self, target: str, cause: str, *, final: bool = False, tunnel: int | None = None) -> None:
        super().__init__(f"cannot connect to {target}: {cause}")
        self.target = target
        self.cause = cause
        self.final = final
        self.tunnel = tunnel


async def dial_tcp(
    host: str, port: int, *, tls: ssl.SSLContext | None = None, proxy: Proxy | None = None, limits: Limits
) -> NetworkStream:
    """Connect over TCP, with TLS if a context is given; the caller closes the stream.

    Cancelled, it leaves nothing open.

    Args:
        host: name or address.
        port: TCP port.
        tls: for TLS with the host itself.
        proxy: tunnels the connection.
        limits: deadlines and sizes.

    Raises:
        ConnectFailed: refused, unreachable, unknown, not trusted, or no success within ``limits.handshake``.
    """
    target = _authority(host, port)
    with trio.move_on_after(limits.handshake):
        stream = await (_connect(host, port, target) if proxy is None else _through(proxy, target, limits))
        return stream if tls is None else await _secure(stream, host, tls, target, limits)
    raise ConnectFailed(target, f"no success within {limits.handshake:g} s")


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def _connect(host: str, port: int, target: str) -> SocketByteStream:
    try:
        return SocketByteStream(await trio.open_tcp_stream(host, port))
    except OSError as error:
        raise ConnectFailed(target, _reason(error)) from error


async def _through(proxy: Proxy, target: str, limits: Limits) -> NetworkStream:
    """A tunnel to the target."""
    stream = await dial_tcp(proxy.host, proxy.port, tls=proxy.tls, limits=limits)
    try:
        await open_tunnel(stream, target, proxy, limits)
    except TunnelRefused as error:
        await close_now(stream)  # noqa: ASYNC120 - it waits for nothing
        raise ConnectFailed(target, error.cause, final=error.final, tunnel=error.status) from error
    except (ConnectionEnded, RemoteProtocolError) as error:
        await close_now(stream)  # noqa: ASYNC120 - it waits for nothing
        raise ConnectFailed(target, getattr(error, "cause", str(error))) from error
    except BaseException:
        await close_now(stream)  # noqa: ASYNC102 - it waits for nothing
        raise
    return stream


async def _secure(stream: NetworkStream, host: str, tls: ssl.SSLContext, target: str, limits: Limits) -> TlsByteStream:
    secure = trio.SSLStream(stream, tls, server_hostname=host, https_compatible=True)
    try:
        await secure.do_handshake()
    except (trio.BrokenResourceError, ssl.SSLError) as error:
        await trio.aclose_forcefully(stream)
        why = error.__cause__ or error
        raise ConnectFailed(target, f"no TLS: {why}", final=isinstance(why, ssl.SSLCertVerificationError)) from error
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return TlsByteStream(secure, slice_bytes=limits.slice_bytes)


async def dial_unix(path: str, *, limits: Limits) -> NetworkStream:
    """Connect to a Unix socket; the caller closes the stream.

    Raises:
        ConnectFailed: there is nobody at that path, or no success within ``limits.handshake``.
    """
    with trio.move_on_after(limits.handshake):
        try:
            return SocketByteStream(await trio.open_unix_socket(path), peer=f"unix:{path}")
        except (OSError, ValueError) as error:
            raise ConnectFailed(path, _reason(error)) from error
    raise ConnectFailed(path, f"no success within {limits.handshake:g} s")


def _reason(error: Exception) -> str:
    """The system's words, without the addresses that Trio adds."""
    if isinstance(error.__cause__, BaseExceptionGroup):
        return "; ".join(sorted({_reason(inner) for inner in error.__cause__.exceptions if isinstance(inner, OSError)}))
    if isinstance(error.__cause__, OSError):
        return _reason(error.__cause__)
    number = getattr(error, "errno", None) or 0
    return os.strerror(number) if number > 0 else getattr(error, "strerror", None) or str(error)
