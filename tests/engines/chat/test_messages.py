from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentwire.engines.chat.dialect import ChatDialect
from agentwire.engines.chat.messages import Rendered, render
from agentwire.engines.chat.request import body_of
from agentwire.engines.chat.thoughts import Style
from agentwire.engines.offering import Catalogue
from agentwire.protocol.codec import decode_item, encode_wire
from agentwire.protocol.errors import EngineError
from agentwire.protocol.items import Item
from agentwire.protocol.transcript import History, Memo, Node
from agentwire.testing.recording import ask_for

Json = dict[str, Any]


def items(*raw: Json) -> tuple[Item, ...]:
    return tuple(decode_item(each) for each in raw)


def shown(*raw: Json, instructions: str | None = None) -> list[Json]:
    """The messages that items become."""
    told = render(items(*raw), Memo()).messages(instructions)
    messages: list[Json] = json.loads(b"[%b]" % told)
    return messages


def says(role: str, text: str) -> Json:
    return {"type": "message", "role": role, "content": text}


def function_call(call_id: str, name: str = "add", arguments: str = '{"a":1}', **more: Any) -> Json:
    return {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments, **more}


def output(call_id: str, text: Any = "3", kind: str = "function_call") -> Json:
    return {"type": f"{kind}_output", "call_id": call_id, "output": text}


def called(*calls: tuple[str, str, str], text: str = "") -> Json:
    made = [{"id": i, "type": "function", "function": {"name": n, "arguments": a}} for i, n, a in calls]
    return {"role": "assistant", "content": text, "tool_calls": made}


def answered(call_id: str, text: str = "3") -> Json:
    return {"role": "tool", "tool_call_id": call_id, "content": text}


def sealed_part(text: str) -> Json:
    return {"type": "encrypted_content", "encrypted_content": text}


def server_call(name: str = "now", output: str | None = "noon", **more: Any) -> Json:
    return {"type": "mcp_call", "server_label": "s", "name": name, "arguments": "", "output": output, **more}


def thought(text: str) -> Json:
    return {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": text}]}


USER = says("user", "add 1 and 2")
ASKED = {"role": "user", "content": "add 1 and 2"}


def test_a_conversation_of_text() -> None:
    assert shown(USER, says("assistant", "3"), says("user", "sure?")) == [
        ASKED,
        {"role": "assistant", "content": "3"},
        {"role": "user", "content": "sure?"},
    ]


def test_what_the_system_says_first_is_one_message() -> None:
    before = (says("developer", "be brief"), says("system", "be kind"))
    system = {"role": "system", "content": "be good\n\nbe brief\n\nbe kind"}
    assert shown(*before, USER, instructions="be good") == [system, ASKED]
    assert shown(USER, instructions="be good")[0] == {"role": "system", "content": "be good"}
    assert shown(USER) == [ASKED]
    assert shown(USER, says("developer", "be brief"))[1] == {"role": "system", "content": "be brief"}


def test_calls_in_a_row_are_one_message_with_the_text_before_them() -> None:
    raw = (USER, says("assistant", "Let me see."), function_call("c1"), function_call("c2"), output("c1"), output("c2"))
    calls = called(("c1", "add", '{"a":1}'), ("c2", "add", '{"a":1}'), text="Let me see.")
    assert shown(*raw) == [ASKED, calls, answered("c1"), answered("c2")]


@pytest.mark.parametrize("role", ["system", "developer"])
def test_images_that_the_system_shows_come_behind_its_words(role: str) -> None:
    image = {"type": "input_image", "image_url": "data:x"}
    shown_ = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:x"}}]}
    said = {**says(role, ""), "content": [{"type": "input_text", "text": "look"}, image]}
    assert shown(said, USER) == [{"role": "system", "content": "look"}, shown_, ASKED]
    assert shown(USER, said) == [ASKED, {"role": "system", "content": "look"}, shown_]
    assert shown(USER, {**said, "content": [image]}, says(role, "")) == [ASKED, shown_]


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        ({**says("system", ""), "content": [{"type": "input_file", "file_url": "https://x"}]}, "content[0]"),
        (output("c1", {"type": "computer_screenshot", "file_id": "f"}, "computer_call"), "output.file_id"),
    ],
)
def test_what_nobody_can_be_shown_is_named(raw: Json, path: str) -> None:
    known = items(USER, function_call("c1"), raw)
    with pytest.raises(EngineError) as caught:
        render(known, Memo(), new=known[2:])
    assert (caught.value.status, caught.value.param) == (400, f"input[0].{path}")


