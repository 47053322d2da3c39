"""One upstream of the file: what its options become, and what is refused, with its place."""

from __future__ import annotations

import tomllib
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme

from agentwire.cli.failures import UserError
from agentwire.cli.upstream_tables import NamedUpstream, read_upstream
from agentwire.engines.probing import Found
from agentwire.engines.wire import WireEngine
from agentwire.protocol.limits import Limits
from agentwire.testing.recording import RecordingOut, ask_for
from agentwire.transport.http_client import open_http_client

CHAT = """
base-url = "http://127.0.0.1:1/v1"
key-env = "KEY"
context-tokens = 4000
connect = 3
first-event = 20
longest = 90.5

[headers]
x-team = "blue"
x-token = {env = "TOKEN"}

[dialect]
tokens-name = "max_completion_tokens"
omit = ["stream_options"]
extra-body = {top_a = 1}
"""
RESPONSES = 'kind = "responses"\nbase-url = "http://127.0.0.1:1/v1"\nstateful = true'
WIRE = """
kind = "wire"
base-url = "ws://127.0.0.1:1/v1"
connections = 3
lanes = true
rotate-after = 600
on-cancel = "isolate"
store = true
repeat-unanswered = true
"""


@pytest.fixture(autouse=True)
def variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "sk-secret")
    monkeypatch.setenv("TOKEN", "t-secret")
    monkeypatch.setenv("BLANKS", "sk secret")
    monkeypatch.setenv("EMPTY", " ")


def read(text: str, path: str = "f.toml") -> NamedUpstream:
    return read_upstream("one", tomllib.loads(text), path)


def test_what_a_url_can_hide_is_not_shown() -> None:
    assert str(read('base-url = "http://ada:secret@h:1/v1?key=secret"')) == "one (chat http://h:1/v1)"


async def engine_of(text: str) -> Any:
    """The engine that a table becomes, closed already."""
    async with AsyncExitStack() as stack:
        return (await read(text).open(Limits(), stack)).engine


async def test_a_chat_server() -> None:
    told = read(CHAT)
    assert (told.key, dict(told.headers)) == ("sk-secret", {"x-team": "blue", "x-token": "t-secret"})
    assert "secret" not in repr(told)
    limits = told.limits(Limits(upstream_silence=7))
    assert (limits.handshake, limits.upstream_first_event, limits.upstream_silence) == (3, 20, 7)
    async with AsyncExitStack() as stack:
        upstream = await told.open(Limits(), stack)
    engine: Any = upstream.engine
    assert (upstream.longest, engine.context_tokens, engine.limits.handshake) == (90.5, 4000, 3)
    assert engine.dialect.tokens_name == "max_completion_tokens"
    assert (engine.dialect.omit, dict(engine.dialect.extra_body)) == ({"stream_options"}, {"top_a": 1})


async def test_a_responses_server() -> None:
    assert (await engine_of(RESPONSES)).stateful
    assert not (await engine_of(RESPONSES.replace("stateful = true", ""))).stateful


async def test_a_wire_server() -> None:
    engine = await engine_of(WIRE)
    assert isinstance(engine, WireEngine)
    assert (engine.store, engine.repeats, engine.pool.lanes) == (True, True, True)


@pytest.mark.parametrize(
    ("url", "asked", "path"),
    [
        ("wss://h/v1?api-version=1", "https://h/v1?api-version=1", None),
        ("http://h:1", "http://h:1/v1", None),
        ("ws+unix:///run/a.sock", "http://localhost/v1", "/run/a.sock"),
    ],
)
async def test_a_wire_server_is_asked_for_its_models_over_http(
    url: str, asked: str, path: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Any] = []

    def note(url: str, **options: Any) -> Any:
        opened.append((url, options["unix_path"], options["headers"]))
        return open_http_client(url, **options)

    monkeypatch.setattr("agentwire.cli.upstream_tables.open_http_client", note)
    async with AsyncExitStack() as stack:
        upstream = await read(f'kind = "wire"\nbase-url = "{url}"\nkey-env = "KEY"').open(Limits(), stack)
        assert upstream.lister is not None
    assert opened == [(asked, path, {"authorization": "Bearer sk-secret"})]


async def test_an_engine_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_engine_in_a_file.py").write_text('async def engine(ask, out):\n    await out.text("mine")\n')
    engine, out = await engine_of('kind = "own_engine_in_a_file:engine"'), RecordingOut()
    await engine(ask_for("hello"), out)
    assert out.text_written == "mine"


