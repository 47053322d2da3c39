"""The `chat` engine: one step of a turn is one streamed chat completion.

It keeps nothing but the connections: what was rendered of a conversation rests with the conversation. When a step is
cancelled, the stream is left, which closes its connection, and the model's server stops.
"""

from __future__ import annotations

import logging
import re
import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import attrs
import trio

from agentwire.engines.chat.answer import Answer, UpstreamFault
from agentwire.engines.chat.calls import Calls
from agentwire.engines.chat.dialect import ChatDialect
from agentwire.engines.chat.forced import Demand
from agentwire.engines.chat.messages import Prompt, render
from agentwire.engines.chat.request import body_of, format_words, settings_of, wants_logprobs
from agentwire.engines.chat.summary import SUMMARY_REQUEST, Notes, summary_settings
from agentwire.engines.chat.thoughts import Style
from agentwire.engines.faults import (
    bearer,
    broken_off,
    no_call,
    rubbish,
    server_of,
    status_fault,
    stream_fault,
    unreachable,
)
from agentwire.engines.offering import Catalogue, Offers
from agentwire.protocol.errors import AgentwireError, ConnectionEnded, EngineError, RemoteProtocolError
from agentwire.protocol.limits import Limits
from agentwire.protocol.response import Usage
from agentwire.runtime.contracts import Ask, Engine, Finish, Out, Summarized
from agentwire.runtime.counting import estimated_usage
from agentwire.transport.http_client import HttpClient, HttpStatusError, SseStream, open_http_client
from agentwire.transport.route import Connector

__all__ = ["open_chat_engine"]

_log = logging.getLogger("agentwire.engine")

_PATH = "/chat/completions"
_SEALED = "reasoning.encrypted_content"
_OURS: Final = "stream_options"
_QUOTED: Final = re.compile(r"""['"]input['"]|{(?!['"](?:type|loc)['"])""")
"""Where an error begins to quote what it was sent; pydantic's own have a type and a place first."""


