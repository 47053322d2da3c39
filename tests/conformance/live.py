"""Servers that are wrong in what only a running system shows, and the cases that must notice."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio

from agentwire.protocol.errors import EngineError
from agentwire.runtime.contracts import Ask, Engine, Finish, Out
from agentwire.server import Server
from agentwire.testing.conformance.wire import Closed, WebSocket
from tests.conformance.kit import MemoryProcess
from tests.conformance.lying import Event, ForgetfulStore, Lie, body, errors, hear_nothing, hearing, on, patched, saying

__all__ = ["LIVE"]


def deaf(inner: Engine) -> Engine:
    """Hears its model out, whoever goes."""

    async def engine(ask: Ask, out: Out) -> Finish | None:
        with trio.move_on_after(100, shield=True):
            return await inner(ask, out)
        return None

    return engine


def cheerful(inner: Engine) -> Engine:
    """Takes every failure of its model for an end."""

    async def engine(ask: Ask, out: Out) -> Finish | None:
        try:
            return await inner(ask, out)
        except EngineError:
            await out.text(".")
            return None

    return engine


def stubborn(inner: Engine) -> Engine:
    """Asks again and again."""

    async def engine(ask: Ask, out: Out) -> Finish | None:
        for _ in range(5):
            try:
                return await inner(ask, out)
            except EngineError:
                await trio.lowlevel.checkpoint()
        return await inner(ask, out)

    return engine


def forgetful(inner: Engine) -> Engine:
    """Shows its model the new items alone."""

    async def engine(ask: Ask, out: Out) -> Finish | None:
        return await inner(attrs.evolve(ask, items=ask.new_items), out)

    return engine


def doubling(inner: Engine) -> Engine:
    """Says the last message twice, where it has a history."""

    async def engine(ask: Ask, out: Out) -> Finish | None:
        items = (*ask.items, ask.items[-1]) if len(ask.items) > len(ask.new_items) else ask.items
        return await inner(attrs.evolve(ask, items=items), out)

    return engine


def lonely(inner: Engine) -> Engine:
    """Does one thing at a time."""
    lock = trio.Lock()

    async def engine(ask: Ask, out: Out) -> Finish | None:
        async with lock:
            return await inner(ask, out)

    return engine


def insatiable(inner: Engine) -> Engine:
    """Reads its model to the end first, whatever the client takes."""

    async def engine(ask: Ask, out: Out) -> Finish | None:
        return await inner(ask, _Hoard(out))

    return engine


class _Hoard:
    """Takes text and says none of it."""

    def __init__(self, out: Out) -> None:
        self._out = out

    async def text(self, *_: Any, **__: Any) -> None:
        await trio.lowlevel.checkpoint()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._out, name)


def dying(event: Event) -> Event:
    """The connection ends with the first failure."""
    if event["type"] == "response.failed" or (event["type"] == "error" and "status" in event):
        raise Closed(1006, "gone")
    return event


def ending_with(code: int) -> Any:
    """Every close of the server's has this code."""

    def tell(patch: pytest.MonkeyPatch) -> None:
        init = Closed.__init__

        def lying(closed: Closed, given: int, reason: str = "") -> None:
            init(closed, code if given in (1001, 1012) else given, reason)

        patch.setattr(Closed, "__init__", lying)

    return tell


async def stay(_: Server) -> None:
    await trio.lowlevel.checkpoint()


UNWATCHED = {"keepalive_interval": 1e6, "upstream_silence": 1e6, "event_silence": 1e6}

