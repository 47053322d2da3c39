"""What a scripted model server says to one request: bytes, pauses and ends, as data.

An event is a chunk of its own and a chunk is one write, so that a fault between two of them is between two events.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Literal

import attrs

__all__ = ["End", "Flood", "Pause", "Reply"]

End = Literal["end", "stall", "close", "reset"]
"""How a reply stops: as it should; in silence until the client goes; with the connection's end, of either kind."""

_EVENTS: Final = "text/event-stream"
_LAST_CHUNK: Final = b"0\r\n\r\n"


@attrs.frozen
class Pause:
    """Nothing is sent for so many seconds."""

    seconds: float


@attrs.frozen
class Flood:
    """These bytes, over and over, as fast as the client takes them, until so many have been sent."""

    data: bytes
    total: float = math.inf


@attrs.frozen
class Reply:
    """What is said to one request; see the class methods.

    Attributes:
        steps: raw bytes of the connection, and what happens between them.
        end: how it stops.
        refused: nobody is there: no connection is made, and one that is kept ends without a byte.
        later: steps after these, which are made while they are said; they serve for one request.
    """

    steps: tuple[bytes | Pause | Flood, ...] = ()
    end: End = "end"
    refused: bool = False
    later: Iterable[bytes | Pause | Flood] = ()

    @classmethod
    def stream(
        cls,
        *payloads: Any,
        done: bool = True,
        end: End = "end",
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """An event stream, each part of it a chunk of its own.

        Args:
            payloads: of the events, as JSON; a string is a payload as it is, bytes are raw bytes of the stream, and a
                `Pause` or `Flood` (of raw bytes) happens.
            done: whether ``[DONE]`` follows, if it ends as it should.
            end: how it stops; any other end than ``"end"`` is in the middle of the body.
            status: of the response.
            headers: more of them; ``content-type`` can be another one.
        """
        given = {"content-type": _EVENTS, "transfer-encoding": "chunked", **(headers or {})}
        steps = [_head(status, given), *(_step(payload) for payload in payloads)]
        if end == "end":
            steps += [_chunk(b"data: [DONE]\n\n")] * done + [_LAST_CHUNK]
        return cls(tuple(steps), end)

    @classmethod
    def lazily(cls, payloads: Iterable[Any], *, before: float = 0.0, done: bool = True, end: End = "end") -> Reply:
        """An event stream, as `stream` makes it, whose parts are made while they are said, so that it may be long.

        Args:
            payloads: as for `stream`; what they raise ends the server.
            before: seconds of silence before the head of the response.
            done: whether ``[DONE]`` follows.
            end: how it stops.
        """
        return cls((), end, later=_lazy_steps(payloads, before, done, end))

    @classmethod
    def answer(cls, status: int = 200, body: Any = "", headers: Mapping[str, str] | None = None) -> Reply:
        """A whole response, such as an error.

        Args:
            status: of the response.
            body: JSON, or text or bytes as they are.
            headers: more of them.
        """
        raw = body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()
        given = {"content-type": "application/json", "content-length": str(len(raw)), **(headers or {})}
        return cls((_head(status, given) + raw,))

    @classmethod
    def raw(cls, *steps: bytes | Pause | Flood, end: End = "close") -> Reply:
        """Exactly these bytes of the connection."""
        return cls(steps, end)

    @classmethod
    def refusal(cls) -> Reply:
        """Nobody is there, for one request."""
        return cls(refused=True)


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} Scripted", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode("latin-1")


def _lazy_steps(payloads: Iterable[Any], before: float, done: bool, end: End) -> Iterator[bytes | Pause | Flood]:
    if before:
        yield Pause(before)
    yield _head(200, {"content-type": _EVENTS, "transfer-encoding": "chunked"})
    yield from (_step(payload) for payload in payloads)
    if end == "end":
        yield from [_chunk(b"data: [DONE]\n\n")] * done
        yield _LAST_CHUNK


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _step(payload: Any) -> bytes | Pause | Flood:
    if isinstance(payload, Pause):
        return payload
    if isinstance(payload, Flood):
        return attrs.evolve(payload, data=_chunk(payload.data))
    if isinstance(payload, bytes):
        return _chunk(payload)
    return _chunk(b"data: %b\n\n" % (payload if isinstance(payload, str) else json.dumps(payload)).encode())