def test_calls_without_text_have_the_content_that_the_server_wants() -> None:
    raw = (function_call("c1"), output("c1"), says("assistant", "x"), function_call("c2"), output("c2"))
    told = render(items(*raw), Memo(), dialect=ChatDialect(no_text="null")).messages()
    assert [message["content"] for message in json.loads(b"[%b]" % told)] == [None, "3", "x", "3"]


def test_a_tool_that_said_nothing_says_so() -> None:
    assert shown(function_call("c1"), output("c1", ""))[1] == answered("c1", "(no output)")


def test_calls_one_after_the_other_stay_apart() -> None:
    raw = (USER, function_call("c1"), output("c1"), function_call("c2"), output("c2"))
    one, two = called(("c1", "add", '{"a":1}')), called(("c2", "add", '{"a":1}'))
    assert shown(*raw) == [ASKED, one, answered("c1"), two, answered("c2")]


def test_answers_follow_their_calls_wherever_they_stand() -> None:
    raw = (USER, function_call("c1"), function_call("c2"), says("user", "hurry"), output("c2", "2"), output("c1", "1"))
    calls = called(("c1", "add", '{"a":1}'), ("c2", "add", '{"a":1}'))
    assert shown(*raw) == [ASKED, calls, answered("c1", "1"), answered("c2", "2"), {"role": "user", "content": "hurry"}]


def test_a_call_id_may_be_used_again() -> None:
    raw = (function_call("c1"), output("c1", "one"), function_call("c1"), output("c1", "two"))
    assert [message["content"] for message in shown(*raw) if message["role"] == "tool"] == ["one", "two"]


def test_free_text_and_namespaced_calls_have_the_names_that_they_were_offered_by() -> None:
    custom = {"type": "custom_tool_call", "call_id": "c1", "name": "apply_patch", "input": '*** "x"'}
    find = function_call("c2", "find", namespace="crm")
    message, *_ = shown(custom, find, output("c1", "ok", "custom_tool_call"), output("c2"))
    first, second = (call["function"] for call in message["tool_calls"])
    assert first["name"] == "apply_patch"
    assert json.loads(first["arguments"]) == {"input": '*** "x"'}
    assert second["name"] == "crm__find"


@pytest.mark.parametrize(
    ("given_", "sent"), [("", {}), (" ", {}), ('{"a":', {"arguments": '{"a":'}), ("[1]", {"arguments": "[1]"})]
)
def test_arguments_are_always_a_json_object(given_: str, sent: Json) -> None:
    message, *_ = shown(function_call("c1", arguments=given_), output("c1"))
    assert json.loads(message["tool_calls"][0]["function"]["arguments"]) == sent


def test_the_servers_own_calls_are_calls_with_their_answers() -> None:
    done = server_call(id="mcp_1")
    failed = server_call("fail", None, error={"type": "tool_execution_error", "content": "boom"})
    cut = server_call("cut", None)
    words = server_call("words", None, error="no luck")
    messages = shown(USER, says("assistant", "Well."), done, failed, cut, words, says("assistant", "Noon."))
    assert messages[1:3] == [called(("mcp_1", "now", "{}"), text="Well."), answered("mcp_1", "noon")]
    assert [message["content"] for message in messages if message["role"] == "tool"] == [
        "noon",
        '{"type":"tool_execution_error","content":"boom"}',
        "(no output)",
        "no luck",
    ]
    assert messages[3]["tool_calls"][0]["id"] == messages[4]["tool_call_id"] == "call_3"
    assert messages[-1] == {"role": "assistant", "content": "Noon."}


