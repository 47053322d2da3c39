"""The URL below which a server's resources are, in the parts that a client needs.

What a URL can hide (a name and a password, a query) is kept apart from what may be shown.
"""

from __future__ import annotations

import base64
from typing import Final
from urllib.parse import quote, unquote, urlsplit

import attrs

__all__ = ["BaseUrl"]

_PORTS: Final = {"http": 80, "https": 443}
_AS_IT_IS: Final = "/?#[]@!$&'()*+,;=:%~"


@attrs.frozen(kw_only=True)
class BaseUrl:
    """An ``http`` or ``https`` URL; made by `BaseUrl.parse`.

    Attributes:
        scheme: ``http`` or ``https``.
        host: name or address, in ASCII, without brackets.
        port: the scheme's own if the URL names none.
        path: without a slash at its end.
        query: goes with every request, as far as it has none of its own.
        credentials: the value of the ``authorization`` header that a name and password in the URL stand for.
    """

    scheme: str
    host: str
    port: int
    path: str = ""
    query: str = attrs.field(default="", repr=False)
    credentials: str = attrs.field(default="", repr=False)

    @classmethod
    def parse(cls, url: str, *, name: str = "base_url") -> BaseUrl:
        """Read a URL.

        Args:
            url: what it is.
            name: what the caller calls it.

        Raises:
            ValueError: it is none of HTTP.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
            host = host if host.isascii() else host.encode("idna").decode()
        except ValueError as error:
            raise ValueError(f"{name} is no URL: {error}") from error
        if parts.scheme not in _PORTS or not host:
            raise ValueError(f"{name} must begin with http:// or https:// and a host, not {_shown(url)!r}")
        return cls(
            scheme=parts.scheme,
            host=host,
            port=_PORTS[parts.scheme] if port is None else port,
            path=quote(parts.path.rstrip("/"), safe=_AS_IT_IS),
            query=quote(parts.query, safe=_AS_IT_IS),
            credentials=_basic(parts.username, parts.password),
        )

    @property
    def authority(self) -> str:
        """Host, and the port unless it is the usual one: what the ``host`` header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """Scheme and authority, for messages."""
        return f"{self.scheme}://{self.authority}"

    def target(self, path: str) -> str:
        """The target of a request for what is at ``path`` below this URL."""
        target = f"{self.path}/{quote(path.lstrip('/'), safe=_AS_IT_IS)}"
        if not self.query:
            return target
        return f"{target}{'&' if '?' in target else '?'}{self.query}"


def _basic(username: str | None, password: str | None) -> str:
    if username is None:
        return ""
    pair = f"{unquote(username)}:{unquote(password or '')}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


def _shown(url: str) -> str:
    """Whatever it is, without what may be a password or a key: all before an ``@``, the query and the fragment."""
    before, at, rest = url.partition("#")[0].partition("?")[0].rpartition("@")
    scheme, slashes, _ = before.partition("://")
    return f"{scheme}{slashes}{rest}" if at and slashes else rest
