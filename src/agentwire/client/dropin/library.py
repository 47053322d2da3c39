"""The HTTP library that an SDK is built on, and what of it a client over the wire is made of.

There are two with one interface: httpx2, and httpx 0.28, from which it came. Each is imported by one module, and only
when it is asked for.
"""

from __future__ import annotations

import importlib
import ssl
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final, Literal

import attrs

from agentwire.client.choices import check_choice
from agentwire.client.dropin.wire import TimedOut
from agentwire.link import RequestLost
from agentwire.protocol.errors import AgentwireError, ConnectionEnded, RemoteProtocolError

__all__ = ["Library", "LibraryName", "find_library"]

LibraryName = Literal["httpx2", "httpx"]

_MODULES: Final[Mapping[LibraryName, str]] = {
    "httpx2": "agentwire.client.dropin.with_httpx2",
    "httpx": "agentwire.client.dropin.with_httpx",
}
_PHASES: Final[Mapping[str, str]] = {"connect": "ConnectTimeout", "pool": "PoolTimeout", "read": "ReadTimeout"}
_OF_THE_TRANSPORT: Final = frozenset(("verify", "cert", "http1", "http2", "limits", "mounts", "proxy", "transport"))
"""Options of a client that say how its requests travel."""


@attrs.frozen
class Library:
    """One of the two.

    Attributes:
        module: the library itself.
    """

    module: Any

    def split(self, options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Options of a client: those of the client itself, and those of its way over HTTP."""
        inner = {name: value for name, value in options.items() if name in _OF_THE_TRANSPORT}
        outer = {name: value for name, value in options.items() if name not in inner}
        inner["trust_env"] = outer.get("trust_env", True)
        inner.setdefault("limits", self.module.Limits(max_connections=1000, max_keepalive_connections=100))
        return {"follow_redirects": True, **outer}, inner

    def tls(self, options: Mapping[str, Any]) -> ssl.SSLContext:
        """The trust that the library itself has for these options."""
        chosen = {name: options[name] for name in ("verify", "cert", "trust_env") if name in options}
        context: ssl.SSLContext = self.module.create_ssl_context(**chosen)
        return context

    def proxy(self, options: Mapping[str, Any]) -> str | None:
        """The proxy that the library would take for these options, as `agentwire.link.open_link` takes it."""
        given = options.get("proxy")
        if given is None:
            return "environment" if options.get("trust_env", True) else None
        proxy = given if isinstance(given, self.module.Proxy) else self.module.Proxy(given)
        user, password = proxy.auth or (None, None)
        return str(proxy.url if user is None else proxy.url.copy_with(username=user, password=password))

    def error(self, error: AgentwireError) -> Exception:
        """An error of the wire as the one that the library has for it, and that SDKs know."""
        name = "ConnectError"
        if isinstance(error, TimedOut):
            name = _PHASES[error.phase]
        elif isinstance(error, RequestLost):
            name = "ReadError"
        elif isinstance(error, RemoteProtocolError):
            name = "RemoteProtocolError"
        elif not isinstance(error, ConnectionEnded):
            name = "NetworkError"
        made: Exception = getattr(self.module, name)(str(error))
        return made


def find_library(name: LibraryName | None = None) -> Library:
    """The library of that name, or the one that fits the OpenAI SDK that is installed.

    openai 3 and later is built on httpx2, and takes clients of either; before that, it takes those of httpx alone.

    Raises:
        ImportError: it is not installed; the text says how to get it.
        LocalProtocolError: it is none of the two.
    """
    if name is not None:
        check_choice("library", name, LibraryName)
    wanted = name or ("httpx" if _old_sdk() else "httpx2")
    try:
        module = importlib.import_module(_MODULES[wanted]).library
    except ModuleNotFoundError as error:
        if error.name != wanted:
            raise
        package = "agentwire-trio[dropin]" if wanted == "httpx2" else "httpx"
        raise ImportError(f"the drop-in needs {wanted}: pip install '{package}'", name=wanted) from None
    return Library(module)


def _old_sdk() -> bool:
    """Whether the OpenAI SDK that is installed is one before version 3."""
    try:
        return int(version("openai").partition(".")[0]) < 3
    except (PackageNotFoundError, ValueError):
        return False
