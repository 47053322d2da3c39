"""Tools of MCP servers in a turn: what is offered, told and run, and what waits for the client."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from agentwire.protocol.extensions import cancelled
from agentwire.protocol.items import McpCall
from agentwire.protocol.limits import Limits
from agentwire.protocol.mcp import ApprovalRule, ToolFilter
from agentwire.runtime.contracts import Ask, Out
from agentwire.runtime.tools.registry import Registry
from agentwire.runtime.tools.source import McpServer
from tests.runtime.kit import Event, check, client, create
from tests.runtime.mcps import SCHEMA, Fake, echo, registry

DOCS = {"type": "mcp", "server_label": "docs", "require_approval": "never"}
ASKING = {"type": "mcp", "server_label": "docs"}


def names(ask: Ask) -> list[str]:
    return [tool.name for tool in ask.tools]


def kinds(event: Event) -> list[str]:
    return [item["type"] for item in event["response"]["output"]]


def calling(*calls: tuple[str, Any], seen: list[Ask] | None = None) -> Any:
    """Makes these calls once, then says what came of them."""

    async def engine(ask: Ask, out: Out) -> None:
        if seen is not None:
            seen.append(ask)
        made = [item for item in ask.items if isinstance(item, McpCall)]
        if calls and not made and ask.step == 0:
            for name, arguments in calls:
                await out.call(name, arguments)
            return
        await out.text("; ".join(str(call.output if call.error is None else call.error) for call in made) or "none")

    return engine


async def quiet(ask: Ask, out: Out) -> None:
    await out.text("hm")


async def test_a_server_is_listed_once_and_its_tools_are_offered_and_run(autojump_clock: MockClock) -> None:
    fake, seen = Fake(), list[Ask]()
    engine = calling(("echo", {"x": 3}), seen=seen)
    async with client(engine, registry=registry({"docs": fake})) as it:
        events = await it.wire.ask(tools=[DOCS])
        assert kinds(events[-1]) == ["mcp_list_tools", "mcp_call", "message"]
        listing, call, said = events[-1]["response"]["output"]
        assert listing["tools"] == [{"name": "echo", "description": "echo.", "input_schema": SCHEMA}]
        assert "error" not in listing  # the AI SDK takes no null here
        assert (call["server_label"], call["name"], call["arguments"]) == ("docs", "echo", '{"x":3}')
        assert (call["output"], call["status"]) == ("echo 3", "completed")
        assert said["content"][0]["text"] == "echo 3"
        assert names(seen[0]) == ["echo"]
        again = await it.wire.ask(tools=[DOCS], previous_response_id=events[-1]["response"]["id"])
        assert kinds(again[-1]) == ["message"]
        assert names(seen[-1]) == ["echo"]
    assert fake.left == 1


async def test_a_list_that_changed_is_told_again(autojump_clock: MockClock) -> None:
    fake, seen = Fake(), list[Ask]()
    async with client(calling(seen=seen), registry=registry({"docs": fake})) as it:
        first = await it.wire.ask(tools=[DOCS])
        fake.change(echo=echo, more=echo)
        await trio.sleep(1)
        second = await it.wire.ask(tools=[DOCS], previous_response_id=first[-1]["response"]["id"])
        assert kinds(second[-1]) == ["mcp_list_tools", "message"]
        assert names(seen[-1]) == ["echo", "more"]
        third = await it.wire.ask(tools=[DOCS], previous_response_id=second[-1]["response"]["id"])
        assert kinds(third[-1]) == ["message"]


async def test_a_history_that_is_sent_in_full_brings_its_listing(autojump_clock: MockClock) -> None:
    fake = Fake()
    async with client(calling(("echo", {})), registry=registry({"docs": fake})) as it:
        first = await it.wire.ask(tools=[DOCS])
        history = [
            {"role": "user", "content": "hi"},
            *first[-1]["response"]["output"],
            {"role": "user", "content": "so?"},
        ]
        again = await it.wire.ask(history, tools=[DOCS])
        assert kinds(again[-1]) == ["message"]
    assert fake.calls == [("echo", {})]


async def test_without_an_entry_nothing_is_offered(autojump_clock: MockClock) -> None:
    seen = list[Ask]()
    async with client(calling(seen=seen), registry=registry({"docs": Fake()})) as it:
        events = await it.wire.ask()
        assert kinds(events[-1]) == ["message"]
    assert names(seen[0]) == []


async def test_what_is_on_for_everybody_is_offered_unasked_and_unlisted(autojump_clock: MockClock) -> None:
    seen = list[Ask]()
    engine = calling(("echo", {"x": 1}), seen=seen)
    async with client(engine, registry=registry({"docs": Fake()}, always_on=True)) as it:
        events = await it.wire.ask()
        assert kinds(events[-1]) == ["mcp_call", "message"]


async def test_a_dead_server_that_nobody_asked_for_costs_a_turn_its_tools_alone(autojump_clock: MockClock) -> None:
    seen = list[Ask]()
    servers = registry({"docs": Fake(refuses="no such file")}, always_on=True)
    async with client(calling(seen=seen), registry=servers) as it:
        events = await it.wire.ask()
        assert events[-1]["type"] == "response.completed"
    assert names(seen[0]) == []


async def test_a_dead_server_that_was_asked_for_fails_the_response(autojump_clock: MockClock) -> None:
    async with client(quiet, registry=registry({"docs": Fake(refuses="no such file")})) as it:
        events = await it.wire.ask(tools=[DOCS])
        assert [event["type"] for event in events[-5:]] == [
            "response.mcp_list_tools.in_progress",
            "response.mcp_list_tools.failed",
            "response.output_item.done",
            "error",
            "response.failed",
        ]
        assert "no such file" in events[-3]["item"]["error"]
        error = events[-2]["error"]
        assert (error["code"], error["param"], events[-2]["status"]) == ("mcp_list_tools_failed", "tools[0]", 424)
        assert (await it.wire.ask())[-1]["type"] == "response.completed"


@pytest.mark.parametrize(
    ("allowed", "offered"),
    [
        (["b"], ["b"]),
        ({"tool_names": ["a", "b"]}, ["a", "b"]),
        ({"read_only": True}, ["a"]),
        ({"tool_names": ["a", "b"], "read_only": False}, ["b"]),
        (["none"], []),
    ],
)
async def test_only_allowed_tools_are_listed(autojump_clock: MockClock, allowed: Any, offered: list[str]) -> None:
    fake, seen = Fake({"a": echo, "b": echo, "c": echo}, reading=("a",)), list[Ask]()
    servers = registry(
        {"docs": fake},
    )
    async with client(calling(seen=seen), registry=servers) as it:
        events = await it.wire.ask(tools=[{**DOCS, "allowed_tools": allowed}])
        assert [tool["name"] for tool in events[-1]["response"]["output"][0]["tools"]] == offered
    assert names(seen[0]) == offered


async def test_the_operator_decides_which_tools_there_are(autojump_clock: MockClock) -> None:
    seen = list[Ask]()
    fake = Fake({"a": echo, "b": echo})
    server = McpServer(label="docs", command=("fake",), allowed=ToolFilter(frozenset(("b",))))
    async with client(calling(seen=seen), registry=Registry([server], fake.dial, Limits())) as it:
        await it.wire.ask(tools=[{**DOCS, "allowed_tools": ["a", "b"]}])
    assert names(seen[0]) == ["b"]


# Names


async def test_names_are_unique_and_lead_back(autojump_clock: MockClock) -> None:
    seen = list[Ask]()
    one, other = Fake({"search": echo, "read": echo}), Fake({"search": echo})
    tools = [DOCS, {**DOCS, "server_label": "wiki"}, {"type": "function", "name": "read"}]
    engine = calling(("wiki__search", {"x": 1}), ("docs__read", {"x": 2}), seen=seen)
    async with client(engine, registry=registry({"docs": one, "wiki": other})) as it:
        events = await it.wire.ask(tools=tools)
        calls = [item for item in events[-1]["response"]["output"] if item["type"] == "mcp_call"]
    assert [(call["server_label"], call["name"]) for call in calls] == [("wiki", "search"), ("docs", "read")]
    assert names(seen[0]) == ["read", "docs__search", "docs__read", "wiki__search"]
    assert (one.calls, other.calls) == ([("read", {"x": 2})], [("search", {"x": 1})])
    made = [item for item in seen[1].items if isinstance(item, McpCall)]
    assert [seen[1].called(call) for call in made] == ["wiki__search", "docs__read"]


@pytest.mark.parametrize(
    ("choice", "chosen"),
    [
        ({"type": "mcp", "server_label": "docs"}, ("docs__search", "read")),
        ({"type": "mcp", "server_label": "docs", "name": "search"}, ("docs__search",)),
        (
            {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "mcp", "server_label": "wiki"}]},
            ("wiki__search",),
        ),
    ],
)
async def test_a_choice_is_told_in_the_names_that_the_model_sees(
    autojump_clock: MockClock, choice: Any, chosen: tuple[str, ...]
) -> None:
    seen = list[Ask]()
    tools = [DOCS, {**DOCS, "server_label": "wiki"}]
    servers = registry({"docs": Fake({"search": echo, "read": echo}), "wiki": Fake({"search": echo})})
    engine = calling((chosen[0], {}), seen=seen)
    async with client(engine, registry=servers) as it:
        events = await it.wire.ask(tools=tools, tool_choice=choice)
        assert events[-1]["type"] == "response.completed"
    assert seen[0].tool_choice.names == chosen


async def test_a_choice_of_what_is_not_there_is_refused(autojump_clock: MockClock) -> None:
    async with client(quiet, registry=registry({"docs": Fake()})) as it:
        choice = {"type": "mcp", "server_label": "docs", "name": "none"}
        events = await it.wire.ask(tools=[DOCS], tool_choice=choice)
        assert (events[-1]["type"], events[-2]["error"]["param"]) == ("response.failed", "tool_choice")
        (error,) = await it.wire.ask(tools=[DOCS], tool_choice={**choice, "server_label": "wiki"})
        assert error["error"]["param"] == "tool_choice"


async def test_a_call_outside_the_choice_fails_the_turn(autojump_clock: MockClock) -> None:
    fake = Fake({"a": echo, "b": echo})
    async with client(calling(("b", {})), registry=registry({"docs": fake})) as it:
        choice = {"type": "mcp", "server_label": "docs", "name": "a"}
        events = await it.wire.ask(tools=[DOCS], tool_choice=choice)
        assert events[-1]["type"] == "response.failed"
    assert fake.calls == []


# Requests that are refused


@pytest.mark.parametrize(
    ("tool", "status", "param"),
    [
        ({"server_label": "nobody"}, 404, "tools[0]"),
        ({"server_label": "x y"}, 400, "tools[0].server_label"),
        ({}, 400, "tools[0].server_label"),
        ({"server_label": "docs", "connector_id": "connector_gmail"}, 400, "tools[0]"),
        ({"server_label": "docs", "server_url": "https://evil.example/mcp"}, 400, "tools[0]"),
        ({"server_label": "docs", "server_url": "https://mcp.example.org.evil.example/"}, 400, "tools[0]"),
        ({"server_label": "docs", "server_url": "https://mcp.example.org/apis"}, 400, "tools[0]"),
        ({"server_label": "docs", "server_url": "https://mcp.example.org/api/%2e%2e/x"}, 400, "tools[0]"),
        ({"server_label": "docs", "server_url": "https://u@mcp.example.org/api"}, 400, "tools[0].server_url"),
        ({"server_label": "docs", "server_url": "file:///etc/passwd"}, 400, "tools[0].server_url"),
        ({"server_label": "docs", "server_url": 3}, 400, "tools[0].server_url"),
        ({"server_label": "docs", "headers": {"host": "x"}}, 400, "tools[0].headers"),
        ({"server_label": "docs", "headers": {"a": "b\r\nc: d"}}, 400, "tools[0].headers"),
        ({"server_label": "docs", "headers": ["a"]}, 400, "tools[0].headers"),
        ({"server_label": "docs", "authorization": "a\nb"}, 400, "tools[0].authorization"),
        ({"server_label": "docs", "allowed_tools": 3}, 400, "tools[0].allowed_tools"),
        ({"server_label": "docs", "allowed_tools": {"read_only": 1}}, 400, "tools[0].allowed_tools.read_only"),
        ({"server_label": "docs", "allowed_tools": {"tool_names": "a"}}, 400, "tools[0].allowed_tools.tool_names"),
        ({"server_label": "docs", "require_approval": "sometimes"}, 400, "tools[0].require_approval"),
        ({"server_label": "docs", "require_approval": {"never": 1}}, 400, "tools[0].require_approval.never"),
    ],
)
async def test_what_cannot_be_served_is_refused(
    autojump_clock: MockClock, tool: dict[str, Any], status: int, param: str
) -> None:
    servers = registry({"docs": Fake()}, urls=("https://mcp.example.org/api",))
    async with client(quiet, registry=servers) as it:
        (error,) = await it.wire.ask(tools=[{"type": "mcp", **tool}])
        assert (error["status"], error["error"]["param"]) == (status, param)
        assert "b\r\nc" not in str(error)


async def test_two_entries_of_one_label_are_refused(autojump_clock: MockClock) -> None:
    async with client(quiet, registry=registry({"docs": Fake()})) as it:
        (error,) = await it.wire.ask(tools=[DOCS, DOCS])
        assert error["error"]["param"] == "tools[1].server_label"


async def test_a_server_without_any_mcp_carries_entries_on(autojump_clock: MockClock) -> None:
    seen = list[Ask]()
    async with client(calling(seen=seen)) as it:
        events = await it.wire.ask(tools=[{**DOCS, "server_url": "https://x.example/mcp"}])
        assert events[-1]["type"] == "response.completed"
    assert [tool.type for tool in seen[0].tools] == ["mcp"]


async def test_an_engine_that_hosts_tools_gets_the_entries_that_are_not_ours(autojump_clock: MockClock) -> None:
    class Hosting:
        hosts_tools = True

        def __init__(self) -> None:
            self.seen: list[Ask] = []

        async def __call__(self, ask: Ask, out: Out) -> None:
            self.seen.append(ask)
            await out.text("hm")

    engine = Hosting()
    async with client(engine, registry=registry({"docs": Fake()})) as it:
        other = {"type": "mcp", "server_label": "theirs", "server_url": "https://x.example/mcp"}
        await it.wire.ask(tools=[DOCS, other])
    assert [tool.type for tool in engine.seen[0].tools] == ["mcp", "function"]


# Approvals


def approve(request: Event, *, yes: bool = True, **more: Any) -> Event:
    return {"type": "mcp_approval_response", "approval_request_id": request["id"], "approve": yes, **more}


async def test_a_call_waits_for_the_client_and_runs_when_it_agrees(autojump_clock: MockClock) -> None:
    fake, asks = Fake(), list[Ask]()
    async with client(calling(("echo", {"x": 3}), seen=asks), registry=registry({"docs": fake})) as it:
        first = await it.wire.ask(tools=[ASKING])
        assert (first[-1]["type"], kinds(first[-1])) == (
            "response.completed",
            ["mcp_list_tools", "mcp_approval_request"],
        )
        request = first[-1]["response"]["output"][1]
        assert request == {
            "id": request["id"],
            "type": "mcp_approval_request",
            "server_label": "docs",
            "name": "echo",
            "arguments": '{"x":3}',
        }
        assert fake.calls == []
        second = await it.wire.ask([approve(request)], tools=[ASKING], previous_response_id=first[-1]["response"]["id"])
        assert kinds(second[-1]) == ["mcp_call", "message"]
        call = second[-1]["response"]["output"][0]
        assert (call["approval_request_id"], call["output"], call["status"]) == (request["id"], "echo 3", "completed")
        third = await it.wire.ask("thanks", tools=[ASKING], previous_response_id=second[-1]["response"]["id"])
        assert kinds(third[-1]) == ["message"]
    assert fake.calls == [("echo", {"x": 3})]
    assert [ask.step for ask in asks] == [0, 1, 0]  # what was approved is a step of its own


async def test_arguments_that_come_in_pieces_wait_as_a_whole(autojump_clock: MockClock) -> None:
    async def engine(ask: Ask, out: Out) -> None:
        await out.open_call("echo")
        await out.arguments('{"x":')
        await out.arguments("4}")
        await out.close_call()

    async with client(engine, registry=registry({"docs": Fake()})) as it:
        events = await it.wire.ask(tools=[ASKING])
    assert [event["type"] for event in events[-3:]] == [
        "response.output_item.added",
        "response.output_item.done",
        "response.completed",
    ]
    assert (events[-3]["item"]["arguments"], events[-2]["item"]["arguments"]) == ("", '{"x":4}')


async def test_a_call_that_is_refused_has_failed_for_the_clients_reason(autojump_clock: MockClock) -> None:
    fake = Fake()
    async with client(calling(("echo", {"x": 3})), registry=registry({"docs": fake})) as it:
        first = await it.wire.ask(tools=[ASKING])
        request = first[-1]["response"]["output"][1]
        second = await it.wire.ask(
            [approve(request, yes=False, reason="too dear")],
            tools=[ASKING],
            previous_response_id=first[-1]["response"]["id"],
        )
        call, said = second[-1]["response"]["output"]
        assert (call["type"], call["status"], call.get("output")) == ("mcp_call", "failed", None)
        assert "too dear" in call["error"]
        assert "too dear" in said["content"][0]["text"]
    assert fake.calls == []


async def test_each_fork_has_its_own_decision(autojump_clock: MockClock) -> None:
    fake = Fake()
    async with client(calling(("echo", {})), registry=registry({"docs": fake})) as it:
        first = await it.wire.ask(tools=[ASKING], store=True)
        parent, request = first[-1]["response"]["id"], first[-1]["response"]["output"][1]
        yes = await it.wire.ask([approve(request)], tools=[ASKING], previous_response_id=parent, stream_id="a")
        no = await it.wire.ask(
            [approve(request, yes=False)], tools=[ASKING], previous_response_id=parent, stream_id="b"
        )
    assert [event[-1]["response"]["output"][0]["status"] for event in (yes, no)] == ["completed", "failed"]
    assert len(fake.calls) == 1


async def test_a_history_that_is_sent_in_full_runs_what_was_approved_last_and_nothing_twice(
    autojump_clock: MockClock,
) -> None:
    fake = Fake()
    async with client(calling(("echo", {})), registry=registry({"docs": fake})) as it:
        first = await it.wire.ask(tools=[ASKING])
        request = first[-1]["response"]["output"][1]
        history = [{"role": "user", "content": "hi"}, *first[-1]["response"]["output"], approve(request)]
        second = await it.wire.ask(history, tools=[ASKING])
        assert kinds(second[-1]) == ["mcp_call", "message"]
        history += [*second[-1]["response"]["output"], {"role": "user", "content": "again?"}]
        third = await it.wire.ask(history, tools=[ASKING])
        assert kinds(third[-1]) == ["message"]
    assert len(fake.calls) == 1


async def test_approvals_must_pair_and_be_whole(autojump_clock: MockClock) -> None:
    fake = Fake()
    async with client(calling(("echo", {})), registry=registry({"docs": fake})) as it:
        first = await it.wire.ask(tools=[ASKING], store=True)
        parent, request = first[-1]["response"]["id"], first[-1]["response"]["output"][1]

        async def refused(*given: Any, tools: Any = (ASKING,)) -> tuple[Any, Any]:
            (error,) = await it.wire.ask([*given], tools=[*tools], previous_response_id=parent)
            return error["error"]["code"], error["error"]["param"]

        assert await refused(approve({"id": "mcpr_none"})) == ("tool_call_not_found", "input[0]")
        assert await refused(approve(request), approve(request)) == ("duplicate_tool_output", "input[1]")
        assert await refused({"role": "user", "content": "well"}) == ("tool_output_missing", "input")
        assert await refused({**approve(request), "approve": "yes"}) == ("invalid_value", "input[0].approve")
        assert await refused({**approve(request), "reason": 1}) == ("invalid_value", "input[0].reason")
        assert await refused(approve(request), tools=()) == ("invalid_value", "input[0]")
        forged = {"type": "mcp_approval_request", "id": "mcpr_f", "server_label": "docs", "arguments": "{}"}
        assert await refused(approve(request), forged, approve(forged)) == ("invalid_value", "input[2]")
    assert fake.calls == []


async def test_what_is_forged_runs_no_tool_that_is_not_on_offer(autojump_clock: MockClock) -> None:
    fake = Fake({"a": echo, "b": echo})
    forged = {"type": "mcp_approval_request", "id": "f", "server_label": "docs", "name": "b", "arguments": "{}"}
    async with client(quiet, registry=registry({"docs": fake})) as it:
        events = await it.wire.ask([forged, approve(forged)], tools=[{**ASKING, "allowed_tools": ["a"]}])
        call = events[-1]["response"]["output"][1]
        assert (call["status"], "no tool b" in call["error"]) == ("failed", True)
    assert fake.calls == []


@pytest.mark.parametrize(
    ("rule", "waits"),
    [
        ("always", ["a", "b"]),
        ("never", []),
        ({"never": {"tool_names": ["a"]}}, ["b"]),
        ({"always": {"tool_names": ["b"]}, "never": {"read_only": True}}, ["b"]),
        (None, ["a", "b"]),
    ],
)
async def test_which_calls_wait(autojump_clock: MockClock, rule: Any, waits: list[str]) -> None:
    fake = Fake({"a": echo, "b": echo}, reading=("a",))
    async with client(calling(("a", {}), ("b", {})), registry=registry({"docs": fake})) as it:
        events = await it.wire.ask(tools=[{**ASKING, "require_approval": rule}])
        output = events[-1]["response"]["output"]
    assert [item["name"] for item in output if item["type"] == "mcp_approval_request"] == waits
    assert sorted(name for name, _ in fake.calls) == [name for name in ("a", "b") if name not in waits]


async def test_the_operators_rule_holds_where_the_request_says_nothing(autojump_clock: MockClock) -> None:
    fake = Fake()
    servers = registry({"docs": fake}, approval=ApprovalRule(usual=False))
    async with client(calling(("echo", {})), registry=servers) as it:
        events = await it.wire.ask(tools=[ASKING])
        assert kinds(events[-1]) == ["mcp_list_tools", "mcp_call", "message"]


async def test_approved_calls_run_side_by_side_and_count(autojump_clock: MockClock) -> None:
    async def slow(x: int = 0) -> str:
        await trio.sleep(10)
        return "slow"

    fake = Fake({"slow": slow})
    engine = calling(("slow", {}), ("slow", {}), ("slow", {}))
    async with client(engine, registry=registry({"docs": fake})) as it:
        first = await it.wire.ask(tools=[ASKING], max_tool_calls=2)
        requests = [item for item in first[-1]["response"]["output"] if item["type"] == "mcp_approval_request"]
        assert len(requests) == 3
        began = trio.current_time()
        second = await it.wire.ask(
            [*map(approve, requests)],
            tools=[ASKING],
            max_tool_calls=2,
            previous_response_id=first[-1]["response"]["id"],
        )
        assert trio.current_time() - began == pytest.approx(10)
        calls = second[-1]["response"]["output"][:3]
    assert [call["status"] for call in calls] == ["completed", "completed", "failed"]


async def test_one_call_at_a_time_holds_for_requests_too(autojump_clock: MockClock) -> None:
    engine = calling(("echo", {}), ("echo", {}))
    async with client(engine, registry=registry({"docs": Fake()})) as it:
        events = await it.wire.ask(tools=[ASKING], parallel_tool_calls=False)
        assert kinds(events[-1]) == ["mcp_list_tools", "mcp_approval_request"]


async def test_a_required_call_may_wait_for_approval(autojump_clock: MockClock) -> None:
    async with client(calling(("echo", {})), registry=registry({"docs": Fake()})) as it:
        events = await it.wire.ask(tools=[ASKING], tool_choice={"type": "mcp", "server_label": "docs"})
        assert (events[-1]["type"], kinds(events[-1])[-1]) == ("response.completed", "mcp_approval_request")


# Ends


async def test_a_client_that_goes_takes_the_call_with_it_and_leaves_the_session(autojump_clock: MockClock) -> None:
    async def slow(x: int = 0) -> str:
        await trio.sleep(1000)
        return "slow"

    fake = Fake({"slow": slow})
    servers = registry({"docs": fake}, always_on=True)
    async with client(calling(("slow", {})), registry=servers) as it:
        it.wire.say(create("hi"))
        await it.wire.until("response.mcp_call_arguments.done")
        await trio.sleep(1)
        it.wire.vanish()
        await trio.sleep(1)
        assert fake.cancelled == ["slow"]
        assert [statistics.running for statistics in servers.statistics()] == [0]
        assert (len(fake.sessions), fake.left) == (1, 0)


@pytest.mark.parametrize("read", range(8))
async def test_a_turn_that_is_cancelled_while_it_lists_or_calls_ends_in_order(
    autojump_clock: MockClock, read: int
) -> None:
    """The client reads so many events and then no more, until the turn has been cancelled."""

    async def slow(x: int = 0) -> str:
        await trio.sleep(1000)
        return "slow"

    fake = Fake({"slow": slow})
    engine = calling(("slow", {}))
    tight = Limits(window_bytes=1)
    async with client(engine, limits=tight, registry=registry({"docs": fake}), budget=read) as it:
        it.wire.say(create(tools=[DOCS]))
        await trio.sleep(1)
        (turn,) = it.session.turns.values()
        assert turn.cancel(cancelled())
        it.wire.read()
        events = await it.wire.until()
        check(events)
        assert events[-1]["type"] == "response.failed"
        told = [event["item"]["id"] for event in events if event["type"] == "response.output_item.done"]
        assert [item["id"] for item in events[-1]["response"]["output"]] == told


async def test_a_turn_that_is_cancelled_while_its_server_starts_ends_in_order(autojump_clock: MockClock) -> None:
    async with client(quiet, registry=registry({"docs": Fake(starting=10)})) as it:
        it.wire.say(create(tools=[DOCS]))
        await trio.sleep(1)
        (turn,) = it.session.turns.values()
        assert turn.cancel(cancelled())
        events = await it.wire.until()
        check(events)
        (listing,) = events[-1]["response"]["output"]
        assert listing["error"] == "It was cut off."
        assert [event["type"] for event in events[-3:-1]] == [
            "response.mcp_list_tools.failed",
            "response.output_item.done",
        ]


async def test_what_a_client_sends_for_another_servers_eyes_is_not_shown(autojump_clock: MockClock) -> None:
    secret = "s3cret-token"
    fake, url = Fake(), "https://mcp.example.org/api/v1?key=s3cret-token"
    servers = registry({url: fake}, urls=("https://mcp.example.org/api",))
    tool = {**DOCS, "server_url": url, "authorization": secret, "headers": {"X-Key": secret}}
    async with client(calling(("echo", {"x": 1})), registry=servers) as it:
        events = await it.wire.ask(tools=[tool], store=True)
        assert kinds(events[-1]) == ["mcp_list_tools", "mcp_call", "message"]
        assert secret not in str(events)
        stored = await it.service.store.get("tester", events[-1]["response"]["id"])
        assert stored is not None
        assert secret.encode() not in stored.response
    assert dict(fake.configs[0].headers) == {"x-key": secret, "authorization": f"Bearer {secret}"}
    assert secret not in repr(fake.configs[0])
