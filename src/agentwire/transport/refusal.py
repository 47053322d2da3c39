"""The answer to an opening handshake, read by a client: a 101, or a refusal that is kept to be shown.

A refusal is read whole where its length is known, and otherwise as far as it comes; the WebSocket library only ever
sees the head of a 101. Sizes are bounded: an answer that is too large is taken as far as it was read.
"""

from __future__ import annotations

import re
from typing import Final

import attrs

__all__ = ["Answer", "AnswerReader"]

_HEAD_END: Final = b"\r\n\r\n"
_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9])(?: |\r|$)")
_LAST_CHUNK: Final = b"0\r\n\r\n"
_INTERIM: Final = frozenset((100, 102, 103))
_BODILESS: Final = frozenset((204, 304))


@attrs.frozen
class Answer:
    """What a server said.

    Attributes:
        status: the HTTP status; 0 if it did not speak HTTP.
        headers: names in lower case.
        body: as far as it came.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class AnswerReader:
    """Reads an answer as its bytes come.

    Args:
        limit: the most bytes that are kept of it.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._data = bytearray()

    def feed(self, data: bytes) -> bool:
        """Take bytes; True once the answer is all here (a 101 ends with its head)."""
        self._data += data
        self._skip_interim()
        answer = self.answer
        if answer is None:
            return len(self._data) >= self._limit
        return answer.status in (0, 101) or len(self._data) >= self._limit or _is_whole(answer)

    @property
    def answer(self) -> Answer | None:
        """What is known so far; None before the end of its head."""
        end = self._data.find(_HEAD_END)
        if end < 0:
            return None if len(self._data) < self._limit else Answer(0, (), bytes(self._data))
        line, *fields = bytes(self._data[:end]).split(b"\r\n")
        match = _STATUS.match(line)
        headers = tuple(_header(field) for field in fields)
        return Answer(int(match[1]) if match else 0, headers, bytes(self._data[end + len(_HEAD_END) :]))

    @property
    def accepted(self) -> tuple[bytes, bytes] | None:
        """The head of a 101 and what came after it; None for any other answer."""
        answer = self.answer
        if answer is None or answer.status != 101:
            return None
        end = self._data.find(_HEAD_END) + len(_HEAD_END)
        return bytes(self._data[:end]), bytes(self._data[end:])

    def _skip_interim(self) -> None:
        while (answer := self.answer) is not None and answer.status in _INTERIM:
            del self._data[: self._data.find(_HEAD_END) + len(_HEAD_END)]


def _header(field: bytes) -> tuple[str, str]:
    name, _, value = field.decode("latin-1").partition(":")
    return name.strip().lower(), value.strip()


def _is_whole(answer: Answer) -> bool:
    if answer.status in _BODILESS:
        return True
    headers = dict(answer.headers)
    if "chunked" in headers.get("transfer-encoding", "").lower():
        return answer.body.endswith(_LAST_CHUNK)
    length = headers.get("content-length", "")
    return length.isascii() and length.isdigit() and len(answer.body) >= int(length)
