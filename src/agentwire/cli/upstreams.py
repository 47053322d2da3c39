"""A model's server as an engine, by what it speaks: chat completions, the Responses API, or its WebSocket mode.

A ``ws`` address speaks the WebSocket mode; of any other the person who types says it, or the server is asked.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Collection, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Final, TypeAlias
from urllib.parse import urlsplit

import attrs

from agentwire.cli.failures import UserError
from agentwire.engines.probing import SPOKEN, Found, Spoken, probe, read_models
from agentwire.protocol.limits import Limits
from agentwire.runtime.contracts import Engine
from agentwire.transport.http_client import HttpClient

__all__ = [
    "UPSTREAM_KEY_VARIABLE",
    "UpstreamKind",
    "ask_upstream",
    "find_upstream",
    "list_models",
    "open_upstream_engine",
]

_log = logging.getLogger("agentwire.cli")

UpstreamKind: TypeAlias = Spoken

UPSTREAM_KEY_VARIABLE: Final = "AGENTWIRE_UPSTREAM_KEY"
"""The environment variable that holds the key for ``--upstream``."""


async def find_upstream(url: str, kind: UpstreamKind | None, *, key: str | None, limits: Limits) -> Found:
    """What a server speaks: as it was typed, or else as the server itself shows.

    One whose kind was typed is only asked where that is, and only if its address has no path. Whatever it answers, it
    speaks that; if it cannot answer yet, where such servers usually do.

    Raises:
        UserError: the address or the key is not possible.
    """
    typed = None if kind is None else Found(base_url=url, kind=kind, reachable=True)
    if typed is not None and (kind == "wire" or urlsplit(url).path.strip("/")):
        return typed
    try:
        found = await ask_upstream(url, kinds=tuple(SPOKEN) if kind is None else (kind,), key=key, limits=limits)
    except ValueError as error:
        raise UserError(f"--upstream: {error}") from error
    if found.refuses_key:
        _log.warning("%s; the key is to be in the environment's %s", found, UPSTREAM_KEY_VARIABLE)
    if typed is not None and found.kind is None and (found.reachable or found.unready):
        return attrs.evolve(typed, base_url=found.base_url if found.unready else url)
    return found


async def ask_upstream(
    url: str,
    *,
    kinds: Collection[UpstreamKind] = tuple(SPOKEN),
    key: str | None,
    headers: Mapping[str, str] | None = None,
    limits: Limits,
    tls: ssl.SSLContext | None = None,
    proxy: str | None = "environment",
) -> Found:
    """What a server shows that it speaks; see `probe`. One of a ``ws`` address is ``wire``, and not asked."""
    if "wire" in kinds and url.startswith(("ws:", "wss:", "ws+unix:")):
        return Found(base_url=url, kind="wire", reachable=True)
    return await probe(url, kinds=kinds, key=key, headers=headers, limits=limits, tls=tls, proxy=proxy)


def open_upstream_engine(
    url: str, kind: UpstreamKind, *, key: str | None, model: str | None, context_tokens: int | None, limits: Limits
) -> AbstractAsyncContextManager[Engine]:
    """Open the engine in front of a server; see ``open_chat_engine``, ``open_responses_engine``, ``open_wire_engine``.

    Opening it raises `ValueError` or `LocalProtocolError` for an address or a key that is not possible.
    """
    if kind == "wire":
        from agentwire.engines.wire import open_wire_engine

        return open_wire_engine(url, key=key, model=model, context_tokens=context_tokens, limits=limits)
    if kind == "responses":
        from agentwire.engines.responses import open_responses_engine

        return open_responses_engine(url, key=key, model=model, context_tokens=context_tokens, limits=limits)
    from agentwire.engines.chat import open_chat_engine

    return open_chat_engine(url, key=key, model=model, context_tokens=context_tokens, limits=limits)


async def list_models(http: HttpClient) -> tuple[str, ...]:
    """The names that a server lists at ``/models``. Cancelling it closes its connection.

    Raises:
        AgentwireError: it cannot be asked, or answers otherwise.
    """
    reply = await http.request("GET", "/models")
    return tuple(model.id for model in read_models(reply.body))
