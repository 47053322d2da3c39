"""Makes WebSocket frames of either side, legal or not, for peers that break rules on purpose.

Nothing here is judged: every bit of a header is what the caller says.
"""

from __future__ import annotations

from agentwire.transport.frames import unmask

__all__ = ["raw_frame"]


def raw_frame(opcode: int, payload: bytes, *, final: bool = True, reserved: int = 0, key: bytes | None = None) -> bytes:
    """One frame (RFC 6455, section 5.2).

    Args:
        opcode: four bits.
        payload: before it is masked.
        final: whether it ends its message.
        reserved: the reserved bits, where they stand: 0x40, 0x20 and 0x10.
        key: masks the payload; None leaves it as it is, and says so.
    """
    first, flag = (0x80 if final else 0) | reserved | opcode, 0 if key is None else 0x80
    length = len(payload)
    if length < 126:
        head = bytes((first, flag | length))
    elif length < 65536:
        head = bytes((first, flag | 126)) + length.to_bytes(2, "big")
    else:
        head = bytes((first, flag | 127)) + length.to_bytes(8, "big")
    return head + payload if key is None else head + key + unmask(payload, key)
