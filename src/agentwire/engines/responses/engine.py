"""The `responses` engine: one step of a turn is one streamed response of another server, relayed event by event.

It keeps nothing but the connections: what was rendered of a conversation rests with the conversation. When a step is
cancelled, the stream is left, which closes its connection, and the model's server stops.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import attrs
import msgspec

from agentwire.engines.faults import answer_fault, bearer, broken_off, rubbish, server_of, unreachable
from agentwire.engines.relay.asking import (
    ENCRYPTED,
    Asking,
    free_text_tools,
    is_about_include,
    is_forgotten,
    made_before,
    own_tools,
    runs_tools,
)
from agentwire.engines.relay.hearing import Relay
from agentwire.engines.relay.notes import HeardNotes
from agentwire.protocol.errors import ConnectionEnded, EngineError, RemoteProtocolError
from agentwire.protocol.limits import Limits
from agentwire.runtime.contracts import Ask, Engine, Finish, Out, Summarized
from agentwire.runtime.counting import estimate, estimated_usage
from agentwire.transport.http_client import HttpClient, HttpStatusError, Unreachable, open_http_client
from agentwire.transport.route import Connector

__all__ = ["open_responses_engine"]

_log = logging.getLogger("agentwire.engine")

PATH: Final = "/responses"
COUNT_PATH: Final = "/responses/input_tokens"
_NOT_THERE: Final = (404, 405, 501)
_TURNED_AWAY: Final = (501, 503, 529)
"""The statuses from 500 on that refuse a request; one with another of these failed on its way, or whoever stands before
the server lost sight of it, so that it may have run."""


@asynccontextmanager
async def open_responses_engine(
    base_url: str,
    *,
    key: str | None = None,
    model: str | None = None,
    headers: Mapping[str, str] | None = None,
    stateful: bool = False,
    context_tokens: int | None = None,
    limits: Limits | None = None,
    tls: ssl.SSLContext | None = None,
    connector: Connector | None = None,
    proxy: str | None = "environment",
) -> AsyncGenerator[Engine]:
    """Open an engine in front of a server that speaks the Responses API over HTTP.

    Nothing is sent before the first turn. The engine may be used by any number of turns at once, until the block is
    left, which closes its connections. A step that is cancelled closes the connection that it used.

    The client's request goes up with all its members, unknown ones too; the server's events come down with this
    server's ids and numbers, and unknown ones as they are. What a server leaves out of its stream is filled in. Where
    it does not keep responses, reasoning is asked for in its encrypted form and handed back, whether the client sees
    it or not.

    The engine raises `EngineError`: what the server has against the request, in its own words and with its code; 502
    or 503 if the server cannot be reached, fails, breaks off or refuses this server's key.

    Args:
        base_url: such as ``http://127.0.0.1:8000/v1``; ``/responses`` is added.
        key: for ``Authorization: Bearer``; never shown to a client nor written to a log.
        model: the name that the server knows its model by; each request's own if left out.
        headers: for every request.
        stateful: have the server keep the responses, and continue them with ``previous_response_id``; without, the
            whole conversation goes up each time and the server keeps nothing.
        context_tokens: how many tokens the model can read; without it the server itself must say what is too long.
        limits: deadlines and sizes.
        tls: for ``https``; the system's trust store if left out.
        connector: makes the connections instead, such as one in memory.
        proxy: the URL of a proxy, or None for none; the environment's settings if left out.

    Raises:
        ValueError: ``base_url`` or ``proxy`` is no HTTP URL, or the key can stand in no header.
    """
    limits = limits or Limits()
    sent = dict(headers or {})
    if key is not None:
        sent["authorization"] = bearer(key)
    opened = open_http_client(base_url, headers=sent, limits=limits, tls=tls, connector=connector, proxy=proxy)
    async with opened as http:
        yield _ResponsesEngine(http, server_of(base_url), model, stateful, context_tokens, limits)


@attrs.define(eq=False)
class _ResponsesEngine:
    """The engine itself; see `open_responses_engine`.

    Attributes:
        hosts_tools: the server may run tools of its own, such as MCP servers that it reaches.
        plain: models that refuse to encrypt their reasoning.
        counts: whether the server counts tokens, as far as is known.
    """

    http: HttpClient = attrs.field(repr=False)
    server: str
    model: str | None
    stateful: bool
    context_tokens: int | None
    limits: Limits = attrs.field(repr=False)
    hosts_tools: bool = attrs.field(default=True, init=False)
    plain: set[str] = attrs.field(factory=set)
    counts: bool = True

    async def __call__(self, ask: Ask, out: Out) -> Finish:
        """Answer one step."""
        asking = self._asking(ask)
        hide = () if ENCRYPTED in ask.request.include else ("encrypted_content",)
        finish, relay = await self._answer(ask, out, asking, hide)
        asking.keep_response(relay.response_id if self.stateful else None)
        return finish

    async def compact(self, ask: Ask) -> Summarized:
        """A summary of the conversation, by the model."""
        asking, notes = self._asking(ask).for_summary(self.limits.summary_tokens), HeardNotes(ask.use)
        finish, _ = await self._answer(ask, notes, asking, ())
        return Summarized("".join(notes.pieces).strip(), finish.usage)

    async def count_tokens(self, ask: Ask) -> int:
        """The server's own count, if it has one, or an estimate."""
        if self.counts:
            body = self._asking(ask).count_body()
            try:
                reply = await self.http.request("POST", COUNT_PATH, json=body)
                return int(msgspec.json.decode(reply.body, type=_Counted).input_tokens)
            except HttpStatusError as error:
                self.counts = error.status not in _NOT_THERE
            except (ConnectionEnded, RemoteProtocolError, ValueError) as error:
                _log.info("%s did not count tokens: %s", self.server, error)
        return await estimate(ask)

    def _asking(self, ask: Ask) -> Asking:
        asking = Asking.of(ask, owner=self, model=self.model, stateful=self.stateful)
        return asking.without(ENCRYPTED) if asking.model in self.plain else asking

    async def _answer(self, ask: Ask, out: Out, asking: Asking, hide: tuple[str, ...]) -> tuple[Finish, Relay]:
        """One exchange; a second one where the first was refused for a reason that is not the client's."""
        while True:  # noqa: ASYNC913 - each round is an exchange
            relay = self._relay(ask, out, asking, hide)
            try:
                with relay:
                    return await self._read(asking, relay), relay
            except EngineError as error:
                again = self._other_way(asking, error)
                if again is None or relay.begun:
                    had_it = relay.response_id is not None or error.code == "upstream_disconnected"
                    error.may_have_run |= had_it and self._runs_once(asking)
                    raise
                asking = again

    def _relay(self, ask: Ask, out: Out, asking: Asking, hide: tuple[str, ...]) -> Relay:
        return Relay(
            out,
            server=self.server,
            new_id=ask.sources.new_id,
            response_id=ask.response_id,
            first_index=made_before(ask),
            own_tools=own_tools(ask),
            free_text=free_text_tools(ask),
            hide=hide,
            keep=asking.keep,
            most=self.limits.response_bytes,
            estimate=partial(estimated_usage, ask),
        )

    def _other_way(self, asking: Asking, error: EngineError) -> Asking | None:
        """What to send instead, if this was refused for how it was put."""
        if asking.previous_response_id is not None and is_forgotten(asking.previous_response_id, error):
            _log.info("%s has forgotten a response: the whole conversation is sent", self.server)
            return asking.in_full()
        if is_about_include(asking, error):
            self.plain.add(asking.model)
            return asking.without(ENCRYPTED)
        return None

    def _runs_once(self, asking: Asking) -> bool:
        """Whether a request leaves something behind at the server, or the server runs tools for it."""
        return self.stateful or runs_tools(asking.settings.get("tools", ()))

    async def _read(self, asking: Asking, relay: Relay) -> Finish:
        """One exchange: the request up, the whole stream down.

        Raises:
            EngineError: it failed.
        """
        begun = False
        body = asking.body(stream=True, store=self.stateful)
        try:
            repeat = not self._runs_once(asking)
            sse = self.http.stream_sse(PATH, json=body, repeat=repeat, leaving=relay.leave, or_json=True)
            async with sse as stream:
                begun = True
                stream.name_types()
                while not relay.ended and (batch := await stream.batch()):
                    await relay.take_all(batch)
                if not relay.ended:
                    raise broken_off(self.server)
                stream.done = True
                return relay.finish()
        except HttpStatusError as error:
            fault = answer_fault(self.server, error)
            had_it = error.status >= 500 and error.status not in _TURNED_AWAY
            fault.may_have_run = had_it and self._runs_once(asking)
            raise fault from error
        except ConnectionEnded as error:
            if relay.ended:
                return relay.finish()
            fault = (broken_off if begun else unreachable)(self.server, error)
            fault.may_have_run = self._runs_once(asking) and not isinstance(error, Unreachable)
            raise fault from error
        except (RemoteProtocolError, RecursionError) as error:
            fault = rubbish(self.server, error)
            fault.may_have_run = self._runs_once(asking)
            raise fault from error


class _Counted(msgspec.Struct):
    input_tokens: int
