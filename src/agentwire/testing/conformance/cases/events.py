"""Cases about what a client may send."""

from __future__ import annotations

import json
from typing import Any, Final

from agentwire.testing.conformance.peer import Peer
from agentwire.testing.conformance.registry import case
from agentwire.testing.conformance.turns import about, check

__all__ = [
    "a_request_needs_a_model",
    "a_safety_identifier_has_a_length",
    "an_empty_parent_is_none_at_all",
    "an_inject_that_nobody_waits_for_is_handed_back",
    "background_options_are_refused",
    "bad_json_is_refused",
    "conversations_and_prompts_are_refused_by_name",
    "events_that_do_not_exist_are_refused",
    "every_include_is_accepted",
    "input_is_a_string_or_a_list",
    "items_are_accepted_in_every_shape",
    "members_come_in_any_order",
    "metadata_has_bounds",
    "numbers_have_bounds",
    "output_comes_back_as_input",
    "processed_is_ignored",
    "settings_of_other_servers_change_nothing",
    "text_and_reasoning_settings_are_accepted",
    "the_first_event_is_created_or_an_error",
    "tools_of_every_type_are_accepted",
    "transport_fields_change_nothing",
    "truncation_is_auto_or_disabled",
    "unknown_members_are_ignored",
    "wrong_types_are_refused_by_name",
]

