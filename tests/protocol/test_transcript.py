"""Conversations as chains: against a plain list, and the pairing of calls and answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, rule

from agentwire.protocol.codec import encode_item
from agentwire.protocol.compaction import seal
from agentwire.protocol.content import InputText
from agentwire.protocol.errors import RequestError
from agentwire.protocol.items import (
    Compaction,
    CustomToolCall,
    CustomToolCallOutput,
    FunctionCall,
    FunctionCallOutput,
    Item,
    ItemReference,
    Message,
    OpaqueItem,
    OpenedCompaction,
    Reasoning,
    Summary,
)
from agentwire.protocol.transcript import History, Node, check_pairing, resolve


def call(call_id: str) -> FunctionCall:
    return FunctionCall(call_id, "f", "{}", id=f"fc_{call_id}")


def answer(call_id: str) -> FunctionCallOutput:
    return FunctionCallOutput(call_id, "done")


def say(text: str, item_id: str | None = None) -> Message:
    return Message("user", text, id=item_id)


def refusal(parent: Node | None, *new: Item, **how: Any) -> tuple[str, str | None]:
    with pytest.raises(RequestError) as caught:
        check_pairing(parent, new, **how)
    assert caught.value.status == 400
    return caught.value.code, caught.value.param


# Against a plain list

IDS = st.sampled_from("abc")
ANY_ITEM = st.one_of(
    IDS.map(call),
    IDS.map(answer),
    st.text(max_size=2).map(say),
    IDS.map(lambda name: CustomToolCall(name, "g", "x")),
    IDS.map(lambda name: CustomToolCallOutput(name, "y")),
)
SOME = st.lists(ANY_ITEM, max_size=4)


def naive_verdict(history: Sequence[Item], new: Sequence[Item], *, generate: bool) -> str | None:
    """The code of the first thing that is wrong with new items after a history that is taken as it is."""
    waiting: dict[str, str] = {}
    answered: set[str] = set()
    answers = {"function_call": "function_call_output", "custom_tool_call": "custom_tool_call_output"}
    for position, item in enumerate([*history, *new]):
        judged = position >= len(history)
        name = getattr(item, "call_id", None)
        if name is None:
            continue
        if item.type in answers:
            if judged and name in waiting:
                return "duplicate_tool_call"
            waiting[name] = answers[item.type]
        elif judged and waiting.get(name) != item.type:
            return "duplicate_tool_output" if name not in waiting and name in answered else "tool_call_not_found"
        else:
            waiting.pop(name, None)
            answered.add(name)
    return "tool_output_missing" if waiting and generate else None


def verdict(parent: Node | None, new: Sequence[Item], *, generate: bool) -> str | None:
    try:
        check_pairing(parent, new, generate=generate)
    except RequestError as error:
        return error.code
    return None


class Conversations(RuleBasedStateMachine):
    """A tree of conversations that are continued and forked, beside the lists that they stand for."""

    nodes: Bundle[tuple[Node, list[Item], str]] = Bundle("nodes")

    def __init__(self) -> None:
        super().__init__()
        self.made = 0

    def _name(self) -> str:
        self.made += 1
        return f"resp_{self.made}"

    @rule(target=nodes, given_items=SOME, made_items=SOME)
    def begin(self, given_items: list[Item], made_items: list[Item]) -> tuple[Node, list[Item], str]:
        name = self._name()
        node = Node.root(name, given_items, made_items)
        assert (node.parent, node.depth, node.root_id) == (None, 0, name)
        return node, [*given_items, *made_items], name

    @rule(target=nodes, start=nodes, given_items=SOME, made_items=SOME)
    def go_on(
        self, start: tuple[Node, list[Item], str], given_items: list[Item], made_items: list[Item]
    ) -> tuple[Node, list[Item], str]:
        parent, items, root = start
        node = parent.extend(self._name(), given_items, made_items)
        assert node.parent is parent
        assert (node.depth, node.root_id) == (parent.depth + 1, root)
        return node, [*items, *given_items, *made_items], root

    @rule(where=nodes)
    def read(self, where: tuple[Node, list[Item], str]) -> None:
        node, items, _ = where
        history = node.items()
        assert len(history) == node.size == len(items)
        assert list(history) == items
        assert list(reversed(node.items())) == items[::-1]
        assert history[:2] == tuple(items[:2])
        assert not items or history[-1] == items[-1]

    @rule(where=nodes, new=SOME, generate=st.booleans())
    def judge(self, where: tuple[Node, list[Item], str], new: list[Item], generate: bool) -> None:
        node, items, _ = where
        assert verdict(node, new, generate=generate) == naive_verdict(items, new, generate=generate)

    @rule(where=nodes, name=st.sampled_from(["fc_a", "fc_b", "fc_c", "none"]))
    def find(self, where: tuple[Node, list[Item], str], name: str) -> None:
        node, items, _ = where
        found = [item for item in items if item.id == name]
        assert node.find(name) == (found[-1] if found else None)


TestConversations = Conversations.TestCase


@given(SOME, st.booleans())
def test_a_history_in_full_is_paired_like_a_list(new: list[Item], generate: bool) -> None:
    assert verdict(None, new, generate=generate) == naive_verdict([], new, generate=generate)


# Shape


def test_a_fork_shares_its_parent() -> None:
    parent = Node.root("r1", [say("a")], [call("c")])
    left, right = parent.extend("r2", [answer("c")], []), parent.extend("r3", [answer("c")], [])
    assert left.parent is right.parent is parent
    assert set(parent.unanswered) == {"c"}
    assert not left.unanswered
    assert not right.unanswered


def test_nodes_are_equal_only_to_themselves_and_print_shortly() -> None:
    one, other = Node.root("r", [], []), Node.root("r", [], [])
    assert one != other
    assert len({one, other}) == 2
    chain = one
    for number in range(50):
        chain = chain.extend(f"r{number}", [say("x" * 100)], [])
    assert len(repr(chain)) < 300
    assert repr(chain.items()) == "<History of 50 items>"


def test_every_node_has_a_memo_of_its_own() -> None:
    parent = Node.root("r1", [], [])
    parent.memo.value = ["rendered"]
    child = parent.extend("r2", [], [])
    assert child.memo.value is None
    assert parent.memo.value == ["rendered"]


def test_a_very_long_chain_is_no_problem() -> None:
    node = Node.root("r", [say("0")], [])
    for number in range(20_000):
        node = node.extend(f"r{number}", [say(str(number))], [])
    assert len(list(node.items())) == 20_001
    assert node.find("nothing") is None
    del node


def test_a_history_may_have_a_tail() -> None:
    node = Node.root("r", [say("a")], [say("b")])
    history = History(node, [say("c")])
    assert [item.text for item in history if isinstance(item, Message)] == ["a", "b", "c"]
    assert next(iter(reversed(history))) == say("c")
    assert history[2] == say("c")
    assert list(History(None, [say("c")])) == list(reversed(History(None, [say("c")]))) == [say("c")]


# Pairing


def test_parallel_calls_are_answered_in_any_order_and_beside_other_items() -> None:
    parent = Node.root("r", [say("go")], [Reasoning(), call("a"), call("b")])
    check_pairing(parent, [answer("b"), say("and hurry"), answer("a")])


def test_an_answer_without_its_call_is_refused() -> None:
    parent = Node.root("r", [say("go")], [])
    assert refusal(parent, say("x"), answer("zz")) == ("tool_call_not_found", "input[1]")
    assert refusal(None, answer("a"), call("a")) == ("tool_call_not_found", "input[0]")


def test_an_answer_of_another_kind_is_no_answer() -> None:
    parent = Node.root("r", [], [CustomToolCall("a", "g", "x")])
    assert refusal(parent, answer("a")) == ("tool_call_not_found", "input[0]")
    check_pairing(parent, [CustomToolCallOutput("a", "y")])


def test_a_call_without_its_answer_is_refused() -> None:
    parent = Node.root("r", [], [call("a"), call("b")])
    assert refusal(parent, answer("a")) == ("tool_output_missing", "input")
    assert refusal(parent) == ("tool_output_missing", "input")
    assert refusal(None, say("x"), call("a"), say("y")) == ("tool_output_missing", "input")


@pytest.mark.parametrize(
    "cut",
    [
        FunctionCall("c1", "f", '{"pa', status="incomplete"),
        OpaqueItem({"type": "shell_call", "call_id": "c1", "status": "incomplete"}),
    ],
)
def test_a_call_that_was_cut_off_may_be_answered_and_need_not_be(cut: Item) -> None:
    answer: Item = FunctionCallOutput("c1", "x")
    if isinstance(cut, OpaqueItem):
        answer = OpaqueItem({"type": "shell_call_output", "call_id": "c1"})
    check_pairing(Node.root("r1", (), (cut,)), [Message("user", "go on")])
    check_pairing(Node.root("r1", (), (cut,)), [answer])


def test_a_second_answer_is_refused() -> None:
    parent = Node.root("r", [], [call("a")])
    assert refusal(parent, answer("a"), answer("a")) == ("duplicate_tool_output", "input[1]")
    later = parent.extend("r2", [answer("a")], [])
    assert refusal(later, answer("a")) == ("duplicate_tool_output", "input[0]")


def test_two_open_calls_cannot_share_an_id_but_a_later_one_can_take_it() -> None:
    assert refusal(None, call("a"), call("a")) == ("duplicate_tool_call", "input[1]")
    check_pairing(None, [call("a"), answer("a"), call("a"), answer("a")])


def test_a_warm_up_may_leave_calls_open() -> None:
    check_pairing(None, [say("x"), call("a")], generate=False)
    warm = Node.root("r", [say("x"), call("a")], [])
    assert refusal(warm, say("y")) == ("tool_output_missing", "input")
    check_pairing(warm, [answer("a")])


def test_messages_tell_the_call_id_and_are_never_long() -> None:
    parent = Node.root("r", [], [])
    with pytest.raises(RequestError, match="No tool call found for function call output with call_id call_1"):
        check_pairing(parent, [answer("call_1")])
    with pytest.raises(RequestError, match="No tool output found for function call call_1"):
        check_pairing(None, [call("call_1")])
    with pytest.raises(RequestError) as caught:
        check_pairing(parent, [answer("x" * 9999)])
    assert len(caught.value.message) < 200


def test_opaque_calls_are_paired_too() -> None:
    asked = OpaqueItem({"type": "mcp_approval_request", "id": "mcpr_1"})
    parent = Node.root("r", [], [asked])
    assert refusal(parent, say("no")) == ("tool_output_missing", "input")
    check_pairing(parent, [OpaqueItem({"type": "mcp_approval_response", "approval_request_id": "mcpr_1"})])


# References


def test_a_reference_is_replaced_by_what_it_stands_for() -> None:
    known = {"msg_1": say("old", "msg_1")}
    new: list[Item] = [ItemReference("msg_1"), say("new")]
    assert resolve(None, new, known.get) == (say("old", "msg_1"), say("new"))


def test_without_references_nothing_changes() -> None:
    new: list[Item] = [say("a"), call("c")]
    assert resolve(Node.root("r", [], []), new) == tuple(new)


def test_an_unknown_reference_is_not_found() -> None:
    with pytest.raises(RequestError) as caught:
        resolve(None, [say("a"), ItemReference("msg_1")])
    assert (caught.value.status, caught.value.code, caught.value.param) == (404, "item_not_found", "input[1].id")


@pytest.mark.parametrize(
    "new",
    [
        [ItemReference("msg_0")],
        [say("again", "msg_1"), ItemReference("msg_1")],
        [ItemReference("msg_1"), ItemReference("msg_1")],
    ],
)
def test_an_item_that_is_there_already_is_not_added_again(new: list[Item]) -> None:
    parent = Node.root("r", [Message("user", (InputText("a"),), id="msg_0")], [])
    with pytest.raises(RequestError) as caught:
        resolve(parent, new, lambda name: say("found", name))
    assert (caught.value.status, caught.value.code) == (400, "duplicate_item")
    assert caught.value.param == f"input[{len(new) - 1}].id"


def test_items_without_an_id_are_no_duplicates() -> None:
    assert len(resolve(None, [say("a"), say("a"), ItemReference("m")], lambda name: say("b", name))) == 3


# Compaction


def shown(items: Sequence[Item]) -> list[str]:
    return [item.text if isinstance(item, Message) else item.type for item in items]


def test_a_compaction_cuts_what_an_engine_sees_and_leaves_the_chain() -> None:
    first = Node.root("resp_1", [say("one", "msg_1")], [say("two")])
    compaction = seal("cmp_1", "so far", (say("one"),))
    second = first.extend("resp_2", [say("three")], [compaction, say("four")])
    third = second.extend("resp_3", [say("five")], [say("six")])
    assert shown(third.items()) == ["so far", "one", "four", "five", "six"]
    assert shown(list(reversed(third.items()))) == ["six", "five", "four", "one", "so far"]
    assert isinstance(third.items()[0], Summary)
    assert len(third.items()) == third.size == 5
    assert [node.response_id for node in third.chain()] == ["resp_3", "resp_2", "resp_1"]
    assert [node.response_id for node in third.context()] == ["resp_3", "resp_2"]
    assert third.find("msg_1") is first.input[0]
    assert (third.depth, third.root_id) == (2, "resp_1")
    assert shown(first.extend("resp_fork", [say("other")], []).items()) == ["one", "two", "other"]


def test_a_compaction_in_the_input_cuts_at_once() -> None:
    parent = Node.root("resp_1", [say("one")], [call("a")])
    history = History(parent, [say("two"), seal("cmp_1", "so far", (call("b"),)), answer("b")])
    assert shown(history) == ["so far", "function_call", "function_call_output"]
    assert history.node is None
    assert len(history) == 3


def test_messages_that_stand_before_a_compaction() -> None:
    compaction = seal("cmp_1", "so far", (), after_messages=True)
    developer, assistant = Message("developer", "brief"), Message("assistant", "hm")
    history = History(None, [developer, say("one"), assistant, say("two"), compaction, say("three")])
    assert shown(history) == ["one", "two", "so far", "three"]


def test_a_compaction_at_rest_is_opened() -> None:
    compaction = seal("cmp_1", "so far", (call("a"),))
    closed = Compaction(**{name: value for name, value in encode_item(compaction).items() if name != "type"})
    node = Node.root("resp_1", [say("one")], [closed])
    assert shown(node.items()) == ["so far", "function_call"]
    assert isinstance(node.output[0], OpenedCompaction)
    assert list(node.unanswered) == ["a"]
    foreign = Node.root("resp_1", [say("one")], [Compaction("gAAA")])
    assert shown(foreign.items()) == ["one", "compaction"]


def test_calls_are_paired_across_a_compaction() -> None:
    parent = Node.root("resp_1", [say("go")], [call("a"), call("b")])
    compaction = seal("cmp_1", "so far", (call("b"),))
    check_pairing(parent, [answer("a"), compaction, answer("b")])
    assert refusal(parent, compaction) == ("tool_output_missing", "input")
    assert refusal(None, compaction, answer("b"), answer("b")) == ("duplicate_tool_output", "input[2]")
    assert refusal(None, compaction, answer("c")) == ("tool_call_not_found", "input[1]")
    assert refusal(None, seal("cmp_2", "", (answer("x"),))) == ("tool_call_not_found", "input[0]")
    node = parent.extend("resp_2", [], [compaction])
    assert list(node.unanswered) == ["b"]


def test_a_reference_brings_back_what_was_compacted() -> None:
    first = Node.root("resp_1", [say("one", "msg_1")], [])
    second = first.extend("resp_2", [], [seal("cmp_1", "so far", (say("two", "msg_2"),))])
    assert resolve(second, [ItemReference("msg_1")]) == (first.input[0],)
    with pytest.raises(RequestError, match="has the item"):
        resolve(second, [ItemReference("msg_2")])


@given(st.lists(st.tuples(SOME, SOME, st.none() | st.tuples(SOME, st.booleans()), SOME), max_size=5))
def test_any_chain_with_compactions_against_a_plain_list(turns: list[Any]) -> None:
    node: Node | None = None
    seen: list[Item] = []
    whole = 0
    for number, (given_, before, folded, after) in enumerate(turns):
        made: list[Item] = [*before]
        if folded is not None:
            kept, apart = folded
            made.append(seal(f"cmp_{number}", f"summary {number}", kept, after_messages=apart))
            users = [item for item in (*given_, *before) if isinstance(item, Message) and item.role == "user"]
            seen = [
                *(users if apart else ()),
                Summary("user", f"summary {number}", f"cmp_{number}", "completed"),
                *kept,
            ]
        else:
            seen = [*seen, *given_, *before]
        seen += after
        made += after
        tail = History(node, [*given_, *made])
        node = node.extend(f"resp_{number}", given_, made) if node else Node.root(f"resp_{number}", given_, made)
        whole += len(given_) + len(made)
        assert list(node.items()) == list(tail) == seen
        assert len(node.items()) == len(tail) == node.size == len(seen)
        assert list(reversed(node.items())) == list(reversed(tail)) == seen[::-1]
        assert sum(len(each.input) + len(each.output) for each in node.chain()) == whole