@pytest.mark.parametrize(
    ("text", "old", "new", "said"),
    [
        (CHAT, '"blue"', '"bl\\nue"', "headers.x-team: its value must be printable"),
        (CHAT, "x-team", '"x team"', "headers.x team: it is no header's name"),
        (CHAT, 'env = "TOKEN"', 'env = "NO_TOKEN"', "headers.x-token: the environment has no NO_TOKEN"),
        (CHAT, "{env =", "{environ =", 'headers.x-token: it must be a text, or {env = "NAME"}'),
        (CHAT, '"blue"', "1", 'headers.x-team: it must be a text, or {env = "NAME"}'),
        (CHAT, '"TOKEN"', "1", 'headers.x-token: it must be a text, or {env = "NAME"}'),
        (CHAT, "x-team", "Content-Length", "headers.Content-Length: each request says that for itself"),
        (WIRE, "lanes = true", 'headers.host = "x"', "headers.host: each request says that for itself"),
        (CHAT, "connect = 3", 'base_url = "http://b"', "base-url and base_url are the same, and both are there"),
        (CHAT, '"KEY"', '"BLANKS"', "key-env: the key for the model's server must be printable ASCII"),
        (CHAT, '"KEY"', '"EMPTY"', "key-env: the environment has no EMPTY"),
        (CHAT, "x-team", "Authorization", "key-env and the header authorization both say who asks: choose one"),
        (CHAT, "connect = 3", 'key-file = "key"', "key-env and key-file both say where the key is: choose one"),
        (CHAT, 'key-env = "KEY"', 'key-file = "no.key"', "key-file: cannot read no.key: No such file"),
        (CHAT, "tokens-name", "token-name", "dialect: there is no 'token-name'"),
        (CHAT, "max_completion_tokens", "tokens", "dialect.tokens-name: it must be one of"),
        (CHAT, '["stream_options"]', '"stream_options"', "dialect.omit: it must be a list, not a text"),
        (CHAT, '["stream_options"]', "[1]", "dialect.omit[0]: it must be a text"),
        (CHAT, "top_a", "messages", "dialect: extra_body may not have messages"),
        (CHAT, "{top_a = 1}", "1", "dialect.extra-body: it must be a table"),
        (CHAT, "connect = 3", "connect = 0", "connect: it must be more than 0"),
        (CHAT, "connect = 3", "stateful = true", "stateful: only an upstream of kind 'responses'"),
        (CHAT, "connect = 3", 'ca-file = "no.pem"', "ca-file: cannot read no.pem"),
        (WIRE, "connections = 3", "connections = 0", "connections: it must be at least 1"),
        (WIRE, '"isolate"', '"drop"', "on-cancel"),
        (WIRE, "store", "dialect.omit", "only an upstream of kind 'chat'"),
        (RESPONSES, "stateful = true", "lanes = true", "only an upstream of kind 'wire'"),
        (RESPONSES, '"responses"', '"auto"', "stateful: only an upstream of kind 'responses' has it"),
        (
            RESPONSES,
            '"responses"',
            '"soap"',
            "kind: it must be one of chat, responses, wire, auto, builtin, or module:name",
        ),
        (RESPONSES, '"responses"', '"builtin"', "base-url: an engine of kind 'builtin' has only concurrency, kind"),
    ],
)
def test_what_is_refused(text: str, old: str, new: str, said: str) -> None:
    assert old in text
    with pytest.raises(UserError) as caught:
        read(text.replace(old, new, 1))
    assert str(caught.value).startswith("f.toml: upstreams.one")
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("kind", ["no_such_module:engine", "json:no_such_name", "json:dumps"])
async def test_a_module_that_gives_no_engine(kind: str) -> None:
    with pytest.raises(UserError, match=r"f\.toml: upstreams\.one\.kind"):
        await engine_of(f'kind = "{kind}"')


def test_a_secret_in_the_place_of_its_name_is_not_repeated() -> None:
    with pytest.raises(UserError, match=r"one\.key-env: it must be the name of a variable") as caught:
        read(CHAT.replace('"KEY"', '"sk-proj-abc"'))
    assert "sk-" not in str(caught.value)


def test_white_space_round_a_variable_is_no_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "sk-secret\n")
    monkeypatch.setenv("TOKEN", " t-secret\r\n")
    told = read(CHAT)
    assert (told.key, told.headers["x-token"]) == ("sk-secret", "t-secret")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('base-url = "ws://h/v1"', "it must begin with http:// or https:// and a host, not 'ws://h/v1'; a server that"),
        ('kind = "wire"\nbase-url = "nowhere"', "'nowhere' is not the address of a server"),
    ],
)
async def test_an_address_that_is_none_is_told_with_its_place(text: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        await engine_of(text)
    assert str(caught.value).startswith(f"f.toml: upstreams.one.base-url: {said}")


def test_trust_is_read_from_beside_the_file(tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
    told = read('base-url = "https://127.0.0.1:1/v1"\nca-file = "ca.pem"', str(tmp_path / "f.toml"))
    assert told.tls is not None
    assert len(told.tls.get_ca_certs()) == 1
    (tmp_path / "ca.pem").write_text("nothing")
    with pytest.raises(UserError, match="no certificate"):
        read('base-url = "https://127.0.0.1:1/v1"\nca-file = "ca.pem"', str(tmp_path / "f.toml"))


def test_a_key_is_read_from_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "local.key").write_bytes(b"\xef\xbb\xbf# of the machine downstairs\r\n\r\n  f-secret \r\n")
    told = read(f'key-file = "local.key"\n{RESPONSES}', str(tmp_path / "f.toml"))
    assert told.key == "f-secret"
    assert "secret" not in repr(told)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "there is no API key in "),
        (b"# secret\n\n", "there is no API key in "),
        (b"secret\xff", "cannot read "),
    ],
)
def test_a_file_without_a_key(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "local.key").write_bytes(content)
    with pytest.raises(UserError, match=r"upstreams\.one\.key-file") as caught:
        read(f'key-file = "local.key"\n{RESPONSES}', str(tmp_path / "f.toml"))
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("kind", ["chat", "auto"])
def test_a_key_that_no_header_can_carry(tmp_path: Path, kind: str) -> None:
    (tmp_path / "local.key").write_text("one secret\n")
    text = f'kind = "{kind}"\nbase-url = "http://127.0.0.1:1/v1"\nkey-file = "local.key"'
    with pytest.raises(UserError, match=r"upstreams\.one\.key-file: the key .* must be printable ASCII") as caught:
        read(text, str(tmp_path / "f.toml"))
    assert "secret" not in str(caught.value)


