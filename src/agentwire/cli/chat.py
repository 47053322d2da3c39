"""``agentwire chat``: a conversation in the terminal, with any server that speaks the WebSocket mode.

Ctrl-C cancels the answer, and the conversation goes on; SIGTERM ends both. Answers go to stdout and everything else to
stderr, so that an answer can be piped.
"""

from __future__ import annotations

import sys
from contextlib import AsyncExitStack, redirect_stdout
from typing import Annotated

import attrs
import trio
from cyclopts import Parameter

from agentwire.cli.conversation import Conversation
from agentwire.cli.failures import OK, TERMINATED, CommandFailed
from agentwire.cli.interrupts import Interrupts
from agentwire.cli.keys import read_key
from agentwire.cli.lines import Lines
from agentwire.cli.loading import load_tools
from agentwire.cli.reaching import Settings, open_client, open_server, split_url
from agentwire.cli.run_view import name_of, short, told_of
from agentwire.cli.terminal import Screen
from agentwire.cli.watching import watch_connection
from agentwire.client import (
    Client,
    ReasoningDelta,
    ServerToolFinished,
    Step,
    TextDelta,
    ToolFinished,
    ToolStarted,
    TurnFinished,
    TurnLost,
)
from agentwire.protocol.errors import AgentwireError
from agentwire.protocol.response import Response
from agentwire.runtime.groups import open_flat_nursery

__all__ = ["chat"]


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
    url, rest = split_url(words)
    screen = Screen.of_process()
    with redirect_stdout(sys.stderr):  # what the tools print is no answer
        settings = Settings(url, model, instructions, read_key(key_file), load_tools(tools))
        lines = Lines(sys.stdin.fileno())
        return trio.run(Talk(settings, " ".join(rest) or None, screen, lines, Interrupts(screen.note)).run)


@attrs.define
class Talk:
    """One conversation.

    Attributes:
        settings: how.
        message: the only message; None if they come line by line.
        screen: where it is shown.
        lines: where messages come from.
        interrupts: what Ctrl-C and SIGTERM do.
        conversation: what was said.
    """

    settings: Settings
    message: str | None
    screen: Screen
    lines: Lines
    interrupts: Interrupts
    conversation: Conversation = attrs.field(factory=Conversation)
    _begun: bool = False

    async def run(self) -> int:
        """Answer everything; returns the exit code.

        Raises:
            UserError: the address or a tool is not possible.
            CommandFailed: nobody can be reached, or the only message could not be answered.
        """
        with self.interrupts.listening():
            async with open_server(self.settings.url, self.screen.note) as url:
                await self._converse(url)
        return self.interrupts.code if self.interrupts.pressed else OK

    async def _converse(self, url: str) -> None:
        async with AsyncExitStack() as stack:
            wire = await open_client(stack, url, self.settings)
            async with open_flat_nursery() as nursery:
                nursery.start_soon(watch_connection, wire, self.screen.aside)
                while (text := await self._listen()) is not None:
                    await self._answer(wire, text)
                nursery.cancel_scope.cancel(reason="the conversation is over")

    async def _listen(self) -> str | None:
        """The next message; None after the last one."""
        if self.message is not None:
            first, self._begun = not self._begun, True
            return self.message if first else None
        if self.interrupts.code == TERMINATED:
            return None
        self.interrupts.settle()
        while True:
            self.screen.prompt()
            line = await self.lines.next()
            if line is None or line.strip():
                return line

    async def _answer(self, wire: Client, text: str) -> None:
        """Have one message answered, and show it."""
        with self.interrupts.cancelling() as scope:
            try:
                await self._run(wire, text)
            except AgentwireError as error:
                self._fail(error)
        self.screen.end()
        if scope.cancelled_caught:
            self.screen.note("cancelled")

    async def _run(self, wire: Client, text: str) -> None:
        talk, instructions, responses = self.conversation, self.settings.instructions, list[Response]()
        async with wire.run(talk.say(text), previous_response_id=talk.previous, instructions=instructions) as run:
            try:
                async for step in run:
                    if isinstance(step, TurnFinished):
                        responses.append(step.response)
                    self._show(step)
            finally:
                talk.settle(responses, run.results)

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
            case ToolStarted(call=call):
                self.screen.note(name_of(call))
            case ToolFinished():
                self.screen.note(f"  {step.call.name}: {short(step.result.text)} ({step.seconds * 1000:.0f} ms)")
            case ServerToolFinished(call=call):
                self.screen.note(f"{call.name} {short(call.arguments)}: {short(call.output or str(call.error))}")
            case TurnLost():
                self.screen.note(told_of(step))
            case _:
                pass
