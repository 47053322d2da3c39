"""A connection that takes only so much: a server that floods fails the case, and does not fill the memory."""

from __future__ import annotations

from typing import Final

import trio

from agentwire.protocol.errors import RemoteProtocolError

__all__ = ["MOST", "MeteredStream"]

MOST: Final = 64 * 2**20
"""Bytes that are read from one connection; no case has to read nearly as many."""


class MeteredStream(trio.abc.Stream):
    """A stream that is read up to a bound.

    Args:
        stream: closed with this one.
        most: bytes that may be read.
    """

    def __init__(self, stream: trio.abc.Stream, most: int = MOST) -> None:
        self._stream = stream
        self._most = most
        self._taken = 0

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """The next bytes.

        Raises:
            RemoteProtocolError: the bound is reached.
        """
        data = await self._stream.receive_some(max_bytes)
        self._taken += len(data)
        if self._taken > self._most:
            raise RemoteProtocolError(f"the server sent more than {self._most // 2**20} MiB on one connection")
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send, as the stream does."""
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait, as the stream does."""
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """Close the stream."""
        await self._stream.aclose()
