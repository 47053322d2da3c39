"""Routes: names, retries, bounds and fallbacks, on the virtual clock."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import attrs
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from agentwire.engines.routing import Names, Route, Routes, Upstream
from agentwire.protocol.errors import ConnectionEnded, EngineError
from agentwire.protocol.limits import Limits
from agentwire.runtime.contracts import Ask, Engine, Finish, Out, Summarized
from agentwire.testing import Reply, scripted_upstream
from agentwire.testing.recording import RecordingOut, ask_for
from tests.engines.upstreams import CHAT, RESPONSES, Kind
from tests.runtime.kit import client

DOWN = EngineError("refused", code="upstream_unreachable", status=502)


def busy(wait: str) -> EngineError:
    return EngineError("busy", code="rate_limit_exceeded", status=429, headers={"retry-after": wait})


class Fake:
    """An engine that fails as it is told to, then answers with the model's name."""

    def __init__(self, *errors: Exception, before: str = "") -> None:
        self.errors = list(errors)
        self.before = before
        self.asks: list[Ask] = []
        self.times: list[float] = []
        self.memos: list[Any] = []

    async def __call__(self, ask: Ask, out: Out) -> Finish:
        self.asks.append(ask)
        self.times.append(trio.current_time())
        self.memos.append(ask.memo.value)
        ask.memo.value = f"{ask.memo.value or ''}{ask.model};"
        if self.before:
            await out.text(self.before)
        if self.errors:
            raise self.errors.pop(0)
        await out.text(ask.model)
        return Finish(members={"model": f"{ask.model}-2026", "service_tier": "fast"})


async def said(engine: Engine, model: str, **fields: Any) -> str:
    out = RecordingOut()
    await engine(ask_for("hi", model=model, **fields), out)
    return out.text_written


# Names


@pytest.mark.parametrize(
    ("name", "becomes"),
    [
        ("small", "qwen:7b"),
        ("mini", "qwen:7b"),
        ("local/llama", "llama"),
        ("local/a/b", "a/b"),
        ("gpt-5", "gpt-5"),
        ("gpt-", "gpt-"),
        ("Small", None),
        ("xgpt-5", None),
    ],
)
async def test_a_name_is_exact_or_fits_a_pattern(name: str, becomes: str | None) -> None:
    engine = Fake()
    routes = Routes(
        [
            Route("local/*", engine, model="*"),
            Route("gpt-*", engine),
            Route("small", engine, model="qwen:7b", aliases=["mini"]),
        ]
    )
    if becomes is not None:
        assert await said(routes, name) == becomes
        return
    with pytest.raises(EngineError, match="There is no model") as caught:
        await said(routes, name)
    assert (caught.value.status, caught.value.code, caught.value.param) == (404, "model_not_found", "model")


async def test_a_default_answers_to_any_name() -> None:
    assert await said(Routes([Route("small", Fake(), model="qwen")], default="small"), "whatever") == "qwen"


