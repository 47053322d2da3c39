from __future__ import annotations

import pytest

from agentwire.protocol.errors import RequestError
from agentwire.server.routing import Call, Route, Router
from agentwire.transport.requests import Request


async def answer(call: Call) -> None:
    """Never called here."""


ROUTER = Router(
    [
        Route("POST", "/things", answer),
        Route("POST", "/things/new", answer),
        Route("GET", "/things/{id}", answer),
        Route("DELETE", "/things/{id}", answer),
        Route("GET", "/things/{id}/parts/{part}", answer),
    ],
    {"/old/things": "/things"},
)


@pytest.mark.parametrize(
    ("method", "target", "path", "names"),
    [
        ("POST", "/things", "/things", {}),
        ("POST", "/things/", "/things", {}),
        ("POST", "/things?x=/y", "/things", {}),
        ("POST", "/things/new", "/things/new", {}),
        ("GET", "/things/new", "/things/{id}", {"id": "new"}),
        ("HEAD", "/things/a", "/things/{id}", {"id": "a"}),
        ("DELETE", "/things/a.b%20c", "/things/{id}", {"id": "a.b c"}),
        ("GET", "/things/a/parts/b", "/things/{id}/parts/{part}", {"id": "a", "part": "b"}),
        ("GET", "/old/things/a", "/things/{id}", {"id": "a"}),
        ("POST", "/old/things", "/things", {}),
    ],
)
def test_what_is_found(method: str, target: str, path: str, names: dict[str, str]) -> None:
    route, found = ROUTER.find(Request.parse(method, target))
    assert (route.path, found) == (path, names)
    assert route.method == ("GET" if method == "HEAD" else method)


@pytest.mark.parametrize(
    "target",
    ["/", "", "/thing", "/thingsx", "/things/a/b", "/things//parts/b", "/things/a%2Fb", "/old/thingsx"],
)
def test_what_is_not_there(target: str) -> None:
    with pytest.raises(RequestError) as caught:
        ROUTER.find(Request.parse("GET", target))
    assert (caught.value.status, caught.value.code) == (404, "not_found")


@pytest.mark.parametrize(
    ("method", "target", "allowed"),
    [("GET", "/things", "POST"), ("PUT", "/things/a", "DELETE, GET"), ("PUT", "/things/new", "DELETE, GET, POST")],
)
def test_a_method_that_a_path_does_not_have(method: str, target: str, allowed: str) -> None:
    with pytest.raises(RequestError) as caught:
        ROUTER.find(Request.parse(method, target))
    assert (caught.value.status, caught.value.headers) == (405, {"allow": allowed})
