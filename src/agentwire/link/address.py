"""Where a server is: the address forms that people have, as host, target and kind of socket.

Base URLs as SDKs take them and WebSocket URLs mean the same place. A key never comes from a URL, and a key from the
environment is only given to whom it is for, over a connection that nobody else reads.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Final
from urllib.parse import SplitResult, urlsplit

import attrs

from agentwire.protocol.errors import LocalProtocolError
from agentwire.protocol.limits import Limits
from agentwire.transport.dial import dial_tcp, dial_unix
from agentwire.transport.proxy import Proxy
from agentwire.transport.streams import NetworkStream

__all__ = ["Address", "find_key"]

_PORTS: Final[Mapping[str, int]] = {"ws": 80, "http": 80, "wss": 443, "https": 443}
_SECURE: Final = frozenset(("wss", "https"))
_UNIX: Final = frozenset(("ws+unix", "http+unix"))
_RESOURCE: Final = "/responses"
_DEFAULT_BASE: Final = "/v1"
_OPENAI: Final = ("openai.com", "openai.azure.com")
_LOCAL: Final = frozenset(("localhost", "127.0.0.1", "::1"))


@attrs.frozen(kw_only=True)
class Address:
    """A server's address; made by `Address.parse`.

    Attributes:
        host: name or IP address; empty for a Unix socket.
        port: TCP port; 0 for a Unix socket.
        path: of the Unix socket; empty for TCP.
        target: path and query of the request.
        secure: whether it is TLS.
    """

    host: str = ""
    port: int = 0
    path: str = ""
    target: str
    secure: bool = False

    @classmethod
    def parse(cls, url: str) -> Address:
        """Read an address.

        ``ws://``, ``wss://``, ``http://`` and ``https://`` URLs are bases, such as ``http://127.0.0.1:8000/v1``, or
        the resource itself if their path ends in ``/responses``; without a path, ``/v1/responses`` is asked for.
        A Unix socket is ``ws+unix:///run/agentwire.sock``, with ``:/path`` behind it where the path is another one.

        Raises:
            LocalProtocolError: it is none of these, or it holds a password.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise LocalProtocolError(f"{url!r} is not an address: {error}") from None
        if parts.username is not None or parts.password is not None:
            raise LocalProtocolError("an address holds no user and no password; give the API key as key=...")
        if parts.scheme in _UNIX:
            return cls._unix(url, parts)
        if parts.scheme not in _PORTS or not parts.hostname:
            known = ", ".join(f"{scheme}://" for scheme in (*_PORTS, "ws+unix"))
            raise LocalProtocolError(f"{url!r} is not the address of a server; it must begin with one of {known}")
        port = _PORTS[parts.scheme] if port is None else port
        target = _target(parts.path, parts.query)
        return cls(host=parts.hostname, port=port, target=target, secure=parts.scheme in _SECURE)

    @classmethod
    def _unix(cls, url: str, parts: SplitResult) -> Address:
        path, _, resource = parts.path.partition(":")
        if parts.netloc or not path.strip("/"):
            raise LocalProtocolError(f"{url!r} is no Unix socket; write ws+unix:///absolute/path.sock")
        return cls(path=path, target=_target(resource, parts.query))

    @property
    def authority(self) -> str:
        """The ``Host`` header: IPv6 in brackets, and the port where it is not the scheme's own."""
        if self.path:
            return "localhost"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"

    def __str__(self) -> str:
        if self.path:
            return f"ws+unix://{self.path}:{self.target}"
        return f"{'wss' if self.secure else 'ws'}://{self.authority}{self.target}"

    @property
    def scheme(self) -> str:
        """The scheme under which HTTP, and whoever lists proxies, knows it."""
        return "https" if self.secure else "http"

    @property
    def base_url(self) -> str:
        """The URL below which the same server is asked over plain HTTP; of a Unix socket with a host of no meaning."""
        path, mark, query = self.target.partition("?")
        return f"{self.scheme}://{self.authority}{path.removesuffix(_RESOURCE)}{mark}{query}"

    async def dial(
        self, *, tls: ssl.SSLContext | None = None, proxy: Proxy | None = None, limits: Limits
    ) -> NetworkStream:
        """Connect; the caller closes the stream.

        Args:
            tls: for a secure address, instead of the system's default trust.
            proxy: tunnels the connection, unless it is a Unix socket.
            limits: the deadline is ``limits.handshake``.

        Raises:
            ConnectFailed: no connection could be made.
        """
        if self.path:
            return await dial_unix(self.path, limits=limits)
        context = tls or ssl.create_default_context() if self.secure else None
        return await dial_tcp(self.host, self.port, tls=context, proxy=proxy, limits=limits)


def _target(path: str, query: str) -> str:
    path = path.rstrip("/")
    if not path.endswith(_RESOURCE):
        path = (path or _DEFAULT_BASE) + _RESOURCE
    target = f"{path}?{query}" if query else path
    if any(not "!" <= letter <= "~" for letter in target):
        raise LocalProtocolError(f"{target!r} cannot be asked for: blanks and letters beyond ASCII are percent-encoded")
    return target


def find_key(address: Address, key: str | None, environment: Mapping[str, str]) -> str | None:
    """The API key to send: the one given, or one of the environment's if it may be sent there.

    White space at its ends is no part of it.

    ``AGENTWIRE_API_KEY`` goes to any server over TLS, and on this machine; ``OPENAI_API_KEY`` only to OpenAI's own
    hosts over TLS.

    Raises:
        LocalProtocolError: the key cannot be a header's value.
    """
    local = bool(address.path) or address.host in _LOCAL
    if key is None and (address.secure or local):
        key = environment.get("AGENTWIRE_API_KEY")
    if key is None and address.secure and _belongs_to(address.host, _OPENAI):
        key = environment.get("OPENAI_API_KEY")
    key = key.strip() if key is not None else None  # a file's or a secret's line has an end
    if key and not (key.isascii() and key.isprintable() and " " not in key):
        raise LocalProtocolError("the API key must be visible ASCII characters, without spaces")
    return key or None


def _belongs_to(host: str, domains: tuple[str, ...]) -> bool:
    return any(host == domain or host.endswith(f".{domain}") for domain in domains)
