from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentwire.engines.chat.calls import Calls
from agentwire.engines.chat.chunks import CallDelta
from agentwire.engines.offering import Offers
from agentwire.protocol.errors import RemoteProtocolError
from agentwire.protocol.ids import Sources
from agentwire.protocol.items import CustomToolCall, FunctionCall, OpaqueItem
from agentwire.testing.recording import RecordingOut, ask_for
from tests.engines.chat.kit import CRM, PATCH, Json, call, sum_tool


class Steps(RecordingOut):
    """A recording that notes each step of a call, not the whole call alone."""

    async def open_call(
        self, name: str, *, call_id: str | None = None, custom: bool = False, namespace: str | None = None
    ) -> None:
        await super().open_call(name, call_id=call_id, custom=custom, namespace=namespace)
        self.events.append(("open", name))

    async def arguments(self, piece: str) -> None:
        await super().arguments(piece)
        self.events.append(("arguments", piece))


def calls_on(out: RecordingOut, *, known: Sequence[str] = (), most: int = 10_000) -> Calls:
    ask = ask_for("x", tools=[sum_tool(), sum_tool("sub"), PATCH, CRM, {"type": "shell"}])
    offers = Offers.of(ask.tools, ask.tool_choice)
    return Calls(out, offers, known=lambda call_id: call_id in known, new_id=Sources.seeded(2).new_id, most=most)


async def taken(*pieces: Json, cut: bool = False, **options: Any) -> Steps:
    out = Steps()
    calls = calls_on(out, **options)
    for piece in pieces:
        await calls.take(msgspec.convert(piece, CallDelta))
    await calls.end(cut=cut)
    return out


def made(out: RecordingOut) -> list[tuple[str, Any]]:
    """The calls that came of it, arguments read."""
    found: list[tuple[str, Any]] = []
    for item in out.items:
        if isinstance(item, FunctionCall):
            found.append((item.name, json.loads(item.arguments)))
        elif isinstance(item, CustomToolCall):
            found.append((item.name, item.input))
    return found


async def test_arguments_go_out_as_they_come() -> None:
    out = await taken(call("", id="c1", name="add"), call('{"a":'), call("1}"))
    assert out.events[:4] == [("open", "add"), ("arguments", ""), ("arguments", '{"a":'), ("arguments", "1}")]
    assert made(out) == [("add", {"a": 1})]
    assert out.calls[0].call_id == "c1"  # type: ignore[union-attr]


async def test_a_call_is_closed_when_the_next_one_begins() -> None:
    out = Steps()
    calls = calls_on(out)
    await calls.take(msgspec.convert(call('{"a":1}', id="c1", name="add"), CallDelta))
    assert not out.calls
    await calls.take(msgspec.convert(call('{"a":', id="c2", name="sub", index=1), CallDelta))
    assert [each.name for each in out.calls] == ["add"]
    await calls.take(msgspec.convert(call("2}", index=1), CallDelta))
    await calls.end()
    assert made(out) == [("add", {"a": 1}), ("sub", {"a": 2})]


async def test_calls_whose_pieces_are_mixed_go_out_one_after_the_other() -> None:
    out = await taken(
        call("", id="c1", name="add"),
        call("", id="c2", name="sub", index=1),
        call('{"a":', index=1),
        call('{"a":{"b":1}', index=0),  # it ends like a whole one
        call("2}", index=1),
        call("}", index=0),
    )
    assert made(out) == [("add", {"a": {"b": 1}}), ("sub", {"a": 2})]
    assert out.events[:2] == [("open", "add"), ("arguments", "")]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"index": 0, "id": "c1"}, {"index": 0, "id": "c2"}),  # one index for all
        ({"index": None, "id": "c1"}, {"index": None, "id": "c2"}),  # no index
        ({"index": None}, {"index": None}),  # neither index nor id
        ({"index": 0, "id": ""}, {"index": 0, "id": ""}),
        ({"index": 0, "id": "same"}, {"index": 1, "id": "same"}),
        ({"index": 5, "id": "c1"}, {"index": 3, "id": "c2"}),
    ],
)
async def test_whole_calls_whatever_their_marks(first: Json, second: Json) -> None:
    out = await taken(call('{"a":1}', name="add", **first), call('{"a":2}', name="add", **second))
    assert made(out) == [("add", {"a": 1}), ("add", {"a": 2})]
    ids = [each.call_id for each in out.calls if isinstance(each, FunctionCall)]
    assert len(set(ids)) == 2


