"""A server that speaks the Responses API as it is told to, and one step of the engine in front of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from agentwire.engines.responses import open_responses_engine
from agentwire.runtime.contracts import Engine
from tests.engines.chat.kit import Script, Upstream, says, upstream
from tests.engines.relay.kit import Json, message_events, stream

__all__ = ["answers", "responses", "text"]


@asynccontextmanager
async def responses(*scripts: Script, **options: Any) -> AsyncGenerator[tuple[Engine, Upstream]]:
    """The engine in front of such a server."""
    async with upstream(*scripts) as server, open_responses_engine(server.url, **options) as engine:
        yield engine, server


def answers(events: list[Json], *, done: bool = False) -> Script:
    """Answers with a stream; OpenAI's own has no last word."""
    return says(*events, done=done)


def text(said: str, **members: Any) -> Script:
    """Answers with text."""
    return answers(stream(message_events(said), **members))


def input_of(body: Mapping[str, Any]) -> list[str]:
    """The types of what went up."""
    return [item["type"] for item in body["input"]]
