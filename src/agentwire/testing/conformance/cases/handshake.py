"""Cases about the opening handshake."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack

from agentwire.testing.conformance.peer import Peer
from agentwire.testing.conformance.registry import case
from agentwire.testing.conformance.turns import CaseFailed, about, check
from agentwire.testing.conformance.wire import Closed, Refused

__all__ = [
    "a_page_from_elsewhere_opens_no_socket",
    "a_plain_get_is_told_to_upgrade",
    "a_wrong_key_is_refused_before_the_upgrade",
    "an_offer_of_compression_is_answered",
    "an_upgrade_opens_a_socket_that_takes_turns",
    "another_version_of_websocket_is_refused",
    "answers_have_a_request_id",
    "beta_headers_are_accepted",
    "connections_are_bounded",
    "headers_of_a_clients_own_are_ignored",
    "headers_of_an_http_client_are_no_hindrance",
    "no_subprotocol_is_selected",
    "there_are_no_sockets_elsewhere",
    "there_is_an_alias_for_clients_that_add_to_the_path",
    "unknown_query_parameters_are_ignored",
]

Headers = Sequence[tuple[str, str]]


async def refusal(peer: Peer, *, target: str | None = None, key: str | None = None, version: str = "13") -> Refused:
    """How an upgrade is refused."""
    try:
        async with peer.socket(target=target, key=key, version=version):
            pass
    except Refused as refused:
        return refused
    except Closed as closed:
        raise CaseFailed(f"there was no answer to the upgrade: {closed}") from closed
    raise CaseFailed("the upgrade was accepted")


@case(1, "AW-H-001", "AW-H-002", "AW-H-003", "AW-X-001")
async def an_upgrade_opens_a_socket_that_takes_turns(peer: Peer) -> None:
    """Open a WebSocket with nothing but what is needed, and hold two turns on it."""
    async with peer.socket() as socket:  # the answer to the key is checked there
        await socket.usable()
        await socket.usable()


@case(3, "AW-H-005")
async def unknown_query_parameters_are_ignored(peer: Peer) -> None:
    """Ask with a query that means nothing."""
    joint = "&" if "?" in peer.resource else "?"
    async with peer.socket(target=f"{peer.resource}{joint}api-version=v1&foo=bar") as socket:
        await socket.usable()


async def _served_with(peer: Peer, headers: Headers) -> None:
    async with peer.socket(headers=headers) as socket:
        await socket.usable()


@case(4, "AW-H-006")
async def headers_of_an_http_client_are_no_hindrance(peer: Peer) -> None:
    """Send what an HTTP client's defaults add to the upgrade."""
    await _served_with(peer, [("Accept", "application/json"), ("Content-Type", "application/json")])


@case(5, "AW-H-007")
async def beta_headers_are_accepted(peer: Peer) -> None:
    """Send each value of OpenAI-Beta that clients send, and one that nobody does."""
    for value in ("responses_websockets=2026-02-04", "responses_websockets=2026-02-06", "made_up=v9"):
        await _served_with(peer, [("OpenAI-Beta", value)])


@case(6, "AW-H-008")
async def headers_of_a_clients_own_are_ignored(peer: Peer) -> None:
    """Send the headers of an agent client and of an SDK."""
    await _served_with(
        peer,
        [
            ("originator", "conformance"),
            ("session_id", "4f1c"),
            ("thread-id", "4f1c"),
            ("x-client-request-id", "4f1c"),
            ("x-codex-turn-metadata", '{"turn":"1"}'),
            ("x-responsesapi-include-timing-metrics", "true"),
            ("x-stainless-lang", "python"),
            ("openai-organization", "org-x"),
            ("openai-project", "proj-y"),
        ],
    )


@case(7, "AW-H-009")
async def no_subprotocol_is_selected(peer: Peer) -> None:
    """Offer subprotocols."""
    async with peer.socket(headers=[("Sec-WebSocket-Protocol", "openai-beta.responses-v1, other")]) as socket:
        chosen = socket.ws.headers.get("sec-websocket-protocol")
        check(chosen is None, f"{chosen!r} was selected")
        await socket.usable()