@pytest.mark.parametrize(
    "pieces",
    [
        (call("", id="c1", name="add"), call('{"a":', index=None), call("1}", index=None)),  # only the first has one
        (call("", id="c1", name="add"), call('{"a":1}', id=None, index=1)),  # the arguments beside the name (SGLang)
        (call('{"a":', id="c1", name="add"), call("1}", id="c1", index=1)),  # one id, two indexes
        (call("", index=7, id="c1"), call("", index=7, name="add"), call('{"a":1}', index=7)),
    ],
)
async def test_pieces_of_one_call_whatever_their_indexes(pieces: Sequence[Json]) -> None:
    assert made(await taken(*pieces)) == [("add", {"a": 1})]


async def test_the_head_of_a_second_call_may_have_the_index_of_the_first() -> None:
    out = await taken(
        call('{"a":1}', id="c1", name="add"), call("", id="c2", name="sub"), call('{"a":2}', index=1), call("", index=1)
    )
    assert made(out) == [("add", {"a": 1}), ("sub", {"a": 2})]


async def test_what_was_cut_off_is_the_last_call() -> None:
    broken, whole = call('{"a":', id="c1", name="add"), call('{"a":2}', id="c2", name="sub", index=1)
    out = await taken(broken, whole, cut=True)
    assert [item.arguments for item in out.items if isinstance(item, FunctionCall)] == ['{"a":', '{"a":2}']


async def test_the_frame_of_a_call_without_a_word_is_none() -> None:
    out = await taken({"index": 0}, call("", id="", name=""), call("", id="c1", name="", index=1))
    assert not out.calls
    out = Steps()
    calls = calls_on(out)
    await calls.take(msgspec.convert(call("", id="c1"), CallDelta))
    await calls.end()  # something else comes
    assert not calls.begun
    await calls.take(msgspec.convert(call('{"a":1}', name="add"), CallDelta))
    await calls.end()
    assert (made(out), calls.begun) == ([("add", {"a": 1})], True)


async def test_arguments_as_an_object() -> None:
    assert made(await taken(call({"a": 1}, name="add"))) == [("add", {"a": 1})]


@pytest.mark.parametrize("repeated", [{"id": "c1", "name": "add"}, {"name": "add"}, {"id": "c1"}, {"id": "other"}])
async def test_a_name_or_id_in_every_piece_begins_no_new_call(repeated: Json) -> None:
    out = await taken(call('{"a":', id="c1", name="add"), call("1}", **repeated), call("", **repeated))
    assert made(out) == [("add", {"a": 1})]


async def test_a_name_that_comes_late() -> None:
    out = await taken(call('{"a":', id="c1"), call("1", name="add"), call("}"))
    assert out.events[:2] == [("open", "add"), ("arguments", '{"a":1')]
    assert made(out) == [("add", {"a": 1})]


@pytest.mark.parametrize("pieces", [("",), (" ", "\n"), (None,)])
async def test_no_arguments_are_an_empty_object(pieces: Sequence[str | None]) -> None:
    first, *rest = (call(piece) for piece in pieces)
    first["function"]["name"] = "add"
    waiting = call("", index=1, name="sub")
    assert made(await taken(first, *rest)) == [("add", {})]
    assert made(await taken(first, waiting, *rest)) == [("add", {}), ("sub", {})]


async def test_a_stray_colon_and_a_tool_that_was_never_offered() -> None:
    out = await taken(call("{}", name="add:"), call("{}", index=1, name="multiply"))
    assert made(out) == [("add", {}), ("multiply", {})]


async def test_free_text_goes_out_as_it_comes_and_as_it_was_meant() -> None:
    text = '*** Begin\n"x"\n'
    sent = json.dumps({"input": text})
    out = await taken(call(sent[:9], id="c1", name="apply_patch"), call(sent[9:20]), call(sent[20:]))
    assert out.events[:3] == [("open", "apply_patch"), ("arguments", "*** Begin"), ("arguments", '\n"x"\n')]
    assert made(out) == [("apply_patch", text)]
    assert isinstance(out.items[0], CustomToolCall)
    assert out.items[0].call_id == "c1"


@pytest.mark.parametrize("said", ["just text", '{"text": "x"}', '{"input": 3}', '"quoted"', ""])
async def test_free_text_that_is_no_json_is_the_input_itself(said: str) -> None:
    assert made(await taken(call(said, name="apply_patch"))) == [("apply_patch", said)]