@pytest.mark.parametrize(
    "make",
    [
        lambda: Routes({}),
        lambda: Routes([Route("a", Fake()), Route("a", Fake())]),
        lambda: Routes([Route("a", Fake(), fallback=["b"])]),
        lambda: Routes([Route("a", Fake(), fallback=["a"])]),
        lambda: Routes([Route("a", Fake(), model="m", aliases=["b"], fallback=["b"])]),
        lambda: Routes([Route("a", Fake(), aliases=["b"], fallback=["b"])]),
        lambda: Routes([Route("a", Fake(), fallback=["b*"]), Route("b*", Fake())]),
        lambda: Routes([Route("b*", Fake())], default="b*"),
        lambda: Routes([Route("a", Fake())], default="b"),
        lambda: Routes([Route("a", Fake(), model="x-*")]),
        lambda: Routes([Route(" ", Fake())]),
        lambda: Upstream(Fake(), name="u", concurrency=0),
    ],
)
def test_what_cannot_be_a_route(make: Callable[[], object]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - each has its own words
        make()


def test_names_are_found_from_their_upstream_names() -> None:
    names: Names[str] = Names()
    names.add("local/*", "*", "there")
    names.add("gpt-*", None, "there")
    names.add("gpt-5", "other", "elsewhere")
    assert list(names.reached_by("there", ["llama", "gpt-4", "gpt-5"])) == ["local/llama", "local/gpt-4", "local/gpt-5"]


@given(
    st.text("ab*", min_size=1, max_size=7).filter(lambda text: "*" in text),
    st.text("ab", min_size=1, max_size=8),
)
@settings(max_examples=60)
def test_a_star_stands_for_what_it_does_in_a_regular_expression(pattern: str, name: str) -> None:
    names: Names[str] = Names()
    names.add(pattern, "|".join("*" * pattern.count("*")), "there")
    found = re.fullmatch("(.*)".join(map(re.escape, pattern.split("*"))), name)
    assert names.find(name) == (None if found is None else ("|".join(found.groups()), "there"))


def test_no_name_takes_long_to_find() -> None:
    names: Names[str] = Names()
    names.add("*a" * 20, None, "there")
    assert names.find("a" * 255 + "b") is None


async def test_the_models_that_are_listed(autojump_clock: MockClock) -> None:
    asked: list[float] = []

    async def list_models() -> list[str]:
        asked.append(trio.current_time())
        if len(asked) == 2:
            raise ConnectionEnded(cause="gone")
        await trio.sleep(1 if len(asked) < 3 else 100)
        return ["a", "b"]

    up = Upstream(Fake(), name="up", lister=list_models)
    routes = Routes([Route("x", up), Route("up/*", up, model="*")])
    for _ in range(3):
        assert await routes.models() == ("x", "up/a", "up/b")
        await trio.sleep(61)
    assert len(asked) == 3


# Retries


async def test_what_passes_is_tried_again_with_growing_pauses(autojump_clock: MockClock) -> None:
    engine = Fake(DOWN, DOWN)
    assert await said(Routes({"m": engine}), "m") == "m"
    first, second, third = engine.times
    assert 0.25 <= second - first <= 0.5
    assert 0.5 <= third - second <= 1
    assert engine.memos == [None, None, None]


async def test_the_last_error_is_told_and_retries_are_bounded(autojump_clock: MockClock) -> None:
    engine = Fake(DOWN, DOWN, busy("1"))
    up = Upstream(engine, name="up")
    with pytest.raises(EngineError, match="busy"):
        await said(Routes({"m": up}), "m")
    counts = up.statistics()
    assert (counts.attempts, counts.retries, counts.failures) == (3, 2, 3)


@pytest.mark.parametrize(("wait", "attempts"), [("7", 2), ("30", 2), ("31", 1), ("soon", 2)])
async def test_a_servers_wish_to_wait_is_honoured_within_reason(
    wait: str, attempts: int, autojump_clock: MockClock
) -> None:
    engine = Fake(busy(wait))
    routes = Routes({"m": engine})
    if attempts == 1:
        with pytest.raises(EngineError, match="busy"):
            await said(routes, "m")
    else:
        await said(routes, "m")
        assert engine.times[1] - engine.times[0] >= (float(wait) if wait.isdecimal() else 0.25)
    assert len(engine.asks) == attempts


@pytest.mark.parametrize(
    "engine",
    [
        Fake(EngineError("no", code="invalid_request", status=400)),
        Fake(EngineError("no", code="upstream_unauthorized", status=502)),
        Fake(DOWN, before="Well"),
        Fake(KeyError("a bug")),
    ],
)
async def test_what_is_not_tried_again(engine: Fake, autojump_clock: MockClock) -> None:
    with pytest.raises((EngineError, KeyError)):
        await said(Routes({"m": engine}), "m")
    assert len(engine.asks) == 1


async def test_cancelled_it_asks_nobody_any_more(autojump_clock: MockClock) -> None:
    engine, other = Fake(DOWN), Fake()
    with trio.move_on_after(0.1):
        await said(Routes([Route("m", engine, fallback=["o"]), Route("o", other)]), "m")
    await trio.sleep(100)
    assert (len(engine.asks), len(other.asks)) == (1, 0)


class Slow:
    """Never answers; it says what is behind it, or does not."""

    def __init__(self, **hosting: bool) -> None:
        self.asked = 0
        vars(self).update(hosting)

    async def __call__(self, ask: Ask, out: Out) -> None:
        self.asked += 1
        await trio.sleep_forever()


@pytest.mark.parametrize(
    ("slow", "again"),
    [(Slow(), False), (Slow(hosts_tools=True), False), (Slow(hosts_tools=False), True)],
    ids=["unknown", "runs tools", "only tokens"],
)
async def test_an_attempt_has_a_deadline(slow: Slow, again: bool, autojump_clock: MockClock) -> None:
    """And what has run into it may have had an effect, unless the engine knows better."""
    other = Fake()
    up = Upstream(slow, name="slow", retries=1, longest=10)
    routes = Routes([Route("m", up, fallback=["o"]), Route("alone", up), Route("o", other)])
    with pytest.raises(EngineError, match="within 10 s") as caught:
        await said(routes, "alone")
    assert (caught.value.code, caught.value.status) == ("upstream_timeout", 504)
    assert slow.asked == (2 if again else 1)
    if again:
        assert await said(routes, "m") == "o"
    else:
        with pytest.raises(EngineError, match="within 10 s"):
            await said(routes, "m")
    assert bool(other.asks) is again


@pytest.mark.parametrize(("kind", "times"), [(CHAT, 2), (RESPONSES, 1)], ids=["chat", "responses"])
async def test_a_model_server_that_may_run_tools_is_asked_once(
    kind: Kind, times: int, autojump_clock: MockClock
) -> None:
    stalls = Reply.raw(end="stall")
    async with (
        scripted_upstream(stalls, stalls) as upstream,
        kind.open(upstream.url, connector=upstream.connect) as engine,
    ):
        with pytest.raises(EngineError, match="within 10 s"):
            await said(Routes({"m": Upstream(engine, name="slow", retries=1, longest=10)}), "m")
        assert len(upstream.requests) == times


# Fallbacks


async def test_a_fallback_answers_while_the_first_is_down(autojump_clock: MockClock) -> None:
    first, second = Fake(*[DOWN] * 9), Fake()
    up = Upstream(first, name="up", retries=0)
    routes = Routes([Route("m", up, fallback=["local/x"]), Route("local/*", second, model="*")])
    ask, out = ask_for("hi", model="m"), RecordingOut()
    finish = await routes(ask, out)
    assert out.text_written == "x"
    assert finish is not None
    assert finish.members == {"service_tier": "fast"}  # the model stays as the client named it
    again = ask_for("more", model="m")
    again.memo.value = ask.memo.value
    await routes(again, RecordingOut())
    assert first.memos == [None, None]  # what another engine rendered is not for it
    assert second.memos == [None, None]


@pytest.mark.parametrize(
    ("engine", "falls"),
    [
        (Fake(EngineError("no", code="upstream_unauthorized", status=502)), True),
        (Fake(EngineError("no", code="insufficient_quota", status=429)), True),
        (Fake(EngineError("no", code="context_length_exceeded", status=400)), False),
        (Fake(DOWN, before="Well"), False),
        (Fake(EngineError("gone", code="upstream_disconnected", status=502, may_have_run=True)), False),
    ],
)
async def test_when_a_fallback_is_asked(engine: Fake, falls: bool, autojump_clock: MockClock) -> None:
    other = Fake()
    routes = Routes([Route("m", Upstream(engine, name="up", retries=0), fallback=["o"]), Route("o", other)])
    if falls:
        assert await said(routes, "m") == "o"
    else:
        with pytest.raises(EngineError):
            await said(routes, "m")
    assert bool(other.asks) is falls


async def test_when_all_are_down_the_first_error_is_told(autojump_clock: MockClock) -> None:
    routes = Routes(
        [
            Route("m", Upstream(Fake(busy("60")), name="up"), fallback=["o"]),
            Route("o", Upstream(Fake(DOWN), name="other", retries=0)),
        ]
    )
    with pytest.raises(EngineError, match="busy"):
        await said(routes, "m")


async def test_what_a_fallback_refuses_is_no_answer(autojump_clock: MockClock) -> None:
    """The next one is asked; if there is none, the client is told what the model said that it asked for."""
    small = Fake(*[EngineError("too long for me", code="context_length_exceeded", status=400)] * 2)
    routes = Routes(
        [
            Route("m", Upstream(Fake(DOWN), name="up", retries=0), fallback=["small", "o"]),
            Route("n", Upstream(Fake(DOWN), name="up", retries=0), fallback=["small"]),
            Route("small", small),
            Route("o", Fake()),
        ]
    )
    assert await said(routes, "m") == "o"
    with pytest.raises(EngineError, match=str(DOWN)):
        await said(routes, "n")


async def test_nobody_is_asked_twice_the_same(autojump_clock: MockClock) -> None:
    """A pattern may fall back to a name that it fits itself, and two names may mean one model."""
    up = Fake(*[DOWN] * 9)
    both = Upstream(up, name="up", retries=0)
    routes = Routes([Route("g-*", both, fallback=["g-5", "five", "g-5"]), Route("five", both, model="g-5")])
    with pytest.raises(EngineError):
        await said(routes, "g-5")
    assert len(up.asks) == 1
    assert routes.chain("g-4") == (("up", "g-4"), ("up", "g-5"))


async def test_an_engine_finds_again_what_it_kept(autojump_clock: MockClock) -> None:
    engine = Fake()
    routes = Routes([Route("m", engine)])
    ask = ask_for("hi", model="m")
    finish = await routes(ask, RecordingOut())
    assert finish is not None
    assert finish.members["model"] == "m-2026"  # nothing was renamed: what the upstream says of it stands
    again = ask_for("more", model="m")
    again.memo.value = ask.memo.value
    await routes(again, RecordingOut())
    assert engine.memos == [None, "m;"]


# A bound on what runs at once


class Gate:
    """Runs until it is let go, and knows in which order."""

    def __init__(self) -> None:
        self.order: list[str] = []
        self.running = 0
        self.peak = 0
        self.open = trio.Event()

    async def __call__(self, ask: Ask, out: Out) -> None:
        self.order.append(str(ask.new_items[0].text))  # type: ignore[union-attr]
        self.running += 1
        self.peak = max(self.peak, self.running)
        try:
            await self.open.wait()
            await trio.sleep(1)
        finally:
            self.running -= 1


async def test_a_cap_is_fair_between_principals(autojump_clock: MockClock) -> None:
    gate = Gate()
    routes = Routes({"m": Upstream(gate, name="up", concurrency=1)})
    async with trio.open_nursery() as nursery:
        for who, number in (("a", 1), ("a", 2), ("a", 3), ("b", 1), ("b", 2), ("c", 1)):
            ask = attrs.evolve(ask_for(f"{who}{number}", model="m"), principal=who)
            nursery.start_soon(routes, ask, RecordingOut())
            await wait_all_tasks_blocked()
        assert routes.statistics()["up"].waiting == 5
        gate.open.set()
    assert gate.order == ["a1", "a2", "b1", "c1", "a3", "b2"]
    assert gate.peak == 1
    assert (routes.statistics()["up"].running, routes.statistics()["up"].waiting) == (0, 0)


async def test_waiting_is_bounded_in_number_and_in_time(autojump_clock: MockClock) -> None:
    gate, limits = Gate(), Limits(upstream_waiting=1, upstream_patience=20)
    up = Upstream(gate, name="up", concurrency=1, limits=limits)  # who has waited in vain does not wait again
    routes = Routes({"m": up})
    errors: list[EngineError] = []

    async def ask() -> None:
        try:
            await said(routes, "m")
        except EngineError as error:
            errors.append(error)

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(ask)
            await wait_all_tasks_blocked()
        assert len(errors) == 1
        await trio.sleep(21)
        assert [(error.status, error.code) for error in errors] == [(429, "rate_limit_exceeded")] * 2
        assert errors[0].headers == {"retry-after": "20"}
        gate.open.set()
    assert gate.order == ["hi"]
    assert (up.statistics().running, up.statistics().waiting) == (0, 0)


@pytest.mark.parametrize("moment", ["waiting", "given", "running"])
async def test_a_cancelled_step_leaves_no_place_taken(moment: str, autojump_clock: MockClock) -> None:
    gate = Gate()
    up = Upstream(gate, name="up", concurrency=1)
    routes = Routes({"m": up})
    async with trio.open_nursery() as nursery:
        first, second = trio.CancelScope(), trio.CancelScope()

        async def ask(scope: trio.CancelScope) -> None:
            with scope:
                await said(routes, "m")

        nursery.start_soon(ask, first)
        await wait_all_tasks_blocked()
        nursery.start_soon(ask, second)
        await wait_all_tasks_blocked()
        if moment == "running":
            first.cancel()
        elif moment == "waiting":
            second.cancel()
        else:
            first.cancel()
            second.cancel()
        await wait_all_tasks_blocked()
        gate.open.set()
    assert (up.statistics().running, up.statistics().waiting) == (0, 0)
    assert await said(routes, "m") == ""


# In a server


class Small:
    """Reads little, and summarizes."""

    context_tokens = 50
    hosts_tools = True

    async def __call__(self, ask: Ask, out: Out) -> None:
        await out.text("small")

    def count_tokens(self, ask: Ask) -> int:
        return 10 * len(ask.items)

    async def compact(self, ask: Ask) -> Summarized:
        await trio.lowlevel.checkpoint()
        return Summarized(f"summary by {ask.model}")


async def test_the_runtime_asks_the_engine_that_answers(autojump_clock: MockClock) -> None:
    routes = Routes([Route("s", Small(), model="tiny"), Route("big", Fake())])
    said: list[Any] = [{"role": "user", "content": str(number)} for number in range(9)]
    async with client(routes) as it:
        refused = await it.wire.ask(said, model="s")
        assert refused[-1]["error"]["code"] == "context_length_exceeded"
        assert (await it.wire.ask(said, model="big"))[-1]["response"]["model"] == "big-2026"
        (unknown,) = await it.wire.ask(model="other")
        assert (unknown["status"], unknown["error"]["param"]) == (404, "model")
        assert (await it.wire.ask(model="s"))[-1]["response"]["model"] == "s"
    chosen = routes.engine_for(ask_for("hi", model="s").request)
    made = await chosen.compact(ask_for("hi", model="s"))  # type: ignore[attr-defined]
    assert made.text == "summary by tiny"
    assert chosen.hosts_tools  # type: ignore[attr-defined]
    assert routes.engine_for(ask_for("hi", model="big").request).count_tokens is None  # type: ignore[attr-defined]