@asynccontextmanager
async def open_chat_engine(
    base_url: str,
    *,
    key: str | None = None,
    model: str | None = None,
    headers: Mapping[str, str] | None = None,
    dialect: ChatDialect | None = None,
    context_tokens: int | None = None,
    limits: Limits | None = None,
    tls: ssl.SSLContext | None = None,
    connector: Connector | None = None,
    proxy: str | None = "environment",
) -> AsyncGenerator[Engine]:
    """Open an engine in front of a server that speaks the Chat Completions API.

    Nothing is sent before the first turn. The engine may be used by any number of turns at once, until the block is
    left, which closes its connections. A step that is cancelled closes the connection that it used.

    Text, reasoning, refusals and tool calls are streamed as they come. Every tool that a client runs itself goes up as
    a function and comes back as what it is (`agentwire.engines.offering`); what nobody here can run is not offered.
    ``tool_choice`` is enforced: a model that owes a call and writes text is asked once more, under a JSON schema made
    from the tools. Where a context is compacted, the model writes the summary.

    The engine raises `EngineError`: 400, 404 or 429 for what the server has against the request, with its own words;
    502 or 503 if the server cannot be reached, fails, breaks off or refuses this server's key.

    Args:
        base_url: such as ``http://127.0.0.1:8080/v1``; ``/chat/completions`` is added.
        key: for ``Authorization: Bearer``; never shown to a client nor written to a log.
        model: the name that the server knows its model by; each request's own if left out.
        headers: for every request.
        dialect: what the server knows, wants or refuses otherwise than most.
        context_tokens: how many tokens the model can read, by this server's estimate; without it the server itself
            must say what is too long.
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
        yield _ChatEngine(http, server_of(base_url), model, dialect or ChatDialect(), context_tokens, limits)


@attrs.define
class _Habits:
    """What the server has shown of itself.

    Attributes:
        reasoning_field: the member in which it writes reasoning.
    """

    reasoning_field: str | None = None


@attrs.frozen(eq=False)
class _ChatEngine:
    """The engine itself; see `open_chat_engine`.

    Attributes:
        hosts_tools: the server runs no tools of its own: what it is asked costs tokens, and leaves nothing behind.
    """

    http: HttpClient = attrs.field(repr=False)
    server: str
    model: str | None
    dialect: ChatDialect
    context_tokens: int | None
    limits: Limits = attrs.field(repr=False)
    hosts_tools: bool = attrs.field(default=False, init=False)
    habits: _Habits = attrs.field(factory=_Habits, init=False, repr=False)

    async def __call__(self, ask: Ask, out: Out) -> Finish:
        """Answer one step."""
        known = Catalogue.of(ask.tools)
        prompt = self.render(ask, known)
        offers = Offers.choose(known, ask.tool_choice, step=ask.step)
        settings = settings_of(ask, offers, self.dialect, model=self.model)
        try:
            return await _Step(self, ask, out, prompt, offers, settings).run()
        except (RemoteProtocolError, RecursionError) as error:
            raise rubbish(self.server, error) from error

    async def compact(self, ask: Ask) -> Summarized:
        """A summary of the conversation, by the model.

        The tools are offered as ever, or the model's server would not find the conversation in its cache. A model that
        calls one is asked again without them: what it says beside a call is no summary.
        """
        known = Catalogue.of(ask.tools)
        prompt = self.render(ask, known)
        messages = b",".join(filter(None, (prompt.messages(ask.instructions), prompt.followed_by(SUMMARY_REQUEST))))
        offers = Offers.choose(known, ask.tool_choice, step=1)
        try:
            made, called = await self._summary(ask, prompt, messages, offers)
            if offers.by_name and called:
                made, _ = await self._summary(ask, prompt, messages, Offers(), made.usage)
        except (RemoteProtocolError, RecursionError) as error:
            raise rubbish(self.server, error) from error
        return made

    async def _summary(
        self, ask: Ask, prompt: Prompt, messages: bytes, offers: Offers, used: Usage | None = None
    ) -> tuple[Summarized, bool]:
        """One exchange for a summary, beside which an earlier one used so much; and whether a tool was called."""
        notes, most = Notes(ask.use), self.limits.response_bytes
        calls = Calls(notes, offers, known=prompt.rendered.knows, new_id=ask.sources.new_id, most=most)
        answer = Answer(notes, calls, must_call=False, most=most, used=used)
        settings = settings_of(ask, offers, self.dialect, model=self.model)
        body = body_of(summary_settings(settings, self.dialect.tokens_name, self.limits.summary_tokens), messages)
        with _Accounted(ask, notes, answer):
            await self.read(body, answer)
            finish = await answer.end()
        return Summarized("".join(notes.pieces).strip(), finish.usage), calls.begun

    def render(self, ask: Ask, known: Catalogue) -> Prompt:
        """The conversation, as this server wants it."""
        dialect = self.dialect
        style = Style.of(dialect.reasoning_field, self.habits.reasoning_field, where=dialect.reasoning_in)
        return render(
            ask.items, ask.memo, known=known, new=ask.new_items, style=style, dialect=dialect, called=ask.called
        )

    async def read(self, body: bytes, answer: Answer) -> None:
        """One exchange: the body up, the whole stream down.

        Raises:
            EngineError: it failed.
            RemoteProtocolError: what came is no chat completion.
        """
        said_end = False
        try:
            sse = self.http.stream_sse(_PATH, json=body, repeat=True, leaving=answer.leave, or_json=True)
            async with sse as stream:
                answer.begun = True
                while not stream.done and (batch := await self._batch(stream, answer)):
                    await answer.take(batch)
                said_end = stream.done
        except HttpStatusError as error:
            raise _not_the_clients(status_fault(self.server, error)) from error
        except UpstreamFault as fault:
            raise stream_fault(self.server, fault.told) from fault
        except ConnectionEnded as error:
            if not answer.begun:
                raise unreachable(self.server, error) from error
            if not answer.whole:
                raise broken_off(self.server, error) from error
        self.habits.reasoning_field = answer.thinking.field or self.habits.reasoning_field
        if answer.finish_reason is None and not (said_end and answer.said_anything):
            raise broken_off(self.server)

    async def _batch(self, stream: SseStream, answer: Answer) -> list[bytes]:
        """What comes next; behind the end of the answer there is only the usage, and some servers say nothing more."""
        if not answer.ended:
            return await stream.batch()
        with trio.move_on_after(self.limits.upstream_usage):
            return await stream.batch()
        return []


def _not_the_clients(fault: EngineError) -> EngineError:
    """The same, unless it is about a member that only this engine sends: then its operator can help, and no client."""
    if fault.status != 400 or fault.code == "context_length_exceeded" or not _about_ours(fault):
        return fault
    message = f"{fault.message} Its dialect has to omit {_OURS} here."
    _log.warning("%s", message)
    return EngineError(message, code="upstream_error", status=502)


def _about_ours(fault: EngineError) -> bool:
    """As its ``param`` has it, else its words, up to where they quote the request (vLLM's quote it whole)."""
    if fault.param is not None:
        return fault.param.startswith(_OURS)
    return _OURS in _QUOTED.split(fault.message, maxsplit=1)[0]


@attrs.define(eq=False)
class _Step:
    """One step of a turn: an exchange, and a second one if the model owes a call after the first."""

    engine: _ChatEngine
    ask: Ask
    out: Out
    prompt: Prompt
    offers: Offers
    settings: Mapping[str, Any]

    async def run(self) -> Finish:
        answer = self._answer()
        messages = self.prompt.messages(self.ask.instructions, format_words(self.ask.request, self.engine.dialect))
        with _Accounted(self.ask, self.out, answer):
            await self.engine.read(body_of(self.settings, messages), answer)
            if not answer.failed_to_call:
                return await answer.end()
        return await self._demand(answer.usage)

    async def _demand(self, used: Usage | None) -> Finish:
        """Ask again, for nothing but the call; what the model wrote instead of it is dropped."""
        _log.info("%s did not enforce tool_choice: asked again, under a schema", self.engine.server)
        demand = Demand(self.offers, self.engine.dialect.schemas)
        messages = self.prompt.messages(self.ask.instructions, demand.instructions())
        answer = self._answer(used)
        with _Accounted(self.ask, self.out, answer):
            try:
                await self.engine.read(body_of(demand.settings(self.settings), messages), answer)
            except EngineError as error:
                raise no_call(self.engine.server, error) from error
            said, owed = answer.held_text, answer.failed_to_call
            answer.drop_text()
            if owed:
                await answer.call(*demand.read(said))
            return await answer.end()

    def _answer(self, used: Usage | None = None) -> Answer:
        most = self.engine.limits.response_bytes
        known, new_id = self.prompt.rendered.knows, self.ask.sources.new_id
        calls = Calls(self.out, self.offers, known=known, new_id=new_id, most=most)
        request = self.ask.request
        return Answer(
            self.out,
            calls,
            must_call=self.offers.mode == "required",
            most=most,
            used=used,
            logprobs=wants_logprobs(request),
            sealed=_SEALED in request.include,
        )


@attrs.define(eq=False)
class _Accounted:
    """However an answer ends, what it used is told: as the server counted it, else as an estimate."""

    ask: Ask
    out: Out
    answer: Answer

    def __enter__(self) -> None:
        """Nothing is used yet."""

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        refused = isinstance(error, AgentwireError) and not self.answer.begun
        if self.answer.sent and not refused:
            self.out.use(self._used())

    def _used(self) -> Usage:
        before = self.answer.usage
        if self.answer.counted and before is not None:
            return before
        guess = estimated_usage(self.ask, self.answer.pieces)
        return guess if before is None else before + guess
