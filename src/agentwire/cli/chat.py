"""``agentwire chat``: a conversation in the terminal, with any server that speaks the WebSocket mode.

Ctrl-C hangs up, because that is what cancels a turn on this wire; the conversation goes on over a new connection.
Answers go to stdout and everything else to stderr, so that an answer can be piped.
"""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Final

import attrs
import trio
from cyclopts import Parameter

from agentwire.cli.conversation import Conversation
from agentwire.cli.failures import INTERRUPTED, OK, CommandFailed, UserError
from agentwire.cli.lines import Lines
from agentwire.cli.loading import load_tools
from agentwire.cli.terminal import Screen
from agentwire.client import (
    Client,
    ReasoningDelta,
    ServerToolFinished,
    Step,
    TextDelta,
    ToolFinished,
    ToolStarted,
    connect,
)
from agentwire.protocol.errors import AgentwireError, LocalProtocolError
from agentwire.protocol.items import FunctionCall
from agentwire.runtime.groups import open_flat_nursery
from agentwire.runtime.tools import LocalTool

__all__ = ["chat"]

SHOWN: Final = 100
"""Characters of a tool's arguments, and of its output, that are shown."""

_URL: Final = re.compile(r"(wss?|https?|(ws|http)\+unix)://", re.IGNORECASE)


def chat(
    *words: str,
    model: str | None = None,
    instructions: str | None = None,
    key_file: str | None = None,
    tools: Annotated[tuple[str, ...], Parameter(consume_multiple=False)] = (),
) -> int:
    """Hold a conversation; see ``agentwire chat --help``.

    Args:
        words: where the server is, such as http://127.0.0.1:8000/v1 or wss://api.openai.com/v1; then the message.
        model: whom to ask.
        instructions: system text for every turn.
        key_file: file whose first line is the API key. The environment's AGENTWIRE_API_KEY, or OPENAI_API_KEY for
            OpenAI's own servers, is the other way.
        tools: module:name of functions that the model may have run here.
    """
    url = words[0] if words and _URL.match(words[0]) else None
    message = " ".join(words if url is None else words[1:])
    settings = Settings(url, model, instructions, _read_key(key_file), load_tools(tools))
    talk = Talk(settings, message or None, Screen.of_process(), Lines(sys.stdin.fileno()))
    return trio.run(talk.run)


def _read_key(path: str | None) -> str | None:
    if path is None:
        return None
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--key-file: cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    key = next((line.strip() for line in lines if line.strip() and not line.startswith("#")), None)
    if key is None:
        raise UserError(f"--key-file: there is no API key in {path}")
    return key


@attrs.frozen
class Settings:
    """What was said on the command line."""

    url: str | None
    model: str | None
    instructions: str | None
    key: str | None = attrs.field(repr=False)
    tools: tuple[LocalTool[..., Any], ...]


@attrs.define
class Talk:
    """One conversation, over as many connections as it takes.

    Attributes:
        settings: how.
        message: the only message; None if they come line by line.
        screen: where it is shown.
        lines: where messages come from.
        conversation: what was said.
    """

    settings: Settings
    message: str | None
    screen: Screen
    lines: Lines
    conversation: Conversation = attrs.field(factory=Conversation)
    _answering: trio.CancelScope | None = None
    _interrupted: bool = False
    _begun: bool = False

    async def run(self) -> int:
        """Answer everything; returns the exit code.

        Raises:
            UserError: the address or a tool is not possible.
            CommandFailed: nobody can be reached, or the only message could not be answered.
        """
        with trio.open_signal_receiver(signal.SIGINT) as signals:
            async with open_flat_nursery() as nursery:
                nursery.start_soon(self._obey, signals, nursery.cancel_scope)
                async with self._server() as url:
                    await self._converse(url)
                nursery.cancel_scope.cancel(reason="the conversation is over")
        return INTERRUPTED if self._interrupted else OK

    async def _obey(self, signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
        async for _ in signals:
            self._interrupted = True
            (self._answering or scope).cancel(reason="interrupted from the keyboard")

    @asynccontextmanager
    async def _server(self) -> AsyncGenerator[str]:
        """Where to connect: the server that was named, or one of our own."""
        if self.settings.url is not None:
            yield self.settings.url
            return
        from agentwire.engines.builtin import NOTICE, builtin
        from agentwire.server import serve

        self.screen.note(f"no URL was given, so a server runs here, with {NOTICE}")
        async with open_flat_nursery() as nursery:
            server = await nursery.start(serve, builtin())
            yield server.url
            nursery.cancel_scope.cancel(reason="the conversation is over")

    async def _converse(self, url: str) -> None:
        text = await self._listen()
        while text is not None:
            async with AsyncExitStack() as connection:
                wire = await self._connect(connection, url)
                while text is not None and wire.ended is None:
                    if not await self._answer(wire, text):
                        await connection.aclose()
                    text = await self._listen()

    async def _listen(self) -> str | None:
        """The next message; None after the last one."""
        if self.message is not None:
            first, self._begun = not self._begun, True
            return self.message if first else None
        self._interrupted = False
        while True:
            self.screen.prompt()
            line = await self.lines.next()
            if line is None or line.strip():
                return line

    async def _connect(self, connection: AsyncExitStack, url: str) -> Client:
        settings = self.settings
        self.conversation.previous = None
        opening = connect(url, key=settings.key, model=settings.model, tools=settings.tools)
        try:
            return await connection.enter_async_context(opening)
        except LocalProtocolError as error:
            raise UserError(str(error)) from error
        except AgentwireError as error:
            raise CommandFailed(f"cannot connect to {url}: {error}") from error

    async def _answer(self, wire: Client, text: str) -> bool:
        """Have one message answered, and show it; False if the connection is of no more use."""
        with trio.CancelScope() as self._answering:
            await self._run(wire, text)
        cancelled = self._answering.cancelled_caught
        self._answering = None
        self.screen.end()
        if cancelled:
            self.screen.note("cancelled")
        usable = not cancelled and wire.ended is None
        self.conversation.settle(connected=usable)
        return usable

    async def _run(self, wire: Client, text: str) -> None:
        previous, instructions = self.conversation.previous, self.settings.instructions
        new = self.conversation.say(text)
        try:
            async with wire.run(new, previous_response_id=previous, instructions=instructions) as run:
                async for step in run:
                    self.conversation.take(step)
                    self._show(step)
        except AgentwireError as error:
            self._fail(error)

    def _fail(self, error: AgentwireError) -> None:
        self.screen.end()
        if self.message is not None:
            raise CommandFailed(str(error)) from error
        self.screen.note(str(error), style="red")

    def _show(self, step: Step) -> None:
        match step:
            case TextDelta():
                self.screen.text(step.text)
            case ReasoningDelta():
                self.screen.thought(step.text)
            case ToolStarted(call=FunctionCall() as call):
                self.screen.note(f"{call.name} {_short(call.arguments)}")
            case ToolFinished():
                self.screen.note(f"  {step.call.name}: {_short(step.result.text)} ({step.seconds * 1000:.0f} ms)")
            case ServerToolFinished(call=call):
                self.screen.note(f"{call.name} {_short(call.arguments)}: {_short(call.output or str(call.error))}")
            case _:
                pass


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else f"{line[:SHOWN]}..."
