"""What a message from a peer may cost to parse: how many values it has and how deep they nest.

Both are counted outside of strings, slice by slice, before anything is decoded. The work between two steps is bounded
by the slice, so that a caller with an event loop can breathe in between.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import Final

import attrs

from agentwire.protocol.errors import RequestError
from agentwire.protocol.limits import Limits

__all__ = ["check_cost", "cost_steps"]

SLICE: Final = 256 * 1024
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_STEP: Final = tuple(1 if byte in b"[{" else -1 for byte in range(256))


def check_cost(message: bytes, limits: Limits) -> None:
    """Check a message in one go.

    Raises:
        RequestError: 400 ``request_too_complex``, naming the limit.
    """
    for _ in cost_steps(message, limits):
        pass


def cost_steps(message: bytes, limits: Limits) -> Iterator[None]:
    """Check a message in steps of a few milliseconds; a malformed one may pass, for the parser to refuse.

    Raises:
        RequestError: 400 ``request_too_complex``, naming the limit.
    """
    if len(message) <= limits.json_values and message.count(b"{") + message.count(b"[") <= limits.json_depth:
        return
    scan = _Scan()
    for start in range(0, len(message), SLICE):
        outside = scan.strip_strings(message[start : start + SLICE])
        scan.count(outside)
        if scan.values > limits.json_values:
            raise _too_complex(f"more than {limits.json_values} objects, arrays and members")
        scan.measure(outside)
        if scan.deepest > limits.json_depth:
            raise _too_complex(f"more than {limits.json_depth} levels of nesting")
        yield


@attrs.define
class _Scan:
    """Counts over slices; it remembers whether it is inside a string, and half an escape."""

    values: int = 0
    depth: int = 0
    deepest: int = 0
    in_string: bool = False
    half: bytes = b""

    def strip_strings(self, piece: bytes) -> bytes:
        """What stands outside of strings in the next slice."""
        piece, self.half = self.half + piece, b""
        if b"\\" in piece:
            if (len(piece) - len(piece.rstrip(b"\\"))) % 2:
                piece, self.half = piece[:-1], b"\\"
            piece = piece.replace(b"\\\\", b"").replace(b'\\"', b"")
        parts = piece.split(b'"')
        outside = b"".join(parts[self.in_string :: 2])
        self.in_string ^= len(parts) % 2 == 0
        return outside

    def count(self, outside: bytes) -> None:
        """Every value but the first in its container has a comma before it."""
        self.values += outside.count(b",") + outside.count(b"{") + outside.count(b"[")

    def measure(self, outside: bytes) -> None:
        """How deep it goes."""
        brackets = outside.translate(None, _NO_BRACKETS)
        if brackets:
            depths = list(accumulate(map(_STEP.__getitem__, brackets), initial=self.depth))
            self.deepest = max(self.deepest, max(depths))  # noqa: PLW3301 - there may be a quarter of a million
            self.depth = depths[-1]


def _too_complex(what: str) -> RequestError:
    return RequestError(400, "request_too_complex", f"The message has {what}; send less at once.")
