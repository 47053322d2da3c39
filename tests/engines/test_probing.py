"""What a server speaks, asked on real sockets: servers of each kind, and of each kind of silence."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio

from agentwire.engines.probing import Found, Spoken, probe
from agentwire.engines.script import Text, Turn
from agentwire.engines.scripted import scripted
from agentwire.protocol.limits import Limits
from agentwire.server import serve

pytestmark = pytest.mark.socket

Answers = Mapping[str, tuple[int, object]]
BAD = {"error": {"message": "you must say more", "type": "invalid_request_error"}}


def models(*names: str, owner: str) -> tuple[int, object]:
    return 200, {"object": "list", "data": [{"id": name, "object": "model", "owned_by": owner} for name in names]}


@asynccontextmanager
async def answering(answers: Answers, *, headers: str = "") -> AsyncGenerator[tuple[str, list[str]]]:
    """A server that knows these paths, and what it was asked; a request never gets more than one answer."""
    asked: list[str] = []

    async def handle(stream: trio.SocketStream) -> None:
        async with stream:
            head = b""
            while b"\r\n\r\n" not in head:
                piece = await stream.receive_some()
                if not piece:
                    return
                head += piece
            method, path = head.decode("latin-1").split(" ", 2)[:2]
            asked.append(f"{method} {path}{' upgrade' if b'upgrade: websocket' in head.lower() else ''}")
            status, body = answers.get(f"{method} {path}", (404, {"detail": "Not Found"}))
            data = json.dumps(body).encode()
            lines = f"HTTP/1.1 {status} X\r\ncontent-length: {len(data)}\r\nconnection: close\r\n{headers}\r\n"
            await stream.send_all(lines.encode() + data)

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, handle, 0, host="127.0.0.1"))
        yield f"http://127.0.0.1:{listener.socket.getsockname()[1]}", asked
        nursery.cancel_scope.cancel(reason="the test is over")


async def found_at(answers: Answers, *, path: str = "", headers: str = "") -> Found:
    with trio.fail_after(20):
        async with answering(answers, headers=headers) as (url, _):
            return await probe(f"{url}{path}", key="secret")


async def test_chat_completions_without_v1_in_the_address() -> None:
    answers = {
        "GET /v1/models": models("smol", "tiny", owner="llamacpp"),
        "POST /v1/chat/completions": (400, BAD),
        "POST /v1/responses": (500, BAD),
    }
    found = await found_at(answers)
    assert (found.kind, found.program, found.models) == ("chat", "llama.cpp", ("smol", "tiny"))
    assert found.base_url.endswith("/v1")
    assert str(found).endswith("/v1 (llama.cpp), models: smol, tiny")


async def test_chat_completions_at_another_path() -> None:
    found = await found_at({"POST /api/chat/completions": (422, BAD)}, path="/api")
    assert (found.kind, found.models) == ("chat", ())
    assert found.base_url.endswith("/api")


async def test_chat_completions_at_the_root() -> None:
    found = await found_at({"POST /chat/completions": (400, BAD)})
    assert found.kind == "chat"
    assert not found.base_url.endswith("/v1")


async def test_the_responses_api_alone() -> None:
    answers = {"GET /v1/models": models("gpt", owner="vllm"), "POST /v1/responses": (422, BAD)}
    found = await found_at(answers, path="/v1")
    assert (found.kind, found.program) == ("responses", "vLLM")


async def test_an_unknown_model_is_no_unknown_path() -> None:
    missing = {"error": {"message": "The model '' does not exist", "code": "model_not_found"}}
    assert (await found_at({"POST /v1/chat/completions": (404, missing)}, path="/v1")).kind == "chat"


async def test_a_refused_key_is_told() -> None:
    answers = {"GET /v1/models": (401, BAD), "POST /v1/chat/completions": (401, BAD)}
    found = await found_at(answers, path="/v1")
    assert (found.kind, found.refuses_key) == ("chat", True)
    assert str(found).endswith(", which refuses the key")
    assert "secret" not in repr(found)
    async with answering(answers) as (url, _):
        assert str(await probe(f"{url}/v1")).endswith(", which wants a key")


async def test_only_what_it_is_asked_for() -> None:
    answers = {"POST /v1/chat/completions": (400, BAD), "POST /v1/responses": (400, BAD)}
    wanted: Spoken = "responses"
    async with answering(answers) as (url, asked):
        assert (await probe(f"{url}/v1", kinds=[wanted])).kind == wanted
    assert asked == ["GET /v1/models", "POST /v1/responses"]


async def test_none_of_them() -> None:
    found = await found_at({"GET /": (200, "hello")})
    assert (found.kind, found.reachable) == (None, True)
    assert "HTTP 404" in str(found)


async def test_no_question_could_make_a_model_talk() -> None:
    async with answering({"POST /v1/responses": (400, BAD)}) as (url, asked):
        await probe(url)
    assert asked == [
        "GET /v1/models",
        "GET /v1/responses upgrade",
        "POST /v1/chat/completions",
        "POST /v1/responses",
    ]


async def test_nobody_there() -> None:
    found = await probe("http://127.0.0.1:1/v1")
    assert (found.kind, found.reachable, found.unready) == (None, False, False)
    assert str(found) == "http://127.0.0.1:1: Connection refused"


async def test_what_a_url_can_hide_is_not_shown() -> None:
    url = "http://ada:secret@127.0.0.1:1/api?key=secret"
    assert str(Found(base_url=url, kind="chat")) == "chat completions of http://127.0.0.1:1/api"
    assert str(Found(base_url=url, said="no")) == "http://127.0.0.1:1/api: no"
    assert "secret" not in str(await probe(url))


async def test_questions_go_through_the_proxy_that_is_given() -> None:
    async with answering({"POST http://models.example/v1/responses": (400, BAD)}) as (proxy, asked):
        found = await probe("http://models.example/v1", proxy=proxy)
    assert (found.kind, found.base_url) == ("responses", "http://models.example/v1")
    assert asked == [
        "GET http://models.example/v1/models",
        "CONNECT models.example:80",
        "POST http://models.example/v1/chat/completions",
        "POST http://models.example/v1/responses",
    ]


@pytest.mark.parametrize("late", [Limits(upstream_probe=1), Limits(upstream_first_event=1)])
async def test_one_that_takes_connections_and_says_nothing(late: Limits) -> None:
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        found = await probe(url, limits=late)
        nursery.cancel_scope.cancel(reason="the test is over")
    await listener.aclose()
    assert (found.kind, found.reachable, found.unready, found.base_url) == (None, False, True, f"{url}/v1")
    assert "no answer within 1 s" in str(found)


async def test_one_that_lets_its_second_address_wait_has_answered() -> None:
    async def handle(stream: trio.SocketStream) -> None:
        async with stream:
            if b" /v1/" not in await stream.receive_some():
                await trio.sleep_forever()
            await stream.send_all(b"HTTP/1.1 404 X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, handle, 0, host="127.0.0.1"))
        url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        found = await probe(url, limits=Limits(upstream_probe=2))
        nursery.cancel_scope.cancel(reason="the test is over")
    assert (found.reachable, found.unready, found.base_url) == (True, False, f"{url}/v1")


async def test_one_that_hangs_up_is_not_there() -> None:
    async def hang_up(stream: trio.SocketStream) -> None:
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, hang_up, 0, host="127.0.0.1"))
        found = await probe(f"http://127.0.0.1:{listener.socket.getsockname()[1]}")
        nursery.cancel_scope.cancel(reason="the test is over")
    assert (found.kind, found.reachable, found.unready) == (None, False, False)


@pytest.mark.parametrize("status", [502, 503, 504])
async def test_one_that_is_not_ready_shows_nothing_of_what_it_speaks(status: int) -> None:
    loading = {"error": {"message": "Loading model", "type": "unavailable_error", "code": status}}
    paths = ("GET /v1/models", "GET /v1/responses", "POST /v1/chat/completions", "POST /v1/responses")
    found = await found_at(dict.fromkeys(paths, (status, loading)))
    assert (found.kind, found.reachable, found.unready, found.models) == (None, False, True, ())
    assert str(found).endswith(f"/v1: GET /models is answered with HTTP {status}")


async def test_another_agentwire() -> None:
    engine = scripted(Turn(Text("Hello.")))
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            server = await nursery.start(partial(serve, engine, models=["m"]))
            found = await probe(server.http_url.removesuffix("/v1"))
            nursery.cancel_scope.cancel(reason="the test is over")
    assert (found.kind, found.models, found.program) == ("wire", ("m",), "agentwire")
    assert engine.asks == []


@pytest.mark.parametrize("url", ["localhost", "ftp://localhost", "http://", ""])
async def test_an_address_that_is_not_possible_is_told_as_it_was_typed(url: str) -> None:
    with pytest.raises(ValueError, match=f"begin with http:// or https:// and a host, not '{url}'"):
        await probe(url)


async def test_a_key_that_is_not_possible() -> None:
    with pytest.raises(ValueError, match="printable ASCII"):
        await probe("http://127.0.0.1:1", key="a b")


def test_many_models_are_not_all_shown() -> None:
    found = Found(base_url="http://h/v1", kind="chat", models=tuple("abcdefg"))
    assert str(found) == "chat completions of http://h/v1, models: a, b, c, d, e and 2 more"
