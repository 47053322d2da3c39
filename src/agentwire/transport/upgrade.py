"""Whether a request may become a WebSocket, and whether it comes from where it should; judged as plain HTTP.

All of it is decided before any WebSocket library sees a byte, and what such a library then reads is a request head made
here: nothing that a peer sent can fail inside it. A browser is refused unless it was allowed by name, because a page
from anywhere can make it connect to this machine.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Collection
from ipaddress import ip_address

from agentwire.protocol.errors import RequestError
from agentwire.transport.requests import Request

__all__ = ["check_host", "check_origin", "default_hosts", "judge_upgrade", "upgrade_required"]

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_PASSED_ON = ("upgrade", "connection", "sec-websocket-key", "sec-websocket-version", "sec-websocket-protocol")
_HOST = re.compile(r"(?:\[(?P<address>[^\[\]]+)\]|(?P<name>[^:\[\]]*))(?::[0-9]*)?")
_EVERYWHERE = frozenset(("0.0.0.0", "::"))


def judge_upgrade(request: Request, early: bytes = b"") -> bytes:
    """Judge an opening handshake (RFC 6455, section 4.2.1).

    Args:
        request: a request that asks for ``Upgrade: websocket``.
        early: what the peer sent after it; a client has to wait for the answer.

    Returns:
        A clean request head, for the library that completes the handshake. Its ``Host`` is a placeholder, and of the
        other headers it has only those of the handshake; extensions are left out, so none is agreed upon.

    Raises:
        RequestError: 426 if the version is not 13 or no upgrade is asked for, otherwise 400.
    """
    headers = request.headers
    for name in _PASSED_ON:
        if not all(value.isascii() for value in headers.all(name)):
            raise _invalid("has bytes that are not ASCII", name)
    if "websocket" not in headers.tokens("upgrade"):
        raise upgrade_required()
    if request.method != "GET" or request.http_version != "1.1":
        raise _invalid("must be a GET of HTTP/1.1", "upgrade")
    if "upgrade" not in headers.tokens("connection"):
        raise _invalid("must name the upgrade", "connection")
    if headers.all("sec-websocket-version") != ("13",):
        raise upgrade_required("this server speaks version 13 of the WebSocket protocol")
    if early or "transfer-encoding" in headers or headers.get("content-length", "0") != "0":
        raise _invalid("must not be followed by anything before the answer", "upgrade")
    return _clean_head(request, _key(request), _subprotocols(request))


def upgrade_required(message: str = "ask for a WebSocket upgrade here, or send a POST") -> RequestError:
    """The 426 for a GET that is no WebSocket upgrade, or one of another version (RFC 9110, section 15.5.22)."""
    return RequestError(
        426, "upgrade_required", message, headers={"upgrade": "websocket", "sec-websocket-version": "13"}
    )


def _key(request: Request) -> str:
    keys = request.headers.all("sec-websocket-key")
    try:
        if len(keys) == 1 and len(base64.b64decode(keys[0], validate=True)) == 16:
            return keys[0]
    except binascii.Error:
        pass
    raise _invalid("must be 16 bytes in base64, once", "sec-websocket-key")


def _subprotocols(request: Request) -> tuple[str, ...]:
    offered = [name.strip() for value in request.headers.all("sec-websocket-protocol") for name in value.split(",")]
    if len(set(offered)) != len(offered) or not all(_TOKEN.fullmatch(name) for name in offered):
        raise _invalid("must be a list of different tokens", "sec-websocket-protocol")
    return tuple(offered)


def _clean_head(request: Request, key: str, subprotocols: tuple[str, ...]) -> bytes:
    lines = [
        f"GET {request.origin_target} HTTP/1.1",
        "Host: localhost",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key}",
        "Sec-WebSocket-Version: 13",
    ]
    if subprotocols:
        lines.append(f"Sec-WebSocket-Protocol: {', '.join(subprotocols)}")
    return "\r\n".join((*lines, "", "")).encode("ascii")


def _invalid(what: str, header: str) -> RequestError:
    return RequestError(400, "invalid_upgrade", f"this WebSocket upgrade is not valid: {header} {what}", param=header)


def default_hosts(bound: Collection[str], allowed: Collection[str] = ()) -> frozenset[str]:
    """The hosts for `check_host`: this machine's own names, where the server listens, and what the user allows.

    Args:
        bound: addresses that the server listens on; none for a Unix socket alone, which any name may reach.
        allowed: host names without a port; ``*`` for every host.
    """
    if not bound:
        return frozenset("*")
    return frozenset(_bare(host) for host in ("localhost", "127.0.0.1", "::1", *bound, *allowed))


def check_host(request: Request, allowed_hosts: Collection[str]) -> None:
    """Refuse a host that the server does not go by: somebody's DNS name may have been pointed at this machine.

    If the server listens on every address, any address is right too: only names can be pointed elsewhere. HTTP/1.0
    without a host passes, as no browser sends that.

    Args:
        allowed_hosts: from `default_hosts`.

    Raises:
        RequestError: 403.
    """
    host = request.host
    if host is None or "*" in allowed_hosts:
        return
    name = _without_port(host)
    if name in allowed_hosts or (_is_address(name) and not _EVERYWHERE.isdisjoint(allowed_hosts)):
        return
    raise RequestError(
        403,
        "host_not_allowed",
        f"this server does not go by the name {name!r}; add it to the allowed hosts (--allowed-host)",
        param="host",
    )


def check_origin(request: Request, allowed_origins: Collection[str] = ()) -> None:
    """Refuse requests that a browser makes for a page, unless that page's origin is allowed; programs send none.

    Args:
        allowed_origins: such as ``https://example.com``; ``*`` for every origin.

    Raises:
        RequestError: 403.
    """
    if "*" in allowed_origins:
        return
    allowed = {origin.lower() for origin in allowed_origins}
    for origin in request.headers.all("origin"):
        if origin.lower() not in allowed:
            message = f"browsers may not use this server from {origin!r}"
            message += "; add it to the allowed origins (--allowed-origin)"
            raise RequestError(403, "origin_not_allowed", message, param="origin")


def _without_port(host: str) -> str:
    """A ``Host`` header's name or address, in lower case; an address without brackets keeps all its colons."""
    host = host.strip().lower()
    parts = _HOST.fullmatch(host)
    return (parts["address"] or parts["name"].removesuffix(".")) if parts else host


def _bare(host: str) -> str:
    """A configured name or address as `_without_port` gives it."""
    return host.lower() if _is_address(host) else _without_port(host)


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