AUTO = """
kind = "auto"
base-url = "http://models.example"
key-env = "KEY"
connect = 3
proxy = "http://proxy.example:3128"
[headers]
x-team = "blue"
"""


async def test_what_an_upstream_is_can_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    async def probe(url: str, **options: Any) -> Found:
        await trio.lowlevel.checkpoint()
        asked.update(options, url=url)
        return Found(base_url=f"{url}/v1", kind="responses", reachable=True, program="vLLM", models=("m",))

    monkeypatch.setattr("agentwire.cli.upstreams.probe", probe)
    told = await read(AUTO).found_out(Limits())
    assert (asked.pop("limits").handshake, asked.pop("tls")) == (3, None)
    assert asked == {
        "url": "http://models.example",
        "kinds": ("chat", "responses", "wire"),
        "key": "sk-secret",
        "headers": {"x-team": "blue"},
        "proxy": "http://proxy.example:3128",
    }
    assert told.found == "the Responses API of http://models.example/v1 (vLLM), models: m"
    assert str(told) == "one (responses http://models.example/v1)"
    async with AsyncExitStack() as stack:
        assert type((await told.open(Limits(), stack)).engine).__name__ == "_ResponsesEngine"


async def test_an_upstream_that_says_its_kind_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async def probe(url: str, **_: Any) -> Found:
        raise AssertionError(url)

    monkeypatch.setattr("agentwire.cli.upstreams.probe", probe)
    for text in (CHAT, RESPONSES, WIRE, 'kind = "builtin"'):
        told = read(text)
        assert await told.found_out(Limits()) == told
    told = await read(AUTO.replace("http://models", "wss://models")).found_out(Limits())
    assert str(told) == "one (wire wss://models.example)"
    assert told.found == "the WebSocket mode of wss://models.example"


@pytest.mark.parametrize(
    ("reachable", "said"),
    [
        (True, "http://models.example: HTTP 404; is base-url right, or what does it speak? Its kind can be said"),
        (False, "http://models.example: HTTP 404; what does it speak? Its kind can be said: chat, responses, wire"),
    ],
)
async def test_an_upstream_that_does_not_show_what_it_is(
    monkeypatch: pytest.MonkeyPatch, reachable: bool, said: str
) -> None:
    async def probe(url: str, **_: Any) -> Found:
        await trio.lowlevel.checkpoint()
        return Found(base_url=url, reachable=reachable, said="HTTP 404")

    monkeypatch.setattr("agentwire.cli.upstreams.probe", probe)
    with pytest.raises(UserError) as caught:
        await read(AUTO).found_out(Limits())
    assert str(caught.value).startswith(f"f.toml: upstreams.one: {said}")


@pytest.mark.parametrize("text", [CHAT, RESPONSES, WIRE])
async def test_a_proxy_is_asked_for_whatever_the_kind(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("PROXY", "http://me:p-secret@proxy.example:3128")
    for line, proxy in (
        ("", "environment"),
        ('proxy = "none"', None),
        ('proxy = "http://proxy.example:3128"', "http://proxy.example:3128"),
        ('proxy = {env = "PROXY"}', "http://me:p-secret@proxy.example:3128"),
    ):
        told = read(f"{line}\n{text}")
        assert told.proxy == proxy
        assert "secret" not in repr(told)
        async with AsyncExitStack() as stack:
            await told.open(Limits(), stack)


@pytest.mark.parametrize(
    ("proxy", "said"),
    [
        ('"socks5://proxy.example:1"', "the URL of a proxy"),
        ('"http://me:secret@proxy.example"', "named and not written down"),
        ('{env = "NO_PROXY_HERE"}', "the environment has no NO_PROXY_HERE"),
        ('{environ = "X"}', "it must be a URL"),
    ],
)
def test_what_is_no_proxy_is_refused(proxy: str, said: str) -> None:
    with pytest.raises(UserError, match=r"upstreams\.one\.proxy") as caught:
        read(f"proxy = {proxy}\n{RESPONSES}")
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)
