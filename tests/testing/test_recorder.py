"""The recorder hands on what comes, to the byte but for three headers, and records it."""

from __future__ import annotations

import ssl
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme

import agentwire
from agentwire.engines import builtin
from agentwire.testing import Trace, check_all, network
from agentwire.testing.entry import Entry
from agentwire.testing.invariants import InvariantBroken, one_terminal
from agentwire.testing.journal import entries
from agentwire.testing.recorder import HeadRewriter, open_recorder, recorded_connector, recorded_listener
from agentwire.testing.trace_file import TraceWriter

REQUEST = b"POST /v1/x HTTP/1.1\r\nHost: 127.0.0.1:1\r\nAccept-Encoding: gzip, br\r\nContent-Length: 4\r\n\r\nbody"
REWRITTEN = b"POST /v1/x HTTP/1.1\r\nHost: model.example:8\r\nContent-Length: 4\r\n\r\nbody"
UPGRADE = b"GET / HTTP/1.1\r\nupgrade: websocket\r\nsec-websocket-extensions: permessage-deflate\r\nhost: a\r\n\r\n"


@pytest.mark.parametrize("step", [1, 3, 1000])
def test_heads_name_the_server_and_offer_no_compression(step: int) -> None:
    said = REQUEST + REQUEST + UPGRADE + b"Host: frames\r\n\r\n"
    rewriter = HeadRewriter("model.example:8")
    sent = b"".join(rewriter.feed(said[start : start + step]) for start in range(0, len(said), step))
    upgrade = b"GET / HTTP/1.1\r\nupgrade: websocket\r\nHost: model.example:8\r\n\r\n"
    assert sent == REWRITTEN + REWRITTEN + upgrade + b"Host: frames\r\n\r\n"


def test_what_is_no_http_passes_as_it_is() -> None:
    rewriter = HeadRewriter("h")
    assert rewriter.feed(b"\x16\x03\x01 hello") == b"\x16\x03\x01 hello"
    endless = b"A" * 70_000
    assert HeadRewriter("h").feed(endless) == endless


@pytest.mark.socket
async def test_a_server_is_recorded_through_a_relay(tmp_path: Path) -> None:
    with trio.fail_after(20), TraceWriter(tmp_path / "x.trace") as writer:
        trace = Trace(sink=writer.write)
        async with trio.open_nursery() as nursery:
            server: agentwire.Server = await nursery.start(partial(agentwire.serve, builtin()))
            async with open_recorder(f"http://127.0.0.1:{server.port}/v1", trace) as recorder:
                assert recorder.through("ws").startswith("ws://127.0.0.1:")
                for transport in ("websocket", "http"):
                    url = recorder.through("ws" if transport == "websocket" else "http")
                    wanted = agentwire.connect(url, transport=transport, key="sk-x")
                    async with wanted as wire, wire.run('say "hi"') as run:
                        await run.finish()
                        assert run.text == "hi"
            nursery.cancel_scope.cancel(reason="the test is over")
    loaded = Trace.load(tmp_path / "x.trace")
    check_all(loaded)
    kinds = [entry.type for entry in entries(loaded)]
    assert kinds.count("response.completed") == kinds.count("response.create") == 2
    assert "(key 1)" in loaded.timeline() or "(key 1)" in (tmp_path / "x.trace").read_text()
    assert "sk-x" not in (tmp_path / "x.trace").read_text()


def ended_of(trace: Trace) -> list[Entry]:
    return [entry for entry in entries(trace) if entry.type == "connection.ended"]


@pytest.mark.socket
@pytest.mark.parametrize("leaves", ["client", "server"])
async def test_who_ends_a_connection_is_recorded(leaves: str) -> None:
    begun = b'data: {"type":"response.created","sequence_number":0,"response":{"id":"r"}}\n\n'
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"

    async def serve(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(head + begun)
        if leaves == "client":
            await stream.receive_some()

    trace = Trace()
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            (listener,) = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
            port = listener.socket.getsockname()[1]
            async with open_recorder(f"http://127.0.0.1:{port}", trace) as recorder:
                stream = await trio.open_tcp_stream(*recorder.address)
                async with stream:
                    await stream.send_all(b"POST /v1/responses HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}")
                    received = b""
                    while begun not in received:
                        received += await stream.receive_some()
                    while leaves == "server" and await stream.receive_some():
                        pass
                while not ended_of(trace):  # noqa: ASYNC110 - nobody tells
                    await trio.sleep(0.01)
            nursery.cancel_scope.cancel(reason="the test is over")
    (ended,) = ended_of(trace)
    assert ended.event["by"] == leaves
    if leaves == "client":
        one_terminal(trace)
    else:
        with pytest.raises(InvariantBroken, match="a response has no end"):
            one_terminal(trace)


@pytest.mark.socket
async def test_a_server_that_is_not_there_is_told_by_a_reset() -> None:
    trace = Trace()
    with trio.fail_after(20):
        async with open_recorder("http://127.0.0.1:1/v1", trace) as recorder:
            stream = await trio.open_tcp_stream(*recorder.address)
            with pytest.raises(trio.BrokenResourceError):
                await stream.receive_some()
            await stream.aclose()
        assert recorder.failed == 1
    assert "http://127.0.0.1:1/v1 cannot be reached" in trace.timeline()


@pytest.mark.socket
async def test_a_server_over_tls() -> None:
    authority, server_tls = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    client_tls = ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(server_tls)
    authority.configure_trust(client_tls)
    trace, distrust = Trace(), Trace()
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            serve = partial(agentwire.serve, builtin(), host="localhost", tls=server_tls)
            server: agentwire.Server = await nursery.start(serve)
            async with (
                open_recorder(f"wss://localhost:{server.port}", trace, tls=client_tls) as recorder,
                agentwire.connect(recorder.through("ws")) as wire,
                wire.run('say "hi"') as run,
            ):
                await run.finish()
                assert run.text == "hi"
            async with open_recorder(f"https://localhost:{server.port}", distrust) as recorder:
                stream = await trio.open_tcp_stream(*recorder.address)
                with pytest.raises(trio.BrokenResourceError):
                    await stream.receive_some()
                await stream.aclose()
            nursery.cancel_scope.cancel(reason="the test is over")
    check_all(trace)
    assert "response.completed" in trace.timeline()
    assert "cannot be reached: TLS failed: " in distrust.timeline()


@pytest.mark.parametrize("url", ["", "127.0.0.1:8000", "ftp://x", "http://"])
async def test_an_url_that_is_none(url: str) -> None:
    with pytest.raises(ValueError, match="a server's URL begins with"):
        async with open_recorder(url, Trace()):
            pass


@pytest.mark.parametrize("recorded", ["client", "server"])
async def test_a_process_records_its_own_connections(autojump_clock: object, recorded: str) -> None:
    net, trace = network(), Trace()
    listener: Any = recorded_listener(net.listener(), trace) if recorded == "server" else net.listener()
    dial: Any = recorded_connector(net.connect, trace) if recorded == "client" else net.connect
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(agentwire.serve, builtin(), host=None, listeners=[listener]))
        for _ in range(2):
            async with agentwire.connect("ws://localhost", connector=dial) as wire, wire.run('say "hi"') as run:
                await run.finish()
        nursery.cancel_scope.cancel(reason="the test is over")
    check_all(trace)
    told = [(entry.connection, entry.who, entry.type) for entry in entries(trace) if entry.type.startswith("response.")]
    assert told == [
        (entry.connection, entry.who, entry.type) for entry in entries(net.trace) if entry.type.startswith("response.")
    ]
    assert {number for number, _, _ in told} == {0, 1}