async def test_calls_into_a_namespace_have_it_back() -> None:
    out = await taken(
        call('{"q":1}', id="c1", name="crm__find"),
        call('{"input":"hi"}', index=1, name="crm__note"),
        call("", index=2, name="crm__find"),
    )
    find, note, empty = out.items
    assert isinstance(find, FunctionCall)
    assert (find.name, find.namespace, find.call_id, find.arguments) == ("find", "crm", "c1", '{"q":1}')
    assert isinstance(note, CustomToolCall)
    assert (note.name, note.namespace, note.input, note.status) == ("note", "crm", "hi", "completed")
    assert note.call_id.startswith("call_")
    assert isinstance(empty, FunctionCall)
    assert empty.arguments == "{}"


async def test_a_call_of_a_type_of_its_own_goes_out_as_the_item_that_the_client_waits_for() -> None:
    out = await taken(call('{"comm', id="c1", name="shell"), call('ands":["ls"]}'), call("oops", index=1, name="shell"))
    first, second = out.items
    assert isinstance(first, OpaqueItem)
    assert first.raw == {
        "type": "shell_call",
        "id": first.id,
        "call_id": "c1",
        "action": {"commands": ["ls"]},
        "status": "completed",
    }
    assert isinstance(second, OpaqueItem)
    assert second.raw["call_id"].startswith("call_")
    assert second.raw["action"]["commands"] == ["oops"]


@pytest.mark.parametrize("said", ["", "x" * 65, "known", None])
async def test_an_id_that_is_none_or_was_used_before_is_replaced(said: str | None) -> None:
    out = await taken(call("{}", id=said, name="add"), known=["known"])
    (item,) = out.items
    assert isinstance(item, FunctionCall)
    assert item.call_id.startswith("call_")


async def test_what_was_cut_off_goes_no_further() -> None:
    out = await taken(call('{"input":"rm', id="c1", name="apply_patch"), cut=True)
    assert out.calls == ()
    assert out.events == [("open", "apply_patch"), ("arguments", "rm")]  # left open, as with functions below
    out = await taken(call('{"commands":["rm"', id="c1", name="shell"), cut=True)
    assert out.items == []
    assert not out.events
    out = await taken(call('{"a":1}', name="add"), call('{"input":"x"}', index=1, name="apply_patch"), cut=True)
    assert made(out) == [("add", {"a": 1}), ("apply_patch", "x")]
    half = await taken(call('{"a":', name="add"), cut=True)
    assert half.calls == ()
    assert half.events[-1] == ("arguments", '{"a":')  # left open: the turn says that it is incomplete


async def test_pieces_that_make_no_call() -> None:
    with pytest.raises(RemoteProtocolError, match="without a name"):
        await taken(call("{}", id="c1"))
    with pytest.raises(RemoteProtocolError, match="too large"):
        await taken(call("x" * 60, name="add"), call("x" * 60), most=100)
    late = call("{}", name="add"), call("{}", index=1, name="sub"), call(" ", index=0), call("x", index=0)
    with pytest.raises(RemoteProtocolError, match="arguments of add after their end"):
        await taken(*late)
    assert len((await taken(*late[:3])).items) == 2


WHOLE = st.fixed_dictionaries({"a": st.integers() | st.text(max_size=8)})


@given(st.lists(st.tuples(st.sampled_from(["add", "sub", "apply_patch"]), WHOLE), min_size=1, max_size=4), st.data())
async def test_however_calls_are_cut_and_mixed_they_come_out_whole_and_in_order(
    wanted: list[tuple[str, Json]], data: st.DataObject
) -> None:
    queues: list[list[Json]] = []
    for index, (name, arguments) in enumerate(wanted):
        text = json.dumps({"input": arguments["a"]} if name == "apply_patch" else arguments)
        cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=3)))
        ends = [0, *cuts, len(text)]
        pieces = [call(text[a:b], index=index) for a, b in itertools.pairwise(ends)]
        pieces[0] = call(pieces[0]["function"]["arguments"], index=index, id=f"c{index}", name=name)
        queues.append(pieces)
    order = [queue.pop(0) for queue in queues]  # every call is announced, then the pieces come mixed
    while any(queues):
        queue = data.draw(st.sampled_from([queue for queue in queues if queue]))
        order.append(queue.pop(0))
    out = RecordingOut()
    calls = calls_on(out, most=1_000_000)
    for piece in order:
        await calls.take(msgspec.convert(piece, CallDelta))
    await calls.end()
    assert [item.name for item in out.calls] == [name for name, _ in wanted]
    for item, (_, arguments) in zip(out.calls, wanted, strict=True):
        if isinstance(item, CustomToolCall):
            value = arguments["a"]
            assert item.input == (value if isinstance(value, str) else json.dumps({"input": value}))
        elif isinstance(item, FunctionCall):
            assert json.loads(item.arguments) == arguments