INCLUDES: Final = (
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
    "reasoning.encrypted_content",
    "message.output_text.logprobs",
)
PARAMETERS: Final = {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]}
PIXEL: Final = (
    "data:image/png;base64,"
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
USER: Final = {"role": "user", "content": "Say hello."}


async def taken(peer: Peer, content: Any = "Say hello.", **fields: Any) -> None:
    """A request with these fields completes."""
    async with peer.socket() as socket:
        (await socket.ask(content, **fields)).completed()


async def refused(peer: Peer, param: str, *values: Any, code: str | None = None) -> None:
    """Each of these values is refused by the name of its member, and the connection goes on."""
    async with peer.socket() as socket:
        for value in values:
            turn = await socket.ask(**{param: value})
            check(turn.error is not None, f"{param} = {value!r} was taken")
            turn.refused(code)
            named = str((turn.error or {})["error"].get("param"))
            check(named.startswith(param), f"{param} = {value!r} was refused, but the error names {named!r}")
        await socket.usable()


@case(24, "AW-C-001")
async def input_is_a_string_or_a_list(peer: Peer) -> None:
    """Ask with a string, with a message, and with parts."""
    await taken(peer, "Say hello.")
    await taken(peer, [USER])
    await taken(peer, [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Say hello."}]}])


@case(25, "AW-C-002")
async def members_come_in_any_order(peer: Peer) -> None:
    """Send `type` last."""
    async with peer.socket() as socket:
        text = json.dumps({**peer.body(), "type": "response.create"})
        check(text.index('"type"') > text.index('"model"'), "the case is wrong")
        (await socket.say(text)).completed()


@case(26, "AW-C-003", "AW-C-004", "AW-C-005")
async def transport_fields_change_nothing(peer: Peer) -> None:
    """Send `stream`, `stream_options` and `background` as clients do."""
    async with peer.socket() as socket:
        plain = (await socket.ask()).completed()
        for rule, fields in (
            ("AW-C-003", {"stream": True}),
            ("AW-C-003", {"stream": False}),
            ("AW-C-004", {"stream_options": {"include_obfuscation": False}}),
            ("AW-C-005", {"background": False}),
            ("AW-C-005", {"background": None}),
        ):
            with about(rule):
                turn = (await socket.ask(**fields)).completed()
                check(set(turn.types) == set(plain.types), f"with {fields} other events came")


@case(28, "AW-C-007")
async def background_options_are_refused(peer: Peer) -> None:
    """Ask for a completion window."""
    await refused(peer, "background_options", {"completion_window": "soonest"}, code="unsupported_parameter")


@case(29, "AW-C-008", "AW-O-001", "AW-O-002")
async def the_first_event_is_created_or_an_error(peer: Peer) -> None:
    """Look at what comes first of a request that is taken, and of one that is not."""
    async with peer.socket() as socket:
        turn = (await socket.ask()).completed()
        first = turn.events[0]
        check(first["type"] == "response.created", f"the first event is {first['type']}")
        check(first["response"]["status"] == "in_progress", "the response does not begin in progress")
        check(first["response"]["output"] == [], "the response begins with output")
        check(turn.types.count("response.in_progress") <= 1, "response.in_progress came twice")
        if "response.in_progress" in turn.types:
            check(turn.types[1] == "response.in_progress", "response.in_progress came late")
        check((await socket.ask(temperature=99)).types == ["error"], "a refusal is one error event")


@case(30, "AW-C-009")
async def unknown_members_are_ignored(peer: Peer) -> None:
    """Send what only some clients send, and what nobody does."""
    await taken(
        peer,
        client_metadata={"x-codex-installation-id": "1", "traceparent": "00-1-2-01"},
        prompt_cache_key="k",
        made_up_member={"a": [1]},
    )


@case(31, "AW-C-010", "AW-E-008")
async def wrong_types_are_refused_by_name(peer: Peer) -> None:
    """Send known members of other types."""
    for param, value in {
        "temperature": "hot",
        "input": 5,
        "tools": {},
        "store": "yes",
        "metadata": [],
        "instructions": 7,
        "max_output_tokens": "100",
    }.items():
        await refused(peer, param, value)


@case(32, "AW-C-011", "AW-E-008")
async def numbers_have_bounds(peer: Peer) -> None:
    """Send numbers just outside, and at the edge."""
    await refused(peer, "max_output_tokens", 15, 0, -1)
    await refused(peer, "temperature", -0.1, 2.1)
    await refused(peer, "top_p", -0.1, 1.1)
    await refused(peer, "top_logprobs", -1, 21)
    await taken(peer, temperature=2, top_p=1, max_output_tokens=4096)


@case(33, "AW-C-012")
async def metadata_has_bounds(peer: Peer) -> None:
    """Send metadata at its bounds, and beyond each of them."""
    await taken(peer, metadata={f"{number:064}": "x" * 512 for number in range(16)})
    await refused(peer, "metadata", {str(number): "x" for number in range(17)})
    await refused(peer, "metadata", {"k" * 65: "x"}, {"k": "x" * 513}, {"k": 5})


@case(34, "AW-C-013")
async def truncation_is_auto_or_disabled(peer: Peer) -> None:
    """Send both, and something else."""
    await taken(peer, truncation="auto")
    await taken(peer, truncation="disabled")
    await refused(peer, "truncation", "sometimes")


@case(35, "AW-C-014")
async def a_safety_identifier_has_a_length(peer: Peer) -> None:
    """Send one of 128 characters, and one of 129."""
    await taken(peer, safety_identifier="x" * 128)
    await refused(peer, "safety_identifier", "x" * 129)


@case(36, "AW-C-015")
async def every_include_is_accepted(peer: Peer) -> None:
    """Ask for everything that can be included, and for nothing."""
    await taken(peer, include=list(INCLUDES))
    await taken(peer, include=[])


@case(37, "AW-C-016")
async def text_and_reasoning_settings_are_accepted(peer: Peer) -> None:
    """Send the settings that clients send to any model."""
    await taken(peer, text={"verbosity": "low"})
    await taken(peer, text={"format": {"type": "text"}})
    await taken(peer, reasoning={"summary": "auto"})
    await taken(peer, reasoning={"effort": "low", "context": "all_turns"})


@case(49, "AW-C-031")
async def settings_of_other_servers_change_nothing(peer: Peer) -> None:
    """Send settings that only some servers act on."""
    for settings in (
        {"service_tier": "auto"},
        {"service_tier": "default", "prompt_cache_key": "k", "user": "u"},
        {"prompt_cache_options": {"mode": "implicit", "ttl": "30m"}, "prompt_cache_retention": "24h"},
        {"moderation": {"model": "m"}, "image": {"context_compression": "auto"}},
        {"access_programs": {"cyber": "standard"}, "stream_options": {}, "top_logprobs": 0},
    ):
        await taken(peer, **settings)


@case(38, "AW-C-017")
async def conversations_and_prompts_are_refused_by_name(peer: Peer) -> None:
    """Name a conversation and a stored prompt."""
    await refused(peer, "conversation", "conv_1", {"id": "conv_1"})
    await refused(peer, "prompt", {"id": "pmpt_1"})


@case(39, "AW-C-018")
async def an_empty_parent_is_none_at_all(peer: Peer) -> None:
    """Continue from null, and from the empty string."""
    await taken(peer, previous_response_id=None)
    await refused(peer, "previous_response_id", "")


@case(40, "AW-C-019", "AW-E-008")
async def a_request_needs_a_model(peer: Peer) -> None:
    """Leave the model out."""
    async with peer.socket() as socket:
        (await socket.ask(model=...)).refused("missing_required_parameter", param="model")
        await socket.usable()


@case(44, "AW-C-024")
async def processed_is_ignored(peer: Peer) -> None:
    """Acknowledge a response, as one client does; the next turn is the next thing that is heard."""
    async with peer.socket() as socket:
        turn = (await socket.ask()).completed()
        await socket.ws.send({"type": "response.processed", "response_id": turn.id})
        await socket.usable()


@case(45, "AW-C-025", "AW-E-004")
async def events_that_do_not_exist_are_refused(peer: Peer) -> None:
    """Send events of another API and of an earlier time, one without a type, and ones with no usable type."""
    async with peer.socket() as socket:
        for event in (
            {"type": "response.cancel"},
            {"type": "response.append", "input": []},
            {"type": "session.update"},
            {"model": peer.model, "input": "hi"},
            {"type": 5},
            {"type": ""},
            {"type": None},
        ):
            with about("AW-C-025"):
                (await socket.say(event)).refused("unknown_event_type", param="type")
        with about("AW-E-004"):
            await socket.usable()


@case(46, "AW-C-026", "AW-E-004")
async def bad_json_is_refused(peer: Peer) -> None:
    """Send what is no JSON, and JSON that is no object."""
    async with peer.socket() as socket:
        for text in ("hello", "{", "", "[]", "5", "null", '"response.create"', '{"type":"response.create"} more'):
            with about("AW-C-026"):
                (await socket.say(text)).refused("invalid_json")
        with about("AW-E-004"):
            await socket.usable()


@case(47, "AW-C-027")
async def an_inject_that_nobody_waits_for_is_handed_back(peer: Peer) -> None:
    """Inject an output into a response that is not there, and into one that has ended."""
    given = [{"type": "function_call_output", "call_id": "call_z", "output": "42"}]
    async with peer.socket() as socket:
        ended = (await socket.ask()).completed().id
        for response_id, code in (("resp_none", "response_not_found"), (ended, "response_already_completed")):
            await socket.ws.send({"type": "response.inject", "response_id": response_id, "input": given})
            event = await socket.receive()
            check(event.get("type") == "response.inject.failed", f"the answer is {event}")
            check(event["error"]["code"] == code, f"the code is {event['error']['code']}")
            check(event["input"] == given, "the input is not handed back")
        await socket.usable()


def _tools() -> list[dict[str, Any]]:
    function = {"type": "function", "description": "d", "parameters": PARAMETERS}
    return [
        {**function, "name": "strict", "parameters": {**PARAMETERS, "additionalProperties": False}, "strict": True},
        {**function, "name": "loose", "strict": False},
        {**function, "name": "neither", "strict": None},
        {**function, "name": "absent"},
        {"type": "function", "name": "bare"},
        {
            "type": "custom",
            "name": "patch",
            "format": {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"},
        },
        {"type": "custom", "name": "exec", "description": "runs"},
        {"type": "namespace", "name": "files", "description": "files", "tools": [{**function, "name": "read"}]},
        {"type": "web_search"},
        {"type": "tool_search"},
        {"type": "local_shell"},
        {"type": "apply_patch"},
        {"type": "code_interpreter", "container": {"type": "auto"}},
        {"type": "mcp", "server_label": "docs", "server_url": "https://example.com/mcp", "require_approval": "never"},
    ]


@case(41, "AW-C-020", "AW-C-023")
async def tools_of_every_type_are_accepted(peer: Peer) -> None:
    """Offer tools that no server has, forbid their use, and offer some late, in an item."""
    with about("AW-C-020"):
        await taken(peer, tools=_tools(), tool_choice="none")
    late = {"type": "additional_tools", "role": "developer", "tools": _tools()[:2]}
    with about("AW-C-023"):
        await taken(peer, [late, USER], tool_choice="none")


@case(42, "AW-C-021")
async def items_are_accepted_in_every_shape(peer: Peer) -> None:
    """Send a conversation in which every item is written as some client writes it."""
    said = {"type": "output_text", "text": "Hello.", "annotations": [], "logprobs": []}
    call = {"type": "function_call", "name": "look", "arguments": '{"q":"x"}'}
    await taken(
        peer,
        [
            {"role": "system", "content": "Be brief."},
            {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Be kind."}]},
            {"role": "user", "content": "Hi.", "id": "msg_of_the_client"},
            {"role": "assistant", "content": "Hello."},
            {"type": "message", "role": "assistant", "id": "msg_1", "status": "completed", "content": [said]},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hello."}]},
            {"type": "message", "role": "assistant", "phase": "commentary", "content": "Looking."},
            {**call, "call_id": "call_1"},
            {"type": "function_call_output", "call_id": "call_1", "output": "1", "status": "completed"},
            {**call, "call_id": "call_2", "id": "fc_2", "status": "completed"},
            {"type": "function_call_output", "call_id": "call_2", "id": "fco_2", "output": "2"},
            {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "opaque"},
            {"role": "user", "content": [{"type": "input_image", "image_url": PIXEL, "detail": "auto"}]},
            {
                "role": "user",
                "content": [{"type": "input_file", "filename": "a.txt", "file_data": "data:,a"}],
            },
            USER,
        ],
    )


@case(43, "AW-C-022", "AW-C-023")
async def output_comes_back_as_input(peer: Peer) -> None:
    """Send a response's output back whole, on another connection, with items of other kinds around it."""
    async with peer.socket() as socket:
        output = (await socket.ask(reasoning={"summary": "auto"})).completed().output
    search = {
        "type": "web_search_call",
        "id": "ws_1",
        "status": "completed",
        "action": {"type": "search", "query": "x"},
    }
    with about("AW-C-022"):
        await taken(peer, [USER, *output, {"role": "user", "content": "And again."}])
    with about("AW-C-023"):
        await taken(peer, [USER, *output, search, {"role": "user", "content": "And again."}])
