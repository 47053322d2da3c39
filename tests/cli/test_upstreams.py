"""What an upstream speaks, and the engine that is opened for it."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from agentwire.cli.failures import UserError
from agentwire.cli.options import ServeOptions
from agentwire.cli.serve import Plan
from agentwire.cli.upstreams import UpstreamKind, find_upstream, list_models, open_upstream_engine
from agentwire.engines.probing import Found
from agentwire.protocol.errors import LocalProtocolError, RemoteProtocolError
from agentwire.protocol.limits import Limits
from agentwire.transport.http_client import HttpReply


@pytest.mark.parametrize(
    ("url", "said", "kind"),
    [
        ("http://h/v1", "chat", "chat"),
        ("http://h/v1", "responses", "responses"),
        ("http://h/v1", "wire", "wire"),
        ("http://h", "wire", "wire"),
        ("ws://h/v1", None, "wire"),
        ("wss://h/v1", None, "wire"),
    ],
)
async def test_what_is_typed_is_not_asked(url: str, said: UpstreamKind | None, kind: str) -> None:
    found = await find_upstream(url, said, key=None, limits=Limits())
    assert (found.kind, found.base_url, found.models) == (kind, url, ())


async def test_an_address_that_contradicts_the_kind_that_was_typed() -> None:
    with pytest.raises(UserError, match=r"--upstream: base_url must begin with http:// or https:// .*, not 'ws://h'"):
        await find_upstream("ws://h", "chat", key=None, limits=Limits())


@pytest.mark.parametrize(("url", "said"), [("http://127.0.0.1:1/v1", None), ("http://127.0.0.1:1", "chat")])
async def test_one_that_is_not_there(url: str, said: UpstreamKind | None) -> None:
    found = await find_upstream(url, said, key=None, limits=Limits())
    assert (found.kind, found.reachable) == (None, False)


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (Found(base_url="http://h/v1", kind="chat", reachable=True), "http://h/v1"),
        (Found(base_url="http://h", reachable=True, said="HTTP 404"), "http://h"),
        (Found(base_url="http://h/v1", unready=True, said="HTTP 503"), "http://h/v1"),
    ],
)
async def test_where_a_kind_is_that_was_typed(monkeypatch: pytest.MonkeyPatch, shown: Found, expected: str) -> None:
    async def asked(_: str, *, kinds: tuple[UpstreamKind, ...], **__: object) -> Found:
        assert kinds == ("chat",)
        return shown

    monkeypatch.setattr("agentwire.cli.upstreams.probe", asked)
    found = await find_upstream("http://h", "chat", key=None, limits=Limits())
    assert (found.kind, found.base_url) == ("chat", expected)


@pytest.mark.parametrize(
    ("kind", "name"), [("chat", "_ChatEngine"), ("responses", "_ResponsesEngine"), ("wire", "WireEngine")]
)
async def test_each_kind_has_its_engine(kind: UpstreamKind, name: str) -> None:
    opening = open_upstream_engine("http://127.0.0.1:1/v1", kind, key="k", model="m", context_tokens=9, limits=Limits())
    async with opening as engine:
        assert type(engine).__name__ == name
        assert getattr(engine, "context_tokens", None) == 9


@pytest.mark.parametrize("kind", ["chat", "responses", "wire"])
async def test_an_address_that_is_none(kind: UpstreamKind) -> None:
    with pytest.raises((ValueError, LocalProtocolError)):
        async with open_upstream_engine("nowhere", kind, key=None, model=None, context_tokens=None, limits=Limits()):
            pass


def test_a_kind_needs_an_upstream() -> None:
    with pytest.raises(UserError, match="--upstream-kind"):
        Plan.of(ServeOptions(upstream_kind="wire"))


class Listing:
    """A client whose server answers so."""

    def __init__(self, body: bytes) -> None:
        self.body = body

    async def request(self, method: str, path: str) -> HttpReply:
        await trio.lowlevel.checkpoint()
        assert (method, path) == ("GET", "/models")
        return HttpReply(200, {}, self.body)


async def test_a_list_of_models() -> None:
    listing: Any = Listing(b'{"object":"list","data":[{"id":"a","owned_by":"x"},{"id":"b"}]}')
    assert await list_models(listing) == ("a", "b")


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"data":[1]}', b"[" * 10_000])
async def test_what_is_no_list_of_models(body: bytes) -> None:
    listing: Any = Listing(body)
    with pytest.raises(RemoteProtocolError, match="no list of models"):
        await list_models(listing)