def test_the_servers_own_calls_have_the_names_that_their_tools_were_offered_by() -> None:
    prompt = render(
        items(USER, server_call(id="mcp_1")), Memo(), called=lambda call: f"{call.server_label}_{call.name}"
    )
    assert json.loads(b"[%b]" % prompt.messages())[1]["tool_calls"][0]["function"]["name"] == "s_now"


def test_images_in_an_output_come_after_all_answers() -> None:
    image = {"type": "input_image", "image_url": "data:image/png;base64,AA=="}
    seen = [{"type": "input_text", "text": "here"}, image]
    messages = shown(USER, function_call("c1"), function_call("c2"), output("c1", seen), output("c2", [image]))
    shot = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    assert messages[2:] == [
        answered("c1", "here"),
        answered("c2", "(see below)"),
        {"role": "user", "content": [shot, shot]},
    ]


def test_calls_of_other_types_are_told_as_functions() -> None:
    shell = {"type": "shell_call", "id": "sh_1", "call_id": "c1", "action": {"commands": ["ls"]}, "status": "completed"}
    said = {"type": "shell_call_output", "call_id": "c1", "output": [{"stdout": "a.txt"}]}
    click = {"type": "computer_call", "id": "cu_1", "call_id": "c2", "action": {"type": "screenshot"}}
    screen = {"type": "computer_call_output", "call_id": "c2", "output": {"type": "x", "image_url": "data:,"}}
    local = {"type": "local_shell_call", "id": "l_1", "call_id": "c3", "action": {"command": ["ls"]}}
    words = {"type": "local_shell_call_output", "id": "l_1", "call_id": "c3", "output": "b.txt"}
    messages = shown(shell, said, click, screen, local, words)
    assert messages[:2] == [
        called(("c1", "shell", '{"commands":["ls"]}')),
        answered("c1", "a.txt"),
    ]
    assert messages[4]["content"] == [{"type": "image_url", "image_url": {"url": "data:,"}}]
    assert messages[6] == answered("c3", "b.txt")


def test_what_another_backend_did_is_told_in_words() -> None:
    search = {
        "type": "web_search_call",
        "id": "ws_1",
        "status": "completed",
        "action": {"type": "search", "query": "x"},
    }
    ours = {"type": "frobnicate_call", "id": "f_1", "call_id": "c1", "thing": "y" * 3_000}
    done = {"type": "frobnicate_call_output", "call_id": "c1", "output": "z"}
    approval = {"type": "mcp_approval_request", "id": "mcpr_1", "server_label": "s", "name": "n", "arguments": "{}"}
    answer = {"type": "mcp_approval_response", "approval_request_id": "mcpr_1", "approve": True}
    said, output = shown(search, ours, done, approval, answer)
    assert said["role"] == "assistant"
    assert said["content"].startswith(
        '(web_search_call: {"action":{"type":"search","query":"x"}})\n\n(frobnicate_call: '
    )
    assert len(said["content"]) < 2_200
    assert output == {"role": "user", "content": '(frobnicate_call_output: {"output":"z"})'}


def test_what_agents_of_a_client_tell_each_other_is_said_by_the_user() -> None:
    head = {"type": "input_text", "text": "Task name: /root/finder"}
    image = {"type": "input_image", "image_url": "data:image/png;base64,AA=="}
    told: Json = {"type": "agent_message", "author": "/root", "recipient": "/root/finder"}
    plain = told | {"content": [head, sealed_part("find it")]}
    sealed = told | {"content": [sealed_part("gAAAA" * 40), image, {"type": "?"}]}
    first, second = shown(plain, sealed)
    assert first == {"role": "user", "content": "Task name: /root/finder\nfind it"}
    note, picture = second["content"]
    assert note["text"] == "(This part can be read by the hosted service alone.)"
    assert picture["type"] == "image_url"


