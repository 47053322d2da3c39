from __future__ import annotations

import json
from typing import Any

import pytest
from trio.testing import MockClock

from agentwire.runtime.contracts import Ask, Out
from tests.runtime.kit import Event
from tests.server.kit import Rig, serving
from tests.server.test_http_door import ask, get, request

PATH = "/v1/responses"


async def hello(ask: Ask, out: Out) -> None:
    await out.text("hello")


async def read(rig: Rig, path: str, *headers: tuple[str, str], method: str = "GET") -> tuple[int, Event]:
    reply = await get(rig, path, *headers, method=method)
    assert reply.headers["x-request-id"].startswith("req_")
    return reply.status, json.loads(reply.body)


async def count(rig: Rig, **body: Any) -> tuple[int, Event]:
    raw = request("POST", f"{PATH}/input_tokens", body=json.dumps(body).encode())
    reply = await (await rig.http()).ask(raw, method="POST")
    return reply.status, json.loads(reply.body)


async def test_a_response_is_read_and_then_deleted(autojump_clock: MockClock) -> None:
    async with serving(hello) as rig:
        http = await rig.http()
        _, response = await ask(http)
        _, later = await ask(http, "more", previous_response_id=response["id"])
        path = f"{PATH}/{response['id']}"
        assert await read(rig, f"{path}?include=reasoning.encrypted_content&include[]=x&unknown=1") == (200, response)
        assert await read(rig, path, method="DELETE") == (
            200, {"id": response["id"], "object": "response", "deleted": True},
        )  # fmt: skip
        for method in ("GET", "DELETE"):
            status, body = await read(rig, path, method=method)
            assert (status, body["error"]["code"], body["error"]["param"]) == (404, "response_not_found", "id")
        reply, _ = await ask(http, "on", previous_response_id=response["id"])
        assert reply.status == 400
        reply, last = await ask(http, "on", previous_response_id=later["id"])
        assert reply.status == 200
        status, listed = await read(rig, f"{PATH}/{last['id']}/input_items?order=asc")
        assert (status, len(listed["data"])) == (200, 5)


async def test_a_head_has_no_body(autojump_clock: MockClock) -> None:
    async with serving(hello) as rig:
        _, response = await ask(await rig.http())
        reply = await get(rig, f"{PATH}/{response['id']}", method="HEAD")
        assert (reply.status, reply.body) == (200, b"")
        assert int(reply.headers["content-length"]) > 100


async def test_the_input_of_a_conversation_page_by_page(autojump_clock: MockClock) -> None:
    async with serving(hello) as rig:
        http = await rig.http()
        _, first = await ask(http, [{"role": "user", "content": str(number)} for number in range(25)])
        _, second = await ask(http, "last", previous_response_id=first["id"])
        path = f"{PATH}/{second['id']}/input_items"
        _, page = await read(rig, path)
        assert (len(page["data"]), page["has_more"]) == (20, True)
        assert page["data"][0]["content"] == [{"type": "input_text", "text": "last"}]
        assert page["data"][1] == first["output"][0]
        _, rest = await read(rig, f"{path}?after={page['last_id']}&limit=100")
        assert (len(rest["data"]), rest["has_more"]) == (7, False)
        _, oldest = await read(rig, f"{path}?order=asc&limit=1&include=x")
        assert oldest["data"] == rest["data"][-1:]


@pytest.mark.parametrize(
    ("query", "param"),
    [("limit=0", "limit"), ("limit=101", "limit"), ("limit=x", "limit"), ("order=up", "order"), ("after=x", "after")],
)
async def test_a_listing_that_cannot_be(query: str, param: str, autojump_clock: MockClock) -> None:
    async with serving(hello) as rig:
        _, response = await ask(await rig.http())
        status, body = await read(rig, f"{PATH}/{response['id']}/input_items?{query}")
        assert (status, body["error"]["param"]) == (400, param)
        status, body = await read(rig, f"{PATH}/resp_x/input_items")
        assert (status, body["error"]["code"]) == (404, "response_not_found")


async def test_nobody_sees_what_is_somebody_elses(autojump_clock: MockClock) -> None:
    async with serving(hello, keys=["one", "two"]) as rig:
        one, two = (("authorization", f"Bearer {key}") for key in ("one", "two"))
        raw = request("POST", PATH, one, body=b'{"model": "m", "input": "hi"}')
        response = json.loads((await (await rig.http()).ask(raw, method="POST")).body)
        for path in (f"{PATH}/{response['id']}", f"{PATH}/{response['id']}/input_items"):
            assert (await read(rig, path, one))[0] == 200
            assert (await read(rig, path, two))[0] == 404
            assert (await read(rig, path))[0] == 401
        assert (await read(rig, f"{PATH}/{response['id']}", two, method="DELETE"))[0] == 404
        assert (await read(rig, f"{PATH}/{response['id']}", one))[0] == 200


async def test_tokens_are_counted_and_nothing_runs(autojump_clock: MockClock) -> None:
    asked: list[Ask] = []

    async def engine(ask: Ask, out: Out) -> None:
        asked.append(ask)
        await out.text("x" * 400)

    async with serving(engine) as rig:
        _, response = await ask(await rig.http())
        status, counted = await count(rig, input="hi")
        assert (status, counted["object"]) == (200, "response.input_tokens")
        assert counted["input_tokens"] > 0
        _, more = await count(rig, model="m", input="hi", previous_response_id=response["id"], tools=[], temperature=1)
        assert more["input_tokens"] > counted["input_tokens"] + 100
        _, told = await count(rig, instructions="y" * 400, input=None, model=None)
        assert told["input_tokens"] == 100
        said = {"type": "item_reference", "id": response["output"][0]["id"]}
        status, referred = await count(rig, input=[said])
        assert status == 200
        assert referred["input_tokens"] > 100
        assert len(asked) == 1


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"input": 5}, 400, "input"),
        ({"previous_response_id": "resp_x"}, 400, "previous_response_id"),
        ({"conversation": "conv_1"}, 400, "conversation"),
        ({"input": [{"type": "item_reference", "id": "msg_x"}]}, 404, "input[0].id"),
    ],
)
async def test_what_cannot_be_counted(body: dict[str, Any], status: int, param: str, autojump_clock: MockClock) -> None:
    async with serving(hello) as rig:
        found, error = await count(rig, **body)
        assert (found, error["error"]["param"]) == (status, param)


async def test_codex_has_paths_of_its_own(autojump_clock: MockClock) -> None:
    async with serving(hello) as rig:
        raw = request("POST", "/v1/codex/responses", body=b'{"model": "m", "input": "hi"}')
        response = json.loads((await (await rig.http()).ask(raw, method="POST")).body)
        assert await read(rig, f"/v1/codex/responses/{response['id']}") == (200, response)
        peer = await rig.connect("/v1/codex/responses")
        events = await peer.ask(previous_response_id=response["id"])
        assert events[-1]["type"] == "response.completed"
        await peer.close()
        assert (await get(rig, "/v1/codex/models")).status == 404
