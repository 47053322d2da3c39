"""Binds listening sockets: several addresses on one port or none at all, Unix sockets for their owner alone.

Every failure is an `OSError` that says where nothing can listen, and why; nothing is left open or half done then.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import trio

__all__ = ["close_all", "file_identity", "open_tcp", "open_unix"]

_NOT_HERE = frozenset((errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT))
_PORT_TRIES = 16  # a port that is free for one family may be taken for the other

Address = tuple[int, tuple[Any, ...]]


async def open_tcp(host: str, port: int, backlog: int) -> list[socket.socket]:
    """Listening sockets for every address that ``host`` has here, IPv4 first, on one port; 0 is any free one.

    Raises:
        OSError: there is no such address, or the port is taken.
    """
    where = f"{host}:{port}"
    try:
        found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise OSError(error.errno, f"cannot listen on {where}: {error.strerror}") from error
    once: dict[Address, None] = dict.fromkeys((family, address) for family, _, _, _, address in found)
    addresses = sorted(once, key=lambda one: one[0])
    tries = 1 if port else _PORT_TRIES
    while True:  # noqa: ASYNC913 - it waits for nothing, and tries a few times at most
        try:
            return _bind_all(addresses, port, backlog)
        except OSError as error:
            tries -= 1
            if not tries or error.errno != errno.EADDRINUSE:
                raise OSError(error.errno, f"cannot listen on {where}: {error.strerror}") from error


def _bind_all(addresses: Sequence[Address], port: int, backlog: int) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    missing: OSError | None = None
    try:
        for family, address in addresses:
            try:
                sock = _bind(family, (address[0], port, *address[2:]), backlog)
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    raise
                missing = error  # such as ::1 where there is no IPv6: the other addresses will do
                continue
            sockets.append(sock)
            port = sock.getsockname()[1]
    except BaseException:
        close_all(sockets)
        raise
    if not sockets:
        raise missing or OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
    return sockets


def _bind(family: int, address: tuple[Any, ...], backlog: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return sock


def open_unix(path: Path, backlog: int) -> socket.socket:
    """A listening Unix socket; its mode is set before anybody can connect, which is when it listens.

    Raises:
        OSError: a server that lives, or another kind of file, is there.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    ours = None
    try:
        _remove_stale(path)
        sock.bind(str(path))
        ours = path
        path.chmod(stat.S_IRUSR | stat.S_IWUSR)
        sock.listen(backlog)
    except OSError as error:
        sock.close()
        if ours is not None:
            ours.unlink(missing_ok=True)
        raise OSError(error.errno, f"cannot listen on {path}: {error.strerror or error}") from error
    return sock


def _remove_stale(path: Path) -> None:
    """Remove a socket file that nobody listens on any more.

    Raises:
        OSError: something else is there, or a server that lives.
    """
    if file_identity(path) is None:
        return
    if not stat.S_ISSOCK(path.lstat().st_mode):
        raise FileExistsError(errno.EEXIST, "the file is there and is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        with suppress(BlockingIOError):
            try:
                probe.connect(str(path))
            except ConnectionRefusedError:
                path.unlink(missing_ok=True)
                return
    raise OSError(errno.EADDRINUSE, "another server is listening there")


def file_identity(path: Path) -> tuple[int, int] | None:
    """What tells a file from another one of the same name; None if there is none."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def close_all(sockets: Sequence[socket.socket]) -> None:
    """Close sockets that nobody has waited on yet."""
    for sock in sockets:
        sock.close()
