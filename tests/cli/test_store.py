"""``agentwire serve --store``: what one process stored another goes on with, and what must not be kept is not."""

from __future__ import annotations

import json
import sqlite3
import urllib.error
import urllib.request
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from agentwire.cli.failures import UserError
from agentwire.cli.options import ServeOptions
from agentwire.cli.storing import check_store, store_below
from tests.cli.kit import ServeProcess, run_command, serving, wait_until
from tests.runtime.kit import Event
from tests.server.kit import Closed, Peer

pytestmark = pytest.mark.socket

ENGINE = """
import trio

async def recall(ask, out):
    said = [item.text for item in ask.items if item.type == "message" and item.role == "user"]
    await out.text("|".join(said))
    if said[-1] == "hang":
        await trio.sleep_forever()
"""
LIMITS = ("--limit", "store_heartbeat=0.2", "--limit", "store_silence=1")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "recall_engine.py").write_text(ENGINE, encoding="utf-8")
    return tmp_path


def serve(folder: Path, store: str) -> Any:
    return serving("--engine", "recall_engine:recall", "--port", "0", "--store", store, *LIMITS, cwd=folder)


@asynccontextmanager
async def connected(running: ServeProcess) -> AsyncGenerator[Peer]:
    stream = await trio.open_tcp_stream("127.0.0.1", port_of(running))
    try:
        peer = Peer(stream)
        await peer.shake_hands()
        yield peer
    finally:
        await trio.aclose_forcefully(stream)


def port_of(running: ServeProcess) -> int:
    return int(running.where["http"].rsplit(":", 1)[1].split("/")[0])


async def call(running: ServeProcess, path: str, body: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
    """One HTTP request: status and JSON."""
    url = f"http://127.0.0.1:{port_of(running)}/v1/responses{path}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"})
    return await trio.to_thread.run_sync(partial(_open, request), abandon_on_cancel=True)


def _open(request: urllib.request.Request) -> tuple[int, dict[str, Any]]:
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def text_of(events: list[Event]) -> str:
    return "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")


async def rollout(running: ServeProcess, name: str, begun: dict[str, str]) -> None:
    """Four stored turns, then one that does not end; the latest id that was stored is noted."""
    async with connected(running) as peer:
        parent: str | None = None
        for turn in range(4):
            events = await peer.ask(f"{name}{turn}", store=True, previous_response_id=parent)
            parent = events[-1]["response"]["id"]
        await peer.create("hang", store=True, previous_response_id=parent)
        events = await peer.until("response.output_text.delta")
        assert parent is not None
        begun[parent] = events[0]["response"]["id"]
        with pytest.raises(Closed):
            await peer.receive()


async def test_what_one_process_stored_another_goes_on_with_when_it_is_killed(folder: Path) -> None:
    store = "sqlite:///shared.db"
    with trio.fail_after(90):
        async with serve(folder, store) as first, serve(folder, store) as second:
            begun: dict[str, str] = {}
            _, behind = await call(first, "", {"model": "m", "input": "hang", "background": True})
            async with trio.open_nursery() as rollouts:
                for number in range(5):
                    rollouts.start_soon(rollout, first, f"c{number}.", begun)
                await wait_until(lambda: len(begun) == 5)
                assert (await call(second, f"/{behind['id']}"))[1]["status"] == "in_progress"
                first.process.kill()
            for parent, unfinished in begun.items():
                async with connected(second) as peer:
                    events = await peer.ask("after", store=True, previous_response_id=parent)
                    said = text_of(events).split("|")
                    name = said[0].split(".")[0]
                    assert said == [*(f"{name}.{turn}" for turn in range(4)), "after"]
                assert (await call(second, f"/{parent}"))[1]["status"] == "completed"
                assert (await call(second, f"/{unfinished}"))[0] == 404, "half a turn is no response"
            while (shown := (await call(second, f"/{behind['id']}"))[1])["status"] == "in_progress":  # noqa: ASYNC110 - nobody tells us
                await trio.sleep(0.1)
            assert (shown["status"], shown["error"]["code"]) == ("failed", "server_error")


