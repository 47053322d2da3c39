from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import pytest

from agentwire.protocol.transcript import Memo
from agentwire.testing.recording import RecordingOut, ask_for
from tests.engines.chat.kit import Json, call, calls, chat, delta, says, stop, sum_tool

pytestmark = pytest.mark.socket

Written = list[tuple[str, list[Any]]]


@attrs.define
class LoggedOut(RecordingOut):
    """Keeps the probabilities, too."""

    logged: Written = attrs.Factory(list)

    async def text(self, piece: str, *, logprobs: Sequence[Mapping[str, Any]] = ()) -> None:
        self.logged.append((piece, [each["token"] for each in logprobs]))
        await super().text(piece, logprobs=logprobs)


def token(text: str, **more: Any) -> Json:
    return {"id": 7, "token": text, "logprob": -0.5, "bytes": [*text.encode()], "top_logprobs": [], **more}


def logged(chunk: Json, *tokens: Json) -> Json:
    (choice,) = chunk["choices"]
    return {**chunk, "choices": [{**choice, "logprobs": {"content": list(tokens)}}]}


async def written(*chunks: Json, **fields: Any) -> Written:
    out = LoggedOut()
    async with chat(says(*chunks, stop())) as (engine, _):
        await engine(ask_for("x", memo=Memo(), **{"top_logprobs": 1, **fields}), out)
    return out.logged


async def test_each_piece_has_those_of_its_tokens() -> None:
    chunks = (logged(delta(content="Hel"), token("Hel")), logged(delta(content="lo."), token("lo"), token(".")))
    assert await written(*chunks) == [("Hel", ["Hel"]), ("lo.", ["lo", "."])]
    assert await written(*chunks, top_logprobs=0) == [("Hel", []), ("lo.", [])]


async def test_tokens_without_text_of_their_own_go_with_the_next_piece() -> None:
    half = logged(delta(content=""), token("\\xf0"))
    assert await written(half, logged(delta(content="x"), token("\\x9f"))) == [("x", ["\\xf0", "\\x9f"])]


async def test_those_of_text_that_waits_wait_with_it() -> None:
    blank, more = logged(delta(content="\n"), token("\n")), logged(delta(content="a"), token("a"))
    assert await written(blank, more) == [("\na", ["\n", "a"])]


async def test_those_of_calls_and_refusals_are_dropped() -> None:
    add = logged(calls(call("{}", id="c1", name="add")), token("{}"))
    assert await written(add, delta(content="x"), tools=[sum_tool()]) == [("x", [])]
    assert await written(logged(delta(refusal="No."), token("No.")), delta(content="x")) == [("x", [])]


async def test_nulls_and_rubbish() -> None:
    assert await written({"choices": [{"delta": {"content": "x"}, "logprobs": None}]}) == [("x", [])]
    assert await written({"choices": [{"delta": {"content": "x"}, "logprobs": {"content": None}}]}) == [("x", [])]
    assert await written({"choices": [{"delta": {"content": "x"}, "logprobs": {"content": [1]}}]}) == [("x", [])]
    assert await written({"choices": [{"delta": {"content": "x"}, "logprobs": -0.5}]}) == [("x", [])]


async def test_they_have_the_members_that_the_responses_api_knows() -> None:
    found: list[Any] = []

    class Keeping(RecordingOut):
        async def text(self, piece: str, *, logprobs: Sequence[Mapping[str, Any]] = ()) -> None:
            found.extend(logprobs)

    chunk = logged(delta(content="a"), token("a", top_logprobs=[{"token": "b", "logprob": -1, "id": 3}]))
    async with chat(says(chunk, stop())) as (engine, server):
        await engine(ask_for("x", memo=Memo(), top_logprobs=1), Keeping())
        assert (server.body["logprobs"], server.body["top_logprobs"]) == (True, 1)
    top = {"token": "b", "logprob": -1.0, "bytes": None}
    assert found == [{"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": [top]}]
