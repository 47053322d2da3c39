"""A model's server as an engine, by what it speaks: chat completions, the Responses API, or its WebSocket mode.

A ``ws`` address speaks the WebSocket mode; of any other the person who types says it, and chat completions are usual.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Final, Literal, TypeAlias

import msgspec

from agentwire.protocol.errors import RemoteProtocolError
from agentwire.protocol.limits import Limits
from agentwire.runtime.contracts import Engine
from agentwire.transport.http_client import HttpClient

__all__ = ["SPOKEN", "UpstreamKind", "kind_of", "list_models", "open_upstream_engine"]

UpstreamKind: TypeAlias = Literal["chat", "responses", "wire"]

SPOKEN: Final = {
    "chat": "chat completions",
    "responses": "the Responses API",
    "wire": "the WebSocket mode",
}
"""What each kind is called."""


def kind_of(url: str, kind: UpstreamKind | None) -> UpstreamKind:
    """What a server speaks, if nobody said it."""
    if kind is not None:
        return kind
    return "wire" if url.startswith(("ws:", "wss:", "ws+unix:")) else "chat"


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


class _Model(msgspec.Struct):
    id: str


class _Listing(msgspec.Struct):
    data: list[_Model]


async def list_models(http: HttpClient) -> tuple[str, ...]:
    """The names that a server lists at ``/models``. Cancelling it closes its connection.

    Raises:
        AgentwireError: it cannot be asked, or answers otherwise.
    """
    reply = await http.request("GET", "/models")
    try:
        listing = msgspec.json.decode(reply.body, type=_Listing)
    except (ValueError, RecursionError) as error:
        raise RemoteProtocolError("what stands at /models is no list of models") from error
    return tuple(model.id for model in listing.data)
