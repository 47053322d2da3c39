"""The server under test, as a case sees it: an address, what its models can do, sockets, requests and whole turns.

Nothing here knows whose server it is. What a case needs beyond a URL (a slow model, small limits, a second key) is
declared by whoever runs it, and a case that needs more than there is does not apply.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import urlsplit

import attrs
import trio

from agentwire.link.address import Address
from agentwire.protocol.limits import Limits
from agentwire.testing.conformance.companion import Companion
from agentwire.testing.conformance.exchange import Reply, exchange, open_stream_reply
from agentwire.testing.conformance.metered import MeteredStream
from agentwire.testing.conformance.process import UnderTest
from agentwire.testing.conformance.rules.model import Profile
from agentwire.testing.conformance.turns import Events, Socket
from agentwire.testing.conformance.wire import Log, WebSocket

__all__ = ["NEEDS", "Peer"]

Dial = Callable[[], Awaitable[trio.abc.Stream]]

NEEDS: Final[Mapping[str, str]] = {
    "tools": "a model that calls the function that a request forces",
    "slow": "a model that takes a while, named by the run",
    "failing": "a model that fails, named by the run",
    "steering": "a model that can be steered",
    "keys": "a server that asks for an API key, and the key",
    "second key": "two API keys of different owners",
    "queued": "the number of requests that may wait, told by the run",
    "connections": "the number of connections that may be open at once, told by the run",
    "steers": "the number of steers that may wait, told by the run",
    "context_tokens": "the number of tokens that the model can read, told by the run",
    "patience": "more time than a run usually has",
    "search": "a model for which the server searches the web",
    "reasoning": "a model that shows a summary of its reasoning when it is asked to",
    "companion": "the companion as the model server behind it, so that the run sees what it does there",
    "process": "a server that the run itself has started, so that it can be drained, killed and started again",
}
"""What a case may need, and what is said when it is not there."""


def _names(names: Iterable[str]) -> frozenset[str]:
    return frozenset(names)


@attrs.define(eq=False)
class Peer:
    """The server under test.

    Attributes:
        url: its base URL, such as ``http://127.0.0.1:8000/v1``.
        model: a model that answers in words.
        key: the API key; None if it asks for none.
        second_key: the key of another owner.
        slow_model: a model that takes at least a few seconds of the run's clock for an answer.
        failing_model: a model that fails once its response has begun.
        able: what else it can do, of `NEEDS`.
        unable: what of that it cannot do although it looks as if: a key that it does not look at proves nothing.
        limits: bounds that are smaller than the protocol's: ``message_bytes``, ``queued``, ``steers``,
            ``connection_age``, ``context_tokens``.
        profile: the dialect that is looked at.
        companion: the model server behind it, if that is the run's own.
        process: the server as a process, if the run has started it.
        websocket: path and query of a WebSocket that knows nothing of responses, where only its framing is looked at.
        dial: how to connect; over TCP or TLS by the URL if left out.
        log: the evidence.
    """

    url: str
    model: str = attrs.field(kw_only=True)
    key: str | None = attrs.field(default=None, kw_only=True)
    second_key: str | None = attrs.field(default=None, kw_only=True)
    slow_model: str | None = attrs.field(default=None, kw_only=True)
    failing_model: str | None = attrs.field(default=None, kw_only=True)
    able: frozenset[str] = attrs.field(default=frozenset(), kw_only=True, converter=_names)
    unable: frozenset[str] = attrs.field(default=frozenset(), kw_only=True, converter=_names)
    limits: Mapping[str, int] = attrs.field(factory=dict, kw_only=True)
    profile: Profile = attrs.field(default="openai", kw_only=True)
    companion: Companion | None = attrs.field(default=None, kw_only=True)
    process: UnderTest | None = attrs.field(default=None, kw_only=True)
    websocket: str | None = attrs.field(default=None, kw_only=True)
    dial: Dial | None = attrs.field(default=None, kw_only=True)
    log: Log = attrs.field(factory=Log, kw_only=True)

    @property
    def abilities(self) -> frozenset[str]:
        """Everything of `NEEDS` that is there."""
        told = {
            "keys": self.key,
            "second key": self.second_key,
            "slow": self.slow_model,
            "failing": self.failing_model,
            "companion": self.companion,
            "process": self.process,
            **self.limits,
        }
        return (self.able | {name for name, value in told.items() if value}) - self.unable

    @property
    def resource(self) -> str:
        """Path and query of the responses resource."""
        return Address.parse(self.url).target

    @property
    def authority(self) -> str:
        """What a request names as its host."""
        return Address.parse(self.url).authority

    def limit(self, name: str, default: int) -> int:
        """A bound of this server, or the protocol's."""
        return self.limits.get(name, default)

    def headers(self, key: str | None = None) -> list[tuple[str, str]]:
        """Headers that say who asks."""
        key = self.key if key is None else key
        return [("Authorization", f"Bearer {key}")] if key else []

    @asynccontextmanager
    async def connected(self) -> AsyncGenerator[trio.abc.Stream]:
        """A bare connection; cut off when the block is left."""
        address = Address.parse(self.url)
        stream: trio.abc.Stream = await (self.dial() if self.dial is not None else address.dial(limits=Limits()))
        try:
            yield MeteredStream(stream)
        finally:
            await trio.aclose_forcefully(stream)

    @asynccontextmanager
    async def socket(
        self,
        *,
        target: str | None = None,
        headers: Sequence[tuple[str, str]] = (),
        key: str | None = None,
        version: str = "13",
    ) -> AsyncGenerator[Socket]:
        """A WebSocket; cut off when the block is left, unless it was closed before.

        Args:
            target: path and query, instead of the resource's.
            headers: besides those that say who asks.
            key: another key than the usual one; empty for none.
            version: of the WebSocket protocol.
        """
        async with self.connected() as stream:
            ws = WebSocket(stream, self.log)
            host = Address.parse(self.url).authority
            sent = [*self.headers(key), *headers]
            await ws.shake_hands(host, target or self.resource, sent, version=version)
            yield Socket(ws, self.model)

    async def http(
        self,
        method: str,
        path: str = "",
        body: Mapping[str, Any] | bytes | None = None,
        *,
        headers: Sequence[tuple[str, str]] = (),
        key: str | None = None,
    ) -> Reply:
        """One HTTP request, below the responses resource unless the path begins with ``/``; the whole answer."""
        async with self.connected() as stream:
            return await exchange(stream, self._request(method, path, body, headers, key), self.log)

    @asynccontextmanager
    async def events(
        self, method: str, path: str = "", body: Mapping[str, Any] | None = None
    ) -> AsyncGenerator[Events]:
        """One HTTP request whose answer is an event stream; leaving the block drops the connection."""
        async with self.connected() as stream:
            request = self._request(method, path, body, (), None)
            yield Events(await open_stream_reply(stream, request, self.log))

    def _request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | bytes | None,
        headers: Sequence[tuple[str, str]],
        key: str | None,
    ) -> bytes:
        target = path if path.startswith("/") else self._below(path)
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = [
            f"{method} {target} HTTP/1.1",
            f"Host: {Address.parse(self.url).authority}",
            "Connection: close",
            "Accept: application/json",
            *(f"{name}: {value}" for name, value in (*self.headers(key), *headers)),
        ]
        if body is not None:
            lines += ["Content-Type: application/json", f"Content-Length: {len(data)}"]
        return "\r\n".join((*lines, "", "")).encode("latin-1") + data

    def _below(self, path: str) -> str:
        parts = urlsplit(self.resource)
        given, _, query = path.partition("?")
        whole = f"{parts.path}/{given}" if given else parts.path
        queries = "&".join(part for part in (parts.query, query) if part)
        return f"{whole}?{queries}" if queries else whole

    def body(self, content: Any = "Say hello.", **fields: Any) -> dict[str, Any]:
        """The body of a request over HTTP that stores nothing, unless asked to; a field that is ``...`` is left out."""
        body = {"model": self.model, "input": content, "store": False, **fields}
        return {name: value for name, value in body.items() if value is not ...}

    async def post(self, content: Any = "Say hello.", **fields: Any) -> Reply:
        """``POST`` a request; the whole answer."""
        return await self.http("POST", "", self.body(content, **fields))