@case(8, "AW-H-010")
async def an_offer_of_compression_is_answered(peer: Peer) -> None:
    """Offer permessage-deflate, and see that only that is agreed."""
    offer = "permessage-deflate; client_max_window_bits"
    async with peer.socket(headers=[("Sec-WebSocket-Extensions", offer)]) as socket:
        agreed = socket.ws.headers.get("sec-websocket-extensions", "")
        check(agreed == "" or agreed.startswith("permessage-deflate"), f"the server agreed to {agreed!r}")
        if not agreed:
            await socket.usable()


@case(9, "AW-H-011", "AW-P-007")
async def answers_have_a_request_id(peer: Peer) -> None:
    """Look for `x-request-id` on a 101 and on an HTTP answer."""
    async with peer.socket() as socket:
        check(socket.ws.headers.get("x-request-id"), "the 101 has no x-request-id", "AW-H-011")
    check((await peer.post()).headers.get("x-request-id"), "the HTTP answer has no x-request-id", "AW-P-007")


@case(10, "AW-H-012")
async def another_version_of_websocket_is_refused(peer: Peer) -> None:
    """Ask for version 12."""
    refused = await refusal(peer, version="12")
    check(refused.status == 426, f"the status is {refused.status}")
    check("13" in refused.headers.get("sec-websocket-version", ""), "the answer does not name version 13")


@case(11, "AW-H-013")
async def a_plain_get_is_told_to_upgrade(peer: Peer) -> None:
    """GET the resource as a browser would."""
    reply = await peer.http("GET")
    check(reply.status == 426, f"the status is {reply.status}")
    check("websocket" in reply.headers.get("upgrade", "").lower(), "the answer does not name websocket in Upgrade")


@case(12, "AW-H-014")
async def there_are_no_sockets_elsewhere(peer: Peer) -> None:
    """Ask for an upgrade on a path that does not exist."""
    refused = await refusal(peer, target="/no/such/resource")
    check(refused.status == 404, f"the status is {refused.status}")


@case(2, "AW-H-003", "AW-H-004", needs=["keys"])
async def a_wrong_key_is_refused_before_the_upgrade(peer: Peer) -> None:
    """Ask with another key, and with none."""
    for key in ("sk-not-a-key-of-this-server", ""):
        with about("AW-H-004"):
            refused = await refusal(peer, key=key)
            check(refused.status == 401, f"the status is {refused.status}")
            check(b'"error"' in refused.body, "the answer has no JSON error")


@case(224, "AW-H-018")
async def a_page_from_elsewhere_opens_no_socket(peer: Peer) -> None:
    """Ask as a browser does for a page of another site."""
    try:
        async with peer.socket(headers=[("Origin", "https://elsewhere.example")]):
            pass
    except Refused as refused:
        check(refused.status < 500, f"the status is {refused.status}")
    else:
        raise CaseFailed("a page from https://elsewhere.example may open a socket")


@case(225, "AW-H-015", needs=["connections"])
async def connections_are_bounded(peer: Peer) -> None:
    """Open as many connections as there may be, and one more: that is told to come later, and the others are served."""
    async with AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(peer.socket()) for _ in range(peer.limit("connections", 0))]
        refused = await refusal(peer)
        check(refused.status == 503, f"one connection more was refused with {refused.status}")
        check("retry-after" in refused.headers, "the refusal does not say when to try again")
        await sockets[0].usable()
    async with peer.socket() as socket:
        await socket.usable()


@case(13, "AW-H-016")
async def there_is_an_alias_for_clients_that_add_to_the_path(peer: Peer) -> None:
    """Open a WebSocket at `codex/responses` below the base, and hold a turn."""
    path, _, query = peer.resource.partition("?")
    target = f"{path.removesuffix('/responses')}/codex/responses"
    async with peer.socket(target=f"{target}?{query}" if query else target) as socket:
        await socket.usable()
