"""No secret stays: each becomes a label, and the same secret the same one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agentwire.testing import network
from agentwire.testing.http_scan import Head
from agentwire.testing.redaction import Secrets
from agentwire.transport.frames import client_frame, server_frame

SECRET = "sk-very-secret"


def test_the_same_key_has_the_same_label_wherever_it_stands() -> None:
    secrets = Secrets()
    assert secrets.label("key", "one") == "(key 1)"
    assert secrets.label("key", "two") == "(key 2)"
    assert secrets.label("key", "one") == "(key 1)"
    assert secrets.label("session", "one") == "(session 1)"
    assert secrets.label("key", "(key 7)") == "(key 7)"


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("authorization", f"Bearer {SECRET}", "(key 1)"),
        ("api-key", SECRET, "(key 1)"),
        ("cookie", SECRET, "(cookie 1)"),
        ("agentwire-session", SECRET, "(session 1)"),
        (
            "sec-websocket-protocol",
            f"realtime, openai-insecure-api-key.{SECRET}",
            "realtime, openai-insecure-api-key.(key 1)",
        ),
        ("user-agent", "OpenAI/Python", "OpenAI/Python"),
    ],
)
def test_headers(name: str, value: str, shown: str) -> None:
    assert Secrets().head(Head(0, "GET", headers=((name, value),))).header(name) == shown


@pytest.mark.parametrize("name", ["key", "api_key", "access_token", "API-Key"])
def test_queries(name: str) -> None:
    target = Secrets().head(Head(0, "GET", f"/v1/responses?x=1&{name}={SECRET}")).target
    assert SECRET not in target
    assert target.startswith("/v1/responses?x=1&")
    assert Secrets().head(Head(0, "GET", "/v1/responses?stream=true")).target == "/v1/responses?stream=true"


@pytest.mark.parametrize(
    "message",
    [
        {"tools": [{"type": "mcp", "server_url": "http://x", "headers": {"Authorization": SECRET, "x": SECRET}}]},
        {"tools": [{"type": "mcp", "authorization": SECRET}]},
        {"type": "agentwire:welcome", "session": {"token": SECRET}, "resumed": False},
        {"api_key": SECRET},
    ],
)
def test_messages(message: dict[str, object]) -> None:
    shown = Secrets().message(json.dumps(message).encode())
    assert SECRET.encode() not in shown
    assert json.loads(shown).keys() == message.keys()


@pytest.mark.parametrize(
    "payload",
    [
        b'{"input": "my \\"token\\": is nice"}',
        b'{"headers": {"a": "b"}}',
        b'{"tools": [{"parameters": {"properties": {"authorization": {"type": "string"}}}}]}',
        b'not json, "token": x',
        b"\xff\xfe",
    ],
)
def test_what_is_no_secret_stays_to_the_byte(payload: bytes) -> None:
    assert Secrets().message(payload) == payload


async def test_no_secret_is_in_a_trace_or_its_file(tmp_path: Path) -> None:
    net = network()
    client, server = net.pair()
    head = (
        f"GET /v1/responses?api_key={SECRET} HTTP/1.1\r\nupgrade: websocket\r\nauthorization: Bearer {SECRET}\r\n\r\n"
    )
    await client.send_all(head.encode())
    await server.send_all(b"HTTP/1.1 101 Switching\r\n\r\n")
    token = json.dumps({"type": "agentwire:welcome", "session": {"token": SECRET}}).encode()
    await server.send_all(server_frame(token))
    tools = json.dumps({"tools": [{"type": "mcp", "authorization": f"Bearer {SECRET}"}]}).encode()
    await client.send_all(client_frame(tools, b"abcd"))
    assert SECRET not in net.trace.timeline()
    net.trace.save(tmp_path / "x.trace")
    text = (tmp_path / "x.trace").read_text()
    assert SECRET not in text
    assert text.count("(key 1)") == 3
    assert "(session 1)" in text
