"""``agentwire serve`` as a process: where it listens, how it ends, and what it says when it cannot begin."""

from __future__ import annotations

import json
import logging
import signal
import socket
import ssl
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme

from agentwire.cli import main
from agentwire.cli.loading import load_tools
from agentwire.protocol.errors import ConnectionEnded
from agentwire.protocol.limits import Limits
from agentwire.transport.http_client import HttpStatusError, SseStream, open_http_client
from tests.cli.kit import ServeProcess, run_command, serving
from tests.engines.chat import kit as upstream
from tests.peers.upstreams import free_port
from tests.server.kit import Peer

pytestmark = pytest.mark.socket

MODULE = """
from contextlib import asynccontextmanager
from agentwire.runtime.contracts import Finish

events = []

async def loud(ask, out):
    await out.text("LOUD " + str(ask.new_items[-1].text).upper())
    return Finish()

def factory():
    return loud

@asynccontextmanager
async def opened():
    yield loud

async def slow(ask, out):
    import trio
    await out.text("begun")
    await trio.sleep(0.5)
    await out.text(", done")

async def endless(ask, out):
    import trio
    await out.text("begun")
    await trio.sleep_forever()

def add(a: int, b: int) -> int:
    "Add two numbers."
    return a + b

def double(n: int) -> int:
    "Double a number."
    return 2 * n

tools = [add, double]
number = 3

def wants_an_argument(x):
    return loud

async def coroutine():
    return loud

def fails():
    raise RuntimeError("no weights")

def nothing():
    return None

def exits():
    raise SystemExit

def star(*words):
    "No schema can say this."
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(MODULE, encoding="utf-8")
    (tmp_path / "broken.py").write_text("import agentwire\n\nagentwire.no_such_name\n", encoding="utf-8")
    (tmp_path / "garbled.py").write_text("def f(:\n", encoding="utf-8")
    (tmp_path / "needy.py").write_text("import not_there_at_all\n", encoding="utf-8")
    (tmp_path / "quits.py").write_text("import sys\nsys.exit('set DATABASE_URL')\n", encoding="utf-8")
    return tmp_path


async def ask(url: str, text: str, **more: Any) -> dict[str, Any]:
    async with open_http_client(url, limits=Limits(), **more) as http:
        reply = await http.request("POST", "/responses", json={"model": "any", "input": text})
    body: dict[str, Any] = json.loads(reply.body)
    return body


def text_of(response: dict[str, Any]) -> str:
    return "".join(part["text"] for item in response["output"] if item["type"] == "message" for part in item["content"])


@asynccontextmanager
async def begun(server: ServeProcess) -> AsyncGenerator[SseStream]:
    """A streamed response of which the first event is here."""
    body = {"model": "any", "input": "go", "stream": True}
    async with (
        open_http_client(server.where["http"], limits=Limits()) as http,
        http.stream_sse("/responses", json=body) as stream,
    ):
        await anext(stream)
        yield stream


async def test_it_says_where_it_listens_and_that_it_is_no_language_model() -> None:
    with trio.fail_after(60):
        async with serving("--port", "0") as server:
            assert server.where.keys() == {"ws", "http"}
            assert server.where["ws"] == server.where["http"].replace("http", "ws", 1)
            assert server.lines[1] == "engine: agentwire's built-in engine: deterministic rules, not a language model"
            assert server.lines[2] == "API key: none needed"
            said = text_of(await ask(server.where["http"], 'say "hello there"'))
            assert said == "hello there"
            async with open_http_client(server.where["http"], limits=Limits()) as http:
                models = json.loads((await http.request("GET", "/models")).body)
            assert [model["id"] for model in models["data"]] == ["builtin"]
            assert await server.signal_and_wait(signal.SIGINT) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_lets_running_turns_finish(folder: Path, number: int) -> None:
    with trio.fail_after(60):
        async with serving("--port", "0", "--engine", "mine:slow", cwd=folder) as server:
            async with begun(server) as stream:
                server.process.send_signal(number)
                last = [event async for event in stream][-1]
            assert json.loads(last)["type"] == "response.completed"
            assert await server.process.wait() == 0


async def test_a_second_signal_stops_at_once(folder: Path) -> None:
    with trio.fail_after(60):
        async with serving("--port", "0", "--engine", "mine:endless", cwd=folder) as server, begun(server) as stream:
            assert await server.signal_and_wait(signal.SIGTERM, signal.SIGTERM) == 0
            with pytest.raises(ConnectionEnded):
                [event async for event in stream]


async def test_turns_that_do_not_finish_are_cancelled_when_the_drain_is_over(folder: Path) -> None:
    options = ("--port", "0", "--engine", "mine:endless", "--limit", "drain=0.2")
    with trio.fail_after(60):
        async with serving(*options, cwd=folder) as server, begun(server):
            assert await server.signal_and_wait(signal.SIGTERM) == 0


@pytest.mark.parametrize("name", ["loud", "factory", "opened"])
async def test_an_engine_of_the_users_own(folder: Path, name: str) -> None:
    with trio.fail_after(60):
        async with serving("--port", "0", "--engine", f"mine:{name}", cwd=folder) as server:
            assert server.lines[1] == f"engine: mine:{name}"
            assert text_of(await ask(server.where["http"], "hey")) == "LOUD HEY"


async def test_what_a_module_or_a_tool_prints_is_not_on_stdout(tmp_path: Path) -> None:
    module = "print('imported')\ndef shout() -> str:\n    print('called')\n    return 'so'\n"
    (tmp_path / "chatty.py").write_text(module, encoding="utf-8")
    options = ("--port", "0", "--tools", "chatty:shout")
    async with serving(*options, cwd=tmp_path, lines=4) as server:
        assert server.lines[0].startswith("listening ws=")
        with trio.fail_after(30):
            assert "so" in text_of(await ask(server.where["http"], "Call shout."))
            await server.wait_said("imported\n")
            await server.wait_said("called\n")
    ran = await run_command("serve", *options, "--check", cwd=tmp_path)
    assert (ran.code, ran.out.startswith("any name -> "), ran.err) == (0, True, "imported\n")


async def test_an_upstream_of_chat_completions() -> None:
    async with upstream.upstream(upstream.text("from ", "upstream")) as chat:
        options = ("--port", "0", "--upstream", chat.url, "--upstream-kind", "chat", "--upstream-model", "small")
        async with serving(*options, env={"AGENTWIRE_UPSTREAM_KEY": "its-key"}) as server:
            assert server.lines[1] == f"engine: chat completions of {chat.url}"
            assert text_of(await ask(server.where["http"], "hey")) == "from upstream"
            async with open_http_client(server.where["http"], limits=Limits()) as http:
                models = json.loads((await http.request("GET", "/models")).body)
    assert [model["id"] for model in models["data"]] == ["small"]
    assert chat.body["model"] == "small"
    assert chat.headers[0]["authorization"] == "Bearer its-key"


async def test_an_upstream_is_asked_what_it_speaks() -> None:
    async with (
        serving("--port", "0") as behind,
        serving("--port", "0", "--upstream", behind.where["http"].removesuffix("/v1")) as server,
    ):
        assert server.lines[1] == f"engine: the WebSocket mode of {behind.where['http']} (agentwire), models: builtin"
        with trio.fail_after(30):
            assert "hello" in text_of(await ask(server.where["http"], 'say "hello"')).lower()


async def test_an_upstream_of_the_file_is_asked_what_it_speaks(tmp_path: Path) -> None:
    (tmp_path / "behind.key").write_text("sk-behind\n")
    file = tmp_path / "routes.toml"
    async with serving("--port", "0", env={"AGENTWIRE_KEYS": "sk-behind"}) as behind:
        base = behind.where["http"]
        file.write_text(f"""
            [upstreams.one]
            kind = "auto"
            base-url = "{base.removesuffix("/v1")}"
            key-file = "behind.key"
            [[models]]
            name = "any"
            upstream = "one"
        """)
        async with serving("--port", "0", "--config", file, lines=4) as server:
            found = f"the WebSocket mode of {base} (agentwire), models: builtin"
            assert server.lines[1:3] == ["engine: routes for 'any'", f"upstream one: {found}"]
            with trio.fail_after(30):
                assert "hello" in text_of(await ask(server.where["http"], 'say "hello"')).lower()


async def test_an_upstream_that_comes_later() -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    async with serving("--port", "0", "--upstream", url) as server:
        assert server.lines[1] == f"engine: {url}: Connection refused; each turn looks for it again"
        with trio.fail_after(60):
            with pytest.raises(HttpStatusError, match="upstream_unreachable"):
                await ask(server.where["http"], "hey")
            async with serving("--port", str(port)):
                assert "hello" in text_of(await ask(server.where["http"], 'say "hello"')).lower()


async def test_what_the_upstreams_model_can_read() -> None:
    body = json.dumps({"model": "m", "input": "x" * 1000}).encode()
    async with (
        upstream.upstream(upstream.text("ok")) as chat,
        serving(
            "--port", "0", "--upstream", chat.url, "--upstream-kind", "chat", "--upstream-context", "100"
        ) as server,
        open_http_client(server.where["http"], limits=Limits()) as http,
    ):
        with pytest.raises(HttpStatusError) as caught:
            await http.request("POST", "/responses", json=body)
        assert caught.value.status == 400
        assert b"context_length_exceeded" in caught.value.body
        assert not chat.bodies


async def test_tools_that_the_server_runs(folder: Path) -> None:
    with trio.fail_after(60):
        async with serving("--port", "0", "--tools", "mine:tools", cwd=folder, lines=4) as server:
            assert server.lines[2] == "tools run by this server: add, double"
            response = await ask(server.where["http"], "call add with a=3 and b=4")
    calls = [(item["name"], item["output"]) for item in response["output"] if item["type"] == "mcp_call"]
    assert calls == [("add", "7")]


async def test_keys_come_from_a_file_or_from_the_environment(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("# ours\nsecret-of-file\n", encoding="utf-8")
    env = {"AGENTWIRE_KEYS": "secret-of-environment"}
    with trio.fail_after(60):
        async with serving("--port", "0", "--key-file", keys, env=env) as server:
            assert server.lines[2] == "API key: one of those given"
            await _accepts_only("secret-of-file", server.where["http"])
        async with serving("--port", "0", env=env) as server:
            await _accepts_only("secret-of-environment", server.where["http"])


async def _accepts_only(key: str, url: str) -> None:
    async with open_http_client(url, headers={"authorization": f"Bearer {key}"}, limits=Limits()) as http:
        assert (await http.request("GET", "/models")).status == 200
    async with open_http_client(url, headers={"authorization": "Bearer another"}, limits=Limits()) as http:
        with pytest.raises(HttpStatusError) as refused:
            await http.request("GET", "/models")
        assert refused.value.status == 401


async def test_a_unix_socket_alone_and_beside_tcp(tmp_path: Path) -> None:
    path = tmp_path / "a wire.sock"
    with trio.fail_after(60):
        async with serving("--unix", path) as server:
            assert server.where == {"unix": str(path)}
            assert text_of(await ask("http://localhost/v1", 'say "hi"', unix_path=str(path))) == "hi"
            assert await server.signal_and_wait(signal.SIGTERM) == 0
        assert not path.exists()
        async with serving("--unix", path, "--port", "0") as server:
            assert server.where.keys() == {"ws", "http", "unix"}


async def test_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    issued = authority.issue_cert("127.0.0.1")
    certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    with trio.fail_after(60):
        async with serving("--port", "0", "--tls-cert", certificate, "--tls-key", key) as server:
            assert server.where["ws"].startswith("wss://")
            assert text_of(await ask(server.where["http"], 'say "hi"', tls=trusting)) == "hi"
    ran = await run_command("serve", "--tls-cert", certificate, "--tls-key", certificate)
    assert (ran.code, "cannot be used" in ran.err) == (2, True)


async def test_a_file_says_the_same_as_the_options_and_what_is_typed_wins(folder: Path) -> None:
    file = folder / "agentwire.toml"
    file.write_text(
        'port = 1\nengine = "mine:loud"\nmodel-name = "shout"\nlog_level = "error"\n'
        "[limits]\ninput_items = 1\nidle = 3\n",
        encoding="utf-8",
    )
    with trio.fail_after(60):
        async with serving("--config", file, "--port", "0", "--limit", "idle=inf", cwd=folder) as server:
            url = server.where["http"]
            assert not url.endswith(":1/v1")
            assert text_of(await ask(url, "hey")) == "LOUD HEY"
            async with open_http_client(url, limits=Limits()) as http:
                models = json.loads((await http.request("GET", "/models")).body)
                assert [model["id"] for model in models["data"]] == ["shout"]
                message = {"role": "user", "content": "x"}
                with pytest.raises(HttpStatusError) as refused:
                    await http.request("POST", "/responses", json={"input": [message, message]})
            assert refused.value.status == 400


@pytest.mark.parametrize(
    ("options", "file", "announced"),
    [
        ((), "", "goaway, response.cancel, sessions; within=60"),
        (("--resume-within", "5"), "resume-within = 7", "goaway, response.cancel, sessions; within=5"),
        ((), "resume-within = 0", "goaway, response.cancel"),
        ((), 'extension = ["goaway", "sessions"]', "goaway, sessions; within=60"),
        (("--extension", "none"), 'extension = "goaway"', None),
    ],
)
async def test_it_says_which_extensions_its_clients_may_ask_for(
    tmp_path: Path, options: tuple[str, ...], file: str, announced: str | None
) -> None:
    config = tmp_path / "agentwire.toml"
    config.write_text(f"port = 0\n{file}\n", encoding="utf-8")
    with trio.fail_after(60):
        async with serving("--config", config, *options) as server:
            port = int(server.where["http"].rpartition(":")[2].partition("/")[0])
            peer = Peer(await trio.open_tcp_stream("127.0.0.1", port))
            await peer.shake_hands()
            assert peer.headers.get("agentwire-extensions") == announced
            await peer.close()


CANNOT = {
    "no such extension": (("--extension", "magic"), "no extension 'magic'; there are goaway"),
    "no time": (("--resume-within", "-1"), "must be 0 or more seconds"),
    "open to all": (("--host", "0.0.0.0"), "without an API key"),
    "no such host": (("--host", "no.such.host.invalid", "--key-file", "keys"), "cannot listen on no.such.host.invalid"),
    "bad port": (("--port", "70000"), "--port must be 0 to 65535"),
    "port in words": (("--port", "many"), 'unable to convert "many" into int'),
    "unknown option": (("--prot", "1"), "(see agentwire serve --help)"),
    "no colon": (("--engine", "mine"), "must be module:name"),
    "no module": (("--engine", "not_here:x"), "no module 'not_here'"),
    "no package": (("--engine", "not_here.sub:x"), "no module 'not_here.sub'"),
    "no name": (("--engine", "mine:silent"), "no 'silent' in module mine"),
    "no engine": (("--engine", "mine:number"), "mine:number is no engine"),
    "wrong signature": (("--engine", "mine:wants_an_argument"), "is no engine"),
    "gives a coroutine": (("--engine", "mine:coroutine"), "is no engine"),
    "fails": (("--engine", "mine:fails"), "calling 'mine:fails' failed in"),
    "no signature": (("--engine", "builtins:dict"), "is no engine"),
    "gives nothing": (("--engine", "mine:nothing"), "is no engine"),
    "broken module": (("--engine", "broken:x"), "broken.py, line 3: AttributeError"),
    "garbled module": (("--engine", "garbled:x"), "garbled.py, line 1: SyntaxError"),
    "needy module": (("--engine", "needy:x"), "needy.py, line 1: ModuleNotFoundError"),
    "a module that exits": (("--engine", "quits:x"), "quits.py, line 2: SystemExit: set DATABASE_URL"),
    "an engine that exits": (("--engine", "mine:exits"), "calling 'mine:exits' failed in"),
    "a file": (("--engine", "mine.py:loud"), "such as mine:loud, and 'mine.py' is the name of no module"),
    "a path": (("--tools", "./mine.py:add"), "such as mine:add, and './mine.py' is the name of no module"),
    "a relative module": (("--engine", ".mine:loud"), "'.mine' is the name of no module"),
    "two engines": (("--engine", "mine:loud", "--upstream", "http://127.0.0.1:1/v1"), "choose one"),
    "a context of nobody": (("--upstream-context", "100"), "--upstream-context"),
    "no context": (("--upstream", "http://127.0.0.1:1/v1", "--upstream-context", "0"), "--upstream-context"),
    "bad upstream": (("--upstream", "localhost"), "--upstream: "),
    "bad wire": (("--upstream", "localhost", "--upstream-kind", "wire"), "--upstream: "),
    "bad tool": (("--tools", "mine:star"), "--tools: mine:star: "),
    "tool twice": (("--tools", "mine:add", "mine:tools"), "two tools are called 'add'"),
    "no key file": (("--key-file", "no-keys"), "cannot read no-keys"),
    "empty key file": (("--key-file", "empty"), "no API key in empty"),
    "no config": (("--config", "no.toml"), "cannot read no.toml"),
    "no toml": (("--config", "mine.py"), "mine.py is no TOML"),
    "unknown key": (("--config", "unknown.toml"), "no option 'prot' (did you mean 'port'?); there are"),
    "wrong type": (("--config", "wrong.toml"), "wrong.toml: port: it must be a whole number, not a text"),
    "two wrong keys": (("--config", "unknown.toml", "--limit", "lanes=0"), "no option 'prot'"),
    "unknown bound": (("--config", "bound.toml"), "bound.toml: limits: there is no 'lane' (did you mean 'lanes'?)"),
    "no such bound": (("--limit", "lane=1"), "--limit: there is no bound 'lane' (did you mean 'lanes'?)"),
    "a bound of another type": (("--config", "text.toml"), "text.toml: limits.drain: it must be a number, not 'x'"),
    "a bound of the file": (("--config", "minus.toml"), "minus.toml: limits.drain: it must not be negative"),
    "limits no table": (("--config", "table.toml"), "limits must be a table"),
    "bound not positive": (("--limit", "lanes=0"), "--limit lanes: it must be greater than 0"),
    "bound no number": (("--limit", "lanes=few"), "--limit lanes: it must be a whole number"),
    "bound without value": (("--limit", "lanes"), "must be NAME=VALUE"),
    "key without certificate": (("--tls-key", "x.pem"), "needs --tls-cert"),
    "no certificate": (("--tls-cert", "x.pem"), "cannot read x.pem: "),
    "no certificate in it": (("--tls-cert", "empty"), "empty cannot be used: there is no certificate"),
    "no such option's help": (("words",), "(see agentwire serve --help)"),
    "a key file that is none": (("--key-file", "mine.py"), "mine.py: an API key must be"),
}


@pytest.fixture
def in_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The command runs in this process, in the folder, and leaves nothing of it behind."""
    (folder / "keys").write_text("a-key\n", encoding="utf-8")
    (folder / "empty").write_text("# none\n", encoding="utf-8")
    (folder / "unknown.toml").write_text("prot = 1\n", encoding="utf-8")
    (folder / "wrong.toml").write_text('port = "x"\n', encoding="utf-8")
    (folder / "bound.toml").write_text("[limits]\nlane = 1\n", encoding="utf-8")
    (folder / "table.toml").write_text("limits = 1\n", encoding="utf-8")
    (folder / "text.toml").write_text('[limits]\ndrain = "x"\n', encoding="utf-8")
    (folder / "minus.toml").write_text("[limits]\ndrain = -1\n", encoding="utf-8")
    for variable in ("AGENTWIRE_KEYS", "AGENTWIRE_TRACEBACK"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    log = logging.getLogger("agentwire")
    level = log.level
    yield folder
    log.setLevel(level)
    for name in ("mine", "broken", "garbled", "needy", "quits"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("case", CANNOT)
def test_what_cannot_be_done_is_one_line_and_exit_code_2(
    in_folder: Path, case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, told = CANNOT[case]
    code = main(["serve", *(() if "--port" in arguments else ("--port", "0")), *arguments])
    said = capsys.readouterr()
    assert told in said.err
    assert said.err.startswith("agentwire: ")
    assert said.err.count("\n") == 1
    assert (code, said.out) == (2, "")


def test_a_file_beside_a_module_may_have_its_name(in_folder: Path) -> None:
    (in_folder / "mine").write_text("a program\n", encoding="utf-8")
    assert [tool.name for tool in load_tools(["mine:add"])] == ["add"]


async def test_a_port_that_is_taken_is_one_line_and_exit_code_2() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        ran = await run_command("serve", "--port", port)
    assert (ran.code, ran.out) == (2, "")
    assert f"cannot listen on 127.0.0.1:{port}" in ran.err
    assert ran.err.count("\n") == 1


async def test_paths_in_the_file_start_from_its_folder(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "keys").write_text("a-key\n", encoding="utf-8")
    (tmp_path / "etc" / "agentwire.toml").write_text(
        'port = 0\nkey-file = "keys"\nunix = "wire.sock"\n', encoding="utf-8"
    )
    with trio.fail_after(60):
        async with serving("--config", "etc/agentwire.toml", cwd=tmp_path) as server:
            await _accepts_only("a-key", server.where["http"])
            assert server.where["unix"] == "etc/wire.sock"
            assert (tmp_path / "etc" / "wire.sock").is_socket()


async def test_a_list_in_the_file_may_be_a_single_name(folder: Path) -> None:
    (folder / "agentwire.toml").write_text('tools = "mine:add"\nport = 0\n', encoding="utf-8")
    with trio.fail_after(60):
        async with serving("--config", "agentwire.toml", cwd=folder, lines=4) as server:
            assert server.lines[2] == "tools run by this server: add"


async def test_keys_in_the_environment_that_are_none() -> None:
    ran = await run_command("serve", env={"AGENTWIRE_KEYS": " "})
    assert (ran.code, "AGENTWIRE_KEYS is set, but holds no key" in ran.err) == (2, True)


@pytest.mark.parametrize(("arguments", "file"), [(("--generous",), ""), ((), "generous = true"), ((), "")])
async def test_a_generous_server_remembers_more(arguments: tuple[str, ...], file: str, tmp_path: Path) -> None:
    config = tmp_path / "agentwire.toml"
    config.write_text(f"port = 0\n{file}\n", encoding="utf-8")
    with trio.fail_after(30):
        async with serving("--config", config, *arguments) as server:
            port = int(server.where["ws"].rpartition(":")[2].partition("/")[0])
            peer = Peer(await trio.open_tcp_stream("127.0.0.1", port))
            await peer.shake_hands()
            first = (await peer.ask("one"))[-1]["response"]["id"]
            await peer.ask("two", previous_response_id=first)
            again = (await peer.ask("one again", previous_response_id=first))[-1]
            await peer.close()
    assert again["type"] == ("response.completed" if arguments or file else "error")