def test_sealed_parts_of_an_output_are_text() -> None:
    parts = [sealed_part("four hits"), {"type": "input_text", "text": "and more"}]
    assert shown(function_call("c1"), output("c1", parts))[1:] == [answered("c1", "four hits\nand more")]


def test_calls_have_the_names_that_their_tools_have_where_two_would_have_one() -> None:
    inner = {"type": "namespace", "name": "a", "tools": [{"type": "function", "name": "b"}]}
    known = Catalogue.of(ask_for("x", tools=[{"type": "function", "name": "a__b"}, inner]).tools)
    message = _messages(items(function_call("c1", "a__b"), function_call("c2", "b", namespace="a")), known)[0]
    first, second = (call["function"]["name"] for call in message["tool_calls"])
    assert first == "a__b"
    assert second.startswith("a__b_")
    assert [offer.backend_name for offer in known] == [first, second]


def test_tools_that_were_found_are_kept_for_the_turns_that_follow() -> None:
    tool = {"type": "function", "name": "late", "description": "Late.", "parameters": {}, "defer_loading": True}
    call = {"type": "tool_search_call", "call_id": "c1", "execution": "client", "arguments": {"query": "late"}}
    found = {"type": "tool_search_output", "call_id": "c1", "execution": "client", "tools": [tool]}
    memo, known = Memo(), Catalogue()
    whole = items(USER, call, found)
    messages = json.loads(b"[%b]" % render(whole, memo, known=known).messages())
    assert messages[1:] == [
        called(("c1", "tool_search", '{"query":"late"}')),
        answered("c1", "Found; these can be called now:\n- late: Late."),
    ]
    later = Catalogue()
    render((*whole, *items(USER)), memo, known=later)
    assert [offer.name for offer in later] == [offer.name for offer in known] == ["late"]


def _messages(raw: tuple[Item, ...], known: Catalogue) -> list[Json]:
    messages: list[Json] = json.loads(b"[%b]" % render(raw, Memo(), known=known).messages())
    return messages


def test_what_has_no_message_is_left_out_and_noted(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "agentwire.engine"):
        kept = shown(
            USER,
            {"type": "reasoning", "id": "rs_1", "summary": []},
            {"type": "web_search_call", "id": "ws_1"},
            {"type": "compaction", "encrypted_content": "x"},
            {"type": "message", "role": "assistant", "content": []},
        )
    assert kept == [ASKED]
    assert "web_search_call" in caplog.text
    assert "reasoning" in caplog.text


def test_reasoning_does_not_part_a_message() -> None:
    thought = {"type": "reasoning", "id": "rs_1", "summary": []}
    messages = shown(says("assistant", "Hm."), thought, function_call("c1"), output("c1"))
    assert len(messages) == 2


def test_reasoning_is_in_the_message_that_it_led_to() -> None:
    raw = (USER, thought("Hm."), says("assistant", "Well."), thought("So."), function_call("c1"), output("c1"), USER)
    told = render(items(*raw), Memo(), style=Style("reasoning")).messages()
    first, message, *_ = json.loads(b"[%b]" % told)
    assert first == ASKED
    assert message == {**called(("c1", "add", '{"a":1}'), text="Well."), "reasoning": "Hm.\n\nSo."}
    alone = render(items(USER, thought("Hm."), USER), Memo(), style=STYLE).messages()
    assert json.loads(b"[%b]" % alone) == [ASKED, ASKED]