LIVE = (
    # a client goes
    Lie(
        "hears its model out",
        "a_client_that_vanishes_ends_the_models_work a_client_that_vanishes_in_silence_ends_the_models_work "
        "a_client_that_says_goodbye_ends_the_models_work all_lanes_of_a_client_that_vanishes_end "
        "a_client_that_leaves_a_stream_ends_the_models_work a_client_that_leaves_a_post_ends_the_models_work",
        wrap=deaf,
    ),
    # a model server fails
    Lie(
        "takes failures for ends",
        "a_model_server_that_dies_fails_the_response a_model_server_that_breaks_off_fails_the_response "
        "a_model_server_that_says_rubbish_fails_the_response a_model_that_fails_in_words_fails_the_response "
        "a_failure_of_the_model_server_stays_on_its_lane a_429_of_the_model_server_is_told "
        "a_refusal_of_the_model_server_costs_one_turn",
        wrap=cheerful,
    ),
    Lie(
        "dies with its model",
        "a_model_server_that_dies_fails_the_response a_failure_of_the_model_server_stays_on_its_lane "
        "a_429_of_the_model_server_is_told a_refusal_of_the_model_server_costs_one_turn",
        saying(dying),
    ),
    Lie(
        "says nothing after an error",
        "a_model_server_that_dies_fails_the_response",
        saying(lambda event: None if event["type"] == "response.failed" else event),
    ),
    Lie("renames a 429", "a_429_of_the_model_server_is_told", errors(code="server_error")),
    Lie(
        "knows no retry-after",
        "a_429_of_the_model_server_is_told",
        on("error", headers=..., error={"code": "rate_limit_exceeded"}),
    ),
    Lie("renames the codes of its model server", "codes_of_the_model_server_are_kept", errors(code="upstream_error")),
    Lie("asks again and again", "a_model_server_that_fails_is_not_stormed", wrap=stubborn),
    # what the model is sent
    Lie(
        "shows its model what is new",
        "history_is_the_same_however_it_is_said a_stored_history_is_whole_over_http "
        "a_warm_up_is_part_of_the_history_and_asks_the_model_nothing the_model_is_sent_what_was_steered",
        wrap=forgetful,
    ),
    Lie(
        "says the last message twice",
        "history_is_the_same_however_it_is_said a_stored_history_is_whole_over_http the_model_is_sent_what_was_steered",
        wrap=doubling,
    ),
    Lie(
        "begins anew for a parent that it does not know",
        "a_refusal_asks_the_model_nothing",
        hearing(', "previous_response_id": "resp_none"', ""),
    ),
    Lie(
        "warms up its model",
        "a_warm_up_is_part_of_the_history_and_asks_the_model_nothing",
        hearing('"generate": false', '"generate": true'),
    ),
    Lie("hears no steer", "the_model_is_sent_what_was_steered", hearing("response.steer", "response.processed")),
    # slow clients and silent models
    Lie(
        "reads its model to the end",
        "a_client_that_does_not_read_stops_the_model a_stream_that_is_not_read_stops_the_model "
        "a_client_that_never_reads_is_given_up a_stream_that_is_never_read_is_given_up",
        wrap=insatiable,
    ),
    Lie(
        "does one thing at a time",
        "a_client_that_does_not_read_holds_up_nobody a_silent_model_holds_up_no_other_lane",
        wrap=lonely,
    ),
    Lie(
        "waits for ever for its clients",
        "a_client_that_never_reads_is_given_up a_stream_that_is_never_read_is_given_up",
        limits={"write_progress": 1e6, "ping_timeout": 1e6, "ping_interval": 1e5},
    ),
    Lie(
        "waits for ever for its model",
        "a_model_that_falls_silent_is_not_waited_for_in_silence",
        limits=UNWATCHED,
    ),
    Lie("hears no pings", "a_silent_model_holds_up_no_ping", patched(WebSocket, "ping", hear_nothing)),
    Lie(
        "gives the answer of before",
        "an_abandoned_turn_leaves_nothing_behind a_client_that_does_not_read_holds_up_nobody",
        on("response.completed", type="response.done"),
    ),
    # the end of a process
    Lie(
        "leaves at once",
        "a_shutdown_lets_a_turn_finish a_shutdown_lets_a_stream_finish",
        limits={"drain": 0.0},
    ),
    Lie(
        "does not leave",
        "a_shutdown_closes_with_a_code a_shutdown_takes_no_new_turns a_shutdown_comes_to_an_end",
        patched(Server, "drain", stay),
    ),
    Lie("says goodbye for good", "a_shutdown_closes_with_a_code", ending_with(1000)),
    Lie("leaves without a code", "a_shutdown_closes_with_a_code", ending_with(1005)),
    Lie(
        "keeps what it must not",
        "a_killed_server_knows_no_unstored_response",
        hearing('"store": false', '"store": true'),
    ),
    Lie(
        "closes nothing",
        "clients_that_come_and_go_leave_nothing_open",
        patched(MemoryProcess, "descriptors", lambda process: 10 * len(process.net.links)),
    ),
    Lie("keeps nothing", "a_killed_server_keeps_what_it_stored", store=ForgetfulStore),
    Lie(
        "believes in the dead",
        "a_killed_server_fails_what_ran_in_the_background",
        body(b'"status":"failed"', b'"status":"in_progress"'),
    ),
)
