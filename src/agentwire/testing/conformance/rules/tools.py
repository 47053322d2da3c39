"""Rules about tools, and about the form of the answer."""

from __future__ import annotations

from typing import Final

from agentwire.testing.conformance.rules.model import OPENAI, Maker, Topic

__all__ = ["TOOLS"]

_t = Maker("T")

TOOLS: Final = Topic(
    "T",
    "Tools and the form of answers",
    (
        _t.must(1, 'With `tool_choice: "none"` no tool is called.', "openapi", "open"),
        _t.must(
            2,
            'With `tool_choice: "required"` at least one tool is called: agent frameworks fail the turn otherwise.',
            "openapi",
            "clients",
        ),
        _t.must(3, "With `tool_choice` naming one function, that one is called and no other.", "openapi", "open"),
        _t.must(
            4,
            "With `tool_choice` of type `allowed_tools`, only the tools in its list are called: a constraint, not a "
            "hint.",
            "open",
            "openapi",
        ),
        _t.should(5, "`tool_choice` that names a tool which is not offered is a 400.", "ours"),
        _t.must(6, "With `parallel_tool_calls: false` a response has at most one tool call.", "openapi", "open"),
        _t.must(
            7,
            "`max_tool_calls` bounds the calls that the server itself runs in one response.",
            "openapi",
            proof="tests/runtime/test_call_rules.py::test_server_tools_run_as_often_as_the_request_allows",
        ),
        _t.must(
            8,
            "A response that calls a tool of the client completes: its status is `completed`, and the client "
            "continues it with the output.",
            "guide",
            "openapi",
        ),
        _t.must(9, "`arguments` of a function call is a string that holds a JSON object.", "openapi", "open"),
        _t.must(10, "A `call_id` has 1 to 64 characters.", "openapi"),
        _t.must(
            11,
            "The outputs of several calls are taken together in one continuation, in any order, as a string or in "
            "parts.",
            "guide",
            "types",
        ),
        _t.must(
            12,
            "With `text.format` of type `json_schema` or `json_object` the answer is ordinary text that holds JSON, "
            "of that schema.",
            "openapi",
        ),
        _t.must(
            13,
            "What the server's own tools do happens within the response, and is told in its items.",
            "openapi",
            only=OPENAI,
            proof="tests/runtime/test_turn.py::test_a_server_tool_runs_between_two_steps",
        ),
        _t.must(
            14,
            "The name of a function has 1 to 128 characters of `a-z A-Z 0-9 _ -`; another one is a 400.",
            "openapi",
        ),
        _t.must(
            15,
            "A call into a namespace carries its `namespace`.",
            "types",
            "clients",
            only=OPENAI,
        ),
        _t.must(
            16,
            "A custom tool call carries free text in `input`, and is continued with `custom_tool_call_output`.",
            "types",
            only=OPENAI,
        ),
        _t.must(
            17,
            "Every documented shape of `tool_choice` is understood, those that name a tool which the server itself "
            "runs included.",
            "types",
            "openapi",
        ),
    ),
)