def test_refusals_and_texts_of_one_answer_are_one_message() -> None:
    refusal = {"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}
    assert shown(says("assistant", "Well."), refusal) == [{"role": "assistant", "content": "Well.\n\nNo."}]


def test_a_call_without_an_answer_is_answered_with_nothing() -> None:
    assert shown(function_call("c1"), says("user", "go on"))[1] == answered("c1", "(no output)")


def test_half_a_surrogate_pair_does_not_stop_a_conversation() -> None:
    prompt = render(items(says("user", "a\ud800b")), Memo())
    assert "�" in prompt.messages().decode()


def test_late_tools_are_kept_with_the_conversation() -> None:
    late = {"type": "additional_tools", "role": "developer", "tools": [{"type": "function", "name": "late"}]}
    memo = Memo()
    for known in (items(late), items(late, USER), items(late, USER, says("assistant", "x"), late)):
        prompt = render(known, memo)
    assert [tool.raw["tools"][0]["name"] for tool in prompt.rendered.late] == ["late", "late"]


def test_ids_of_earlier_calls_are_known() -> None:
    memo = Memo()
    first = items(USER, function_call("c1"), output("c1"), server_call(id="mcp_1"))
    render(first, memo)
    prompt = render((*first, *items(function_call("c2"), output("c2"))), memo)
    assert all(map(prompt.rendered.knows, ("c1", "c2", "mcp_1")))
    assert not prompt.rendered.knows("c3")


# Appended, not rebuilt

STYLE = Style("reasoning", "all")


class Watched(Sequence[Item]):
    """A conversation that counts the items that are looked at."""

    def __init__(self, whole: Sequence[Item]) -> None:
        self._whole = whole
        self.looked_at = 0

    def __getitem__(self, index: Any) -> Any:
        raise AssertionError("every access costs the whole history")

    def __len__(self) -> int:
        return len(self._whole)

    def __reversed__(self) -> Any:
        for item in reversed(self._whole):
            self.looked_at += 1
            yield item


def test_a_turn_reads_its_new_items_alone() -> None:
    memo, whole = Memo(), items(USER)
    for number in range(50):
        watched = Watched(whole)
        render(watched, memo)
        assert watched.looked_at <= 4
        whole += items(function_call(f"c{number}"), output(f"c{number}"), says("assistant", "3"), USER)


def test_turn_200_encodes_no_more_than_turn_2_and_its_body_begins_as_that_of_turn_199(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encoded = 0

    def counting(value: Any) -> bytes:
        nonlocal encoded
        encoded += 1
        return encode_wire(value)

    monkeypatch.setattr("agentwire.engines.chat.messages.encode_wire", counting)
    settings = {"model": "m", "tools": [{"type": "function", "function": {"name": "add"}}], "stream": True}
    node = Node.root("r0", items(says("developer", "be brief"), USER), items(thought("Hm."), function_call("c0")))
    memo, ended = Memo(), b""
    for turn in range(1, 201):
        given_ = items(output(f"c{turn - 1}"))
        for fork in (Memo(memo.value), memo):  # one that is left behind at each turn, and the trunk
            encoded = 0
            prompt = render(History(node, given_), fork, style=STYLE)
            assert encoded == (2 if turn > 1 else 3)  # the call and its answer, and what the user said
            body = body_of(settings, prompt.messages("i"))
            assert body.startswith(ended)
        ended = body.removesuffix(b"]}")
        node = node.extend(f"r{turn}", given_, items(thought("Hm."), function_call(f"c{turn}")))
    assert len(json.loads(body)["messages"]) == 2 + 2 * 200


def test_forks_share_what_they_have_in_common_and_do_not_disturb_each_other() -> None:
    memo = Memo()
    trunk = Node.root("r1", items(USER), items(says("assistant", "3")))
    render(History(None, trunk.input), memo)
    left, right = Memo(memo.value), Memo(memo.value)
    one = render(History(trunk, items(says("user", "left"))), left)
    two = render(History(trunk, items(says("user", "right"))), right)
    assert one.rendered.before is two.rendered.before is memo.value
    assert json.loads(b"[%b]" % one.messages())[-1]["content"] == "left"
    assert json.loads(b"[%b]" % two.messages())[-1]["content"] == "right"


def test_a_memo_of_somebody_else_is_not_used() -> None:
    for strange in ("something", Rendered(items=7, json=b'{"role":"user"}')):
        memo = Memo(strange)
        assert json.loads(render(items(USER), memo).messages()) == ASKED
        assert isinstance(memo.value, Rendered)
        assert memo.value.items == 1


def test_the_same_conversation_renders_to_the_same_bytes_again() -> None:
    memo, whole = Memo(), items(says("system", "s"), USER)
    for _ in range(3):  # nothing new, such as in a retried step
        assert render(whole, memo).messages() == render(whole, Memo()).messages()


@st.composite
def turns(draw: st.DrawFn) -> list[tuple[Item, ...]]:
    """A conversation turn by turn: what a client sends (answers to all calls first), and what came of it."""
    found: list[tuple[Item, ...]] = []
    open_calls: list[str] = []
    number = 0
    for _ in range(draw(st.integers(1, 5))):
        given_ = [output(call_id) for call_id in draw(st.permutations(open_calls))]
        roles = draw(st.lists(st.sampled_from(["user", "system", "developer", "assistant"]), max_size=3))
        mixed = draw(st.permutations([*given_, *(says(role, f"{role} speaks") for role in roles)]))
        found.append(items(*mixed))
        made: list[Json] = []
        open_calls = []
        for kind in draw(st.lists(st.sampled_from(["text", "call", "server", "thought", "late"]), max_size=4)):
            number += 1
            if kind == "call":
                open_calls.append(f"c{number}")
            made.append(
                {
                    "text": says("assistant", f"text {number}"),
                    "call": function_call(f"c{number}"),
                    "server": server_call(id=f"mcp_{number}"),
                    "thought": thought(f"thought {number}"),
                    "late": {"type": "additional_tools", "role": "developer", "tools": []},
                }[kind]
            )
        found.append(items(*made))
    found.append(items(*(output(call_id) for call_id in open_calls)))
    return found


@given(turns(), st.data())
def test_however_a_conversation_is_cut_into_turns_its_bytes_are_the_same(
    pieces: list[tuple[Item, ...]], data: st.DataObject
) -> None:
    whole = tuple(item for piece in pieces for item in piece)
    memo = Memo()
    for end in range(1, len(pieces) + 1, 2):  # an engine is asked after each input
        if data.draw(st.booleans()):
            known = tuple(item for piece in pieces[:end] for item in piece)
            assert render(known, memo, style=STYLE).messages("i") == render(known, Memo(), style=STYLE).messages("i")
    at_once = render(whole, Memo(), style=STYLE)
    assert render(whole, memo, style=STYLE).messages("i") == at_once.messages("i")
    assert memo.value.late == at_once.rendered.late
    check_legal(json.loads(b"[%b]" % at_once.messages("i")))


def check_legal(messages: list[Json]) -> None:
    """One system message at the start, and right after each call its answer."""
    assert messages[0]["role"] == "system"
    waiting: list[str] = []
    for message in messages:
        if message["role"] == "tool":
            waiting.remove(message["tool_call_id"])
            continue
        assert not waiting
        waiting = [call["id"] for call in message.get("tool_calls", ())]
    assert not waiting


@given(turns())
def test_a_longer_conversation_begins_with_the_bytes_of_the_shorter(pieces: list[tuple[Item, ...]]) -> None:
    memo, settled = Memo(), b""
    for end in range(1, len(pieces) + 1, 2):
        prompt = render(tuple(item for piece in pieces[:end] for item in piece), memo, style=STYLE)
        told = prompt.messages("instructions")
        assert told.startswith(settled)
        if prompt.rendered.json:  # else the system may still have more to say first
            settled = told.removesuffix(b"," + prompt.tail) if prompt.tail else told