async def test_a_restarted_server_goes_on(folder: Path) -> None:
    with trio.fail_after(60):
        async with serve(folder, "sqlite:///kept.db") as first, connected(first) as peer:
            parent = (await peer.ask("before", store=True))[-1]["response"]["id"]
        async with serve(folder, "sqlite:///kept.db") as second, connected(second) as peer:
            events = await peer.ask("after", previous_response_id=parent)
    assert text_of(events) == "before|after"


async def test_zero_retention_writes_nothing(folder: Path) -> None:
    before = sorted(path.name for path in folder.rglob("*") if "__pycache__" not in path.parts)
    with trio.fail_after(60):
        async with serve(folder, "none") as running:
            async with connected(running) as peer:
                first = (await peer.ask("a secret", store=True))[-1]["response"]
                second = await peer.ask("goes on", store=True, previous_response_id=first["id"])
            assert first["store"] is False
            assert text_of(second) == "a secret|goes on", "a connection's own memory is no retention"
            assert (await call(running, f"/{first['id']}"))[0] == 404
            async with connected(running) as other:
                refused = await other.ask("from elsewhere", previous_response_id=first["id"])
            status, answer = await call(running, "", {"model": "m", "input": "x", "background": True})
    assert refused[0]["error"]["code"] == "previous_response_not_found"
    assert (status, answer["error"]["param"]) == (400, "background")
    assert sorted(path.name for path in folder.rglob("*") if "__pycache__" not in path.parts) == before


async def test_what_is_not_to_be_stored_is_not_in_the_file(folder: Path) -> None:
    with trio.fail_after(60):
        async with serve(folder, "sqlite:///some.db") as running, connected(running) as peer:
            hidden = (await peer.ask("hidden words", store=False))[-1]["response"]["id"]
            await peer.ask("alone", store=False)
            with closing(sqlite3.connect(folder / "some.db")) as file:
                assert file.execute("SELECT count(*) FROM responses").fetchone() == (0,)
            assert (await call(running, f"/{hidden}"))[0] == 404
    assert not any(b"hidden words" in path.read_bytes() for path in folder.glob("some.db*"))


@pytest.mark.parametrize(
    ("store", "why"),
    [
        ("redis://localhost", "must be memory, none or sqlite:///PATH"),
        ("sqlite://name.db", "names no file"),
        ("sqlite:///", "names no file"),
        ("sqlite:///a.db?mode=ro", "names no file"),
        ("sqlite:///nowhere/at/all.db", "cannot open the store"),
    ],
)
async def test_a_store_that_cannot_be_is_refused(folder: Path, store: str, why: str) -> None:
    ran = await run_command("serve", "--port", "0", "--store", store, cwd=folder)
    assert ran.code != 0
    assert "--store" in ran.err
    assert why in ran.err.replace("\n", " ")
    assert "Traceback" not in ran.err


async def test_a_file_of_another_program_is_refused(folder: Path) -> None:
    (folder / "note.db").write_text("no database", encoding="utf-8")
    ran = await run_command("serve", "--port", "0", "--store", "sqlite:///note.db", cwd=folder)
    assert (ran.code, "is no SQLite file" in ran.err) == (2, True)


def test_paths_are_relative_after_three_slashes_and_absolute_after_four() -> None:
    assert check_store("sqlite:///a%20b.db") == "a b.db"
    assert check_store("sqlite:////var/lib/a.db") == "/var/lib/a.db"
    assert check_store("memory") is check_store("none") is check_store(None) is None
    with pytest.raises(UserError):
        check_store("sqlite")


def test_a_path_of_the_file_starts_from_its_folder(tmp_path: Path) -> None:
    (tmp_path / "a b.toml").write_text('store = "sqlite:///kept%20here.db"\n', encoding="utf-8")
    options, _, _ = ServeOptions(config=str(tmp_path / "a b.toml")).with_file()
    assert check_store(options.store) == str(tmp_path / "kept here.db")
    assert store_below("memory", tmp_path) == "memory"
    assert check_store(store_below("sqlite:///a.db", Path())) == "a.db"
    assert check_store(store_below("sqlite:////var/lib/a.db", tmp_path)) == "/var/lib/a.db"
    typed, _, _ = ServeOptions(config=str(tmp_path / "a b.toml"), store="sqlite:///b.db").with_file()
    assert check_store(typed.store) == "b.db"
