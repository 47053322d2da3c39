"""Which handler answers a request: a table of methods and paths, and nothing that waits.

A path that nobody answers is a 404, a method that a path does not have a 405 that names those it has.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final

import attrs

from agentwire.server.refusals import not_found, wrong_method
from agentwire.transport.http11 import HttpConnection
from agentwire.transport.requests import Request

__all__ = ["Call", "Handler", "Route", "Router"]


@attrs.frozen(kw_only=True)
class Call:
    """One request that is about to be answered.

    Attributes:
        connection: whence it came.
        request: its head.
        principal: who asks.
        request_id: under which the log has it.
        names: what stands in its path where the route has a name in braces.
    """

    connection: HttpConnection
    request: Request
    principal: str
    request_id: str
    names: Mapping[str, str]

    @property
    def response_id(self) -> str:
        """The response that its path names."""
        return self.names["id"]


Handler = Callable[[Call], Awaitable[None]]
"""Answers a request; what it raises is answered by the connection's loop."""


@attrs.frozen
class Route:
    """One row of the table.

    Attributes:
        method: ``GET`` answers ``HEAD`` too.
        path: a name in braces stands for any one segment; ``{name*}`` for whatever follows.
        handler: who answers.
        closed: refused while the server drains.
        header: only for requests that have this one; None for every request.
    """

    method: str
    path: str
    handler: Handler
    closed: bool = False
    header: str | None = None
    _pattern: re.Pattern[str] = attrs.field(init=False, repr=False)

    @_pattern.default
    def _compile(self) -> re.Pattern[str]:
        return re.compile(_NAME.sub(_named, self.path))

    def match(self, path: str) -> Mapping[str, str] | None:
        """What stands in the path for the names of this route; None if it is another path."""
        found = self._pattern.fullmatch(path)
        return found.groupdict() if found is not None else None


_NAME: Final = re.compile(r"\{(\w+)(\*?)\}")


def _named(name: re.Match[str]) -> str:
    return f"(?P<{name[1]}>{'.+' if name[2] else '[^/]+'})"


class Router:
    """The table.

    Args:
        routes: where two match, the first one answers.
        aliases: beginnings of paths, and what they stand for.
    """

    def __init__(self, routes: Iterable[Route], aliases: Mapping[str, str]) -> None:
        self._routes = tuple(routes)
        self._aliases = aliases

    def find(self, request: Request) -> tuple[Route, Mapping[str, str]]:
        """The route of a request, and the names in its path.

        Raises:
            RequestError: 404 or 405.
        """
        path = self._plain(request.path.rstrip("/"))
        method = "GET" if request.method == "HEAD" else request.method
        found = [(route, names) for route in self._routes if (names := route.match(path)) is not None]
        for route, names in found:
            if route.method == method and (route.header is None or route.header in request.headers):
                return route, names
        if found:
            raise wrong_method(request.method, ", ".join(sorted({route.method for route, _ in found})))
        raise not_found(request.path)

    def _plain(self, path: str) -> str:
        for alias, meant in self._aliases.items():
            if path == alias or path.startswith(f"{alias}/"):
                return meant + path[len(alias) :]
        return path
