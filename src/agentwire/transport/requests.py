"""An HTTP request's head as plain data, and the errors it is answered with.

Nothing here reads or writes. Header bytes become text as Latin-1, which loses nothing and cannot fail; whoever
passes one on to a stricter library asks for ASCII first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import parse_qsl, unquote

import attrs
import msgspec

from agentwire.protocol.errors import RequestError

__all__ = ["Fields", "Request", "error_body"]


class Fields(Mapping[str, str]):
    """Names with one or more values each, such as headers (names in lower case) or a query.

    Looking a name up gives its first value; `all` gives every one, and `tokens` the elements of a list header.
    """

    __slots__ = ("_values",)

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in pairs:
            self._values.setdefault(name, []).append(value)

    def __getitem__(self, name: str) -> str:
        return self._values[name][0]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Fields({list(self.pairs())!r})"

    def pairs(self) -> Iterator[tuple[str, str]]:
        """Every name and value, repeated names together."""
        return ((name, value) for name, values in self._values.items() for value in values)

    def all(self, name: str) -> tuple[str, ...]:
        """All values of a name, in order; none if it is absent."""
        return tuple(self._values.get(name, ()))

    def tokens(self, name: str) -> tuple[str, ...]:
        """The elements of a comma-separated header, in lower case, over all its lines (RFC 9110, section 5.6.1)."""
        elements = (element.strip().lower() for value in self.all(name) for element in value.split(","))
        return tuple(element for element in elements if element)


@attrs.frozen
class Request:
    """The head of one HTTP request.

    Attributes:
        method: as sent, such as ``POST``.
        target: as sent, such as ``/v1/responses?stream=true``.
        path: the target's path, percent-decoded.
        query: the target's query.
        headers: names in lower case.
        http_version: ``1.0`` or ``1.1``.
    """

    method: str
    target: str
    path: str
    query: Fields
    headers: Fields
    http_version: str

    @classmethod
    def parse(
        cls, method: str, target: str, headers: Iterable[tuple[str, str]] = (), *, http_version: str = "1.1"
    ) -> Request:
        """Take a request line's parts apart; any target that is made of visible ASCII will do."""
        path, _, query = _origin_form(target).partition("?")
        pairs = parse_qsl(query, keep_blank_values=True)
        lowered = Fields((name.lower(), value) for name, value in headers)
        return cls(method, target, unquote(path), Fields(pairs), lowered, http_version)

    @property
    def origin_target(self) -> str:
        """The target without scheme and host, where a proxy's client sent them (RFC 9112, section 3.2.2)."""
        return _origin_form(self.target)

    @property
    def host(self) -> str | None:
        """Whom the client thinks it talks to: the target's host if it has one, or the ``Host`` header."""
        if (rest := _after_scheme(self.target)) is not None:
            return rest.partition("/")[0].partition("?")[0]
        return self.headers.get("host")


def error_body(error: RequestError) -> bytes:
    """The JSON body that tells of an error: ``{"error": {"type", "code", "message", "param"}}``."""
    return msgspec.json.encode({"error": error.body()})


def _after_scheme(target: str) -> str | None:
    scheme, found, rest = target.partition("://")
    return rest if found and scheme.lower() in ("http", "https", "ws", "wss") else None


def _origin_form(target: str) -> str:
    rest = _after_scheme(target)
    if rest is None:
        return target
    start = min((index for index in (rest.find("/"), rest.find("?")) if index >= 0), default=len(rest))
    origin = rest[start:]
    return origin if origin.startswith("/") else f"/{origin}"
