"""Routes in a file: what they become, and what is refused, with its place."""

from __future__ import annotations

import tomllib
from contextlib import AsyncExitStack

import pytest

from agentwire.cli.failures import UserError
from agentwire.cli.route_tables import read_routing
from agentwire.protocol.limits import Limits
from agentwire.testing.recording import RecordingOut, ask_for

FILE = """
default-model = "small"

[upstreams.local]
kind = "wire"
base-url = "ws://127.0.0.1:1/v1"
key-env = "LOCAL_KEY"
concurrency = 4
silence = 30

[upstreams.rules]
kind = "builtin"

[[models]]
name = "small"
upstream = "rules"
aliases = ["mini"]

[[models]]
name = "local/*"
upstream = "local"
model = "*"
fallback = ["small"]
"""


async def test_a_file_becomes_routes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_KEY", "sk-secret")
    routing = read_routing(tomllib.loads(FILE), "f.toml")
    assert routing is not None
    assert "sk-secret" not in repr(routing)
    assert routing.upstreams["local"].limits(Limits()).upstream_silence == 30
    async with AsyncExitStack() as stack:
        routes = await routing.open(Limits(), stack)
        assert routes.names == ("small", "mini", "local/*")
        out = RecordingOut()
        await routes(ask_for("hello", model="anything"), out)
        assert out.text_written


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('kind = "wire"', 'kind = "soap"', "upstreams.local.kind"),
        ("concurrency = 4", 'concurrency = "4"', "upstreams.local.concurrency"),
        ("concurrency = 4", "concurrency = 0", "upstreams.local.concurrency"),
        ("concurrency", "concurency", "there is no 'concurency'"),
        ('base-url = "ws://127.0.0.1:1/v1"', "", "base-url is needed"),
        ('upstream = "rules"', 'upstream = "nobody"', "there is no upstream 'nobody'"),
        ("LOCAL_KEY", "NO_SUCH_VARIABLE", "NO_SUCH_VARIABLE"),
        ('default-model = "small"', "default-model = 1", "default-model"),
        ('aliases = ["mini"]', "aliases = 1", "aliases"),
    ],
)
def test_what_is_refused(old: str, new: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_KEY", "sk-secret")
    with pytest.raises(UserError, match=said) as caught:
        read_routing(tomllib.loads(FILE.replace(old, new, 1)), "f.toml")
    assert "sk-secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('fallback = ["small"]', 'fallback = ["x"]'),
        ("ws://127.0.0.1:1/v1", "nowhere"),
        ('kind = "builtin"', 'kind = "no_such_module:engine"'),
    ],
)
async def test_what_is_refused_when_it_opens(old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_KEY", "sk-secret")
    routing = read_routing(tomllib.loads(FILE.replace(old, new, 1)), "f.toml")
    assert routing is not None
    async with AsyncExitStack() as stack:
        with pytest.raises(UserError, match=r"f\.toml"):
            await routing.open(Limits(), stack)


async def test_each_name_is_told_with_what_it_leads_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_KEY", "sk-secret")
    routing = read_routing(tomllib.loads(FILE), "f.toml")
    assert routing is not None
    async with AsyncExitStack() as stack:
        assert list(routing.describe(await routing.open(Limits(), stack))) == [
            "small -> rules (builtin) as small",
            "mini -> rules (builtin) as mini",
            "local/* -> local (wire ws://127.0.0.1:1/v1) as *, else rules (builtin) as small",
            "any other name -> as small",
        ]


def test_a_file_without_routes() -> None:
    assert read_routing({"port": 8000}, "f.toml") is None
