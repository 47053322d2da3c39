"""Tools: what a signature says on the wire, and what becomes of a call."""

from __future__ import annotations

import asyncio
import enum
import functools
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal, NoReturn, Optional

import attrs
import msgspec
import pydantic
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from agentwire.protocol.content import InputImage, InputText
from agentwire.protocol.errors import LocalProtocolError
from agentwire.protocol.limits import Limits
from agentwire.protocol.tools import CustomTool
from agentwire.runtime.tools import (
    LocalTool,
    Toolbox,
    ToolCall,
    ToolCancelled,
    ToolError,
    ToolResult,
    tool,
    tool_statistics,
)

LIMITS = Limits(tool_seconds=10, cleanup=2, tool_output_bytes=100)


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@attrs.frozen
class Place:
    path: str
    line: int = 1


def run_tool(function: Callable[..., Any], arguments: str = "{}", *, limits: Limits = LIMITS) -> ToolResult:
    async def main() -> ToolResult:
        box = Toolbox.of([function])
        return await box.run(box.names[0], arguments, call_id="call_1", limits=limits)

    return trio.run(main)


def schema_of(function: Callable[..., Any]) -> Any:
    return LocalTool.of(function).spec.parameters


# Signatures


def test_a_function_becomes_a_strict_schema() -> None:
    async def grep(
        pattern: Annotated[str, msgspec.Meta(description="what to look for")], mode: Literal["text", "regex"]
    ) -> str:
        """Search the files.

        More that is not for the model.
        """
        return pattern

    spec = LocalTool.of(grep).spec
    assert (spec.name, spec.description, spec.strict) == ("grep", "Search the files.", True)
    assert spec.parameters == {
        "type": "object",
        "properties": {
            "pattern": {"type": "string", "description": "what to look for"},
            "mode": {"type": "string", "enum": ["regex", "text"]},
        },
        "required": ["pattern", "mode"],
        "additionalProperties": False,
    }


def test_a_default_is_shown_and_costs_strictness() -> None:
    def read(path: str, limit: int = 10, tags: tuple[str, ...] = ()) -> str:
        return path

    spec = LocalTool.of(read).spec
    assert spec.strict is False
    assert spec.parameters is not None
    assert spec.parameters["required"] == ["path"]
    assert spec.parameters["properties"]["limit"] == {"type": "integer", "default": 10}
    assert spec.parameters["properties"]["tags"]["default"] == []


def test_strict_on_demand_requires_everything_and_tells_defaults() -> None:
    @tool(strict=True)
    def read(
        path: str, limit: Annotated[int, msgspec.Meta(description="Lines.")] = 10, place: Place | None = None
    ) -> str:
        return f"{path} {limit}"

    spec = read.spec
    assert spec.strict is True
    assert spec.parameters is not None
    assert spec.parameters["required"] == ["path", "limit", "place"]
    assert spec.parameters["properties"]["limit"] == {"type": "integer", "description": "Lines. Default: 10."}
    place = spec.parameters["$defs"]["Place"]
    assert place["required"] == ["path", "line"]
    assert place["additionalProperties"] is False


def test_strict_is_refused_where_it_cannot_be() -> None:
    def store(values: dict[str, int]) -> None:
        raise AssertionError(values)

    with pytest.raises(LocalProtocolError, match=r"cannot be strict: it takes an object with keys"):
        tool(strict=True)(store)
    assert tool(store).spec.strict is False


@pytest.mark.parametrize(
    ("hint", "words"), [(Any, "a value of any type"), (list, "no single type"), (tuple[int, str], "no single type")]
)
def test_every_obstacle_to_strictness_is_named(hint: Any, words: str) -> None:
    def take(value: int) -> int:
        return value

    take.__annotations__["value"] = hint
    with pytest.raises(LocalProtocolError, match=words):
        tool(strict=True)(take)


def test_a_default_without_json_is_not_shown() -> None:
    marker: Any = object()

    def take(value: int = marker, place: Place = Place("a")) -> bool:
        return value is marker

    assert schema_of(take)["properties"] == {"value": {"type": "integer"}, "place": {"$ref": "#/$defs/Place"}}
    assert run_tool(take).output == "true"


def test_parameters_may_have_the_names_of_schema_keywords() -> None:
    def odd(default: int, properties: str, enum: bool, items: list[int]) -> str:
        return f"{default} {properties} {enum} {items}"

    assert schema_of(odd)["required"] == ["default", "properties", "enum", "items"]
    result = run_tool(odd, '{"default": 1, "properties": "p", "enum": true, "items": [2]}')
    assert result == ToolResult("1 p True [2]")


def test_without_hints_any_json_value_passes() -> None:
    def anything(value, other=3):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        return [value, other]

    assert schema_of(anything)["properties"] == {"value": {}, "other": {"default": 3}}
    assert run_tool(anything, '{"value": {"a": [1]}}').output == '[{"a":[1]},3]'


def test_enums_attrs_classes_and_optionals_arrive_as_what_they_are() -> None:
    seen: list[object] = []

    def paint(colour: Colour, place: Place, note: Optional[str] = None) -> None:  # noqa: UP045
        seen.append((colour, place, note))

    assert schema_of(paint)["$defs"]["Colour"]["enum"] == ["blue", "red"]
    assert run_tool(paint, '{"colour": "red", "place": {"path": "a.py"}}').output == "null"
    assert seen == [(Colour.RED, Place("a.py"), None)]


class Note(pydantic.BaseModel):
    text: str
    answers: list[Note] = []


def test_models_of_pydantic_are_taken_and_returned() -> None:
    def answer(note: Note, others: dict[str, Note] | None = None) -> list[Note]:
        return [note, *(others or {}).values()]

    schema = schema_of(answer)
    assert schema["properties"]["note"] == {"$ref": "#/$defs/Note"}
    assert schema["$defs"]["Note"]["properties"]["answers"]["items"] == {"$ref": "#/$defs/Note"}
    given = '{"note":{"text":"a"},"others":{"x":{"text":"b","answers":[{"text":"c"}]}}}'
    said = '[{"text":"a","answers":[]},{"text":"b","answers":[{"text":"c","answers":[]}]}]'
    assert run_tool(answer, given).output == said
    assert "Field required" in run_tool(answer, '{"note":{}}').text


def test_a_default_of_none_can_be_given_too() -> None:
    def look(limit: int = None) -> str:  # type: ignore[assignment] # noqa: RUF013 - as many write it
        return repr(limit)

    assert schema_of(look)["properties"]["limit"] == {
        "anyOf": [{"type": "integer"}, {"type": "null"}],
        "default": None,
    }
    assert [run_tool(look, said).text for said in ("{}", '{"limit":null}', '{"limit":3}')] == ["None", "None", "3"]


class Doc:
    documentation = "of typing_extensions"


@pytest.mark.parametrize(
    ("hint", "told"),
    [
        (Annotated[str, "a text"], "a text"),
        (Annotated[str, pydantic.Field(description="of pydantic")], "of pydantic"),
        (Annotated[str, Doc()], "of typing_extensions"),
        (Annotated[str, msgspec.Meta(description="of msgspec")], "of msgspec"),
        (Annotated[str, 3, "a text"], "a text"),
    ],
)
def test_a_parameter_is_described_as_other_libraries_do_it(hint: Any, told: str) -> None:
    def with_hint(x: Any, y: Any = None) -> None:
        pass

    with_hint.__annotations__.update(x=hint, y=hint)
    for member in schema_of(with_hint)["properties"].values():
        assert told in (member.get("description"), member.get("anyOf", [{}])[0].get("description"))


def test_the_call_itself_is_passed_and_not_in_the_schema() -> None:
    def deploy(env: str, call: ToolCall) -> str:
        return f"{env} {call.id} {call.name} {call.arguments}"

    assert list(schema_of(deploy)["properties"]) == ["env"]
    assert run_tool(deploy, '{"env":"test"}').output == 'test call_1 deploy {"env":"test"}'


def test_methods_partials_and_callable_objects_are_tools() -> None:
    class Shop:
        def buy(self, what: str) -> str:
            return f"bought {what}"

        async def __call__(self, what: str) -> str:
            return f"asked for {what}"

    assert run_tool(Shop().buy, '{"what": "tea"}').output == "bought tea"
    named = tool(name="shop")(Shop())
    assert named.is_async
    assert run_tool(named, '{"what": "tea"}').output == "asked for tea"
    part = tool(name="tea")(functools.partial(Shop().buy, what="tea"))
    assert run_tool(part).output == "bought tea"


def test_a_decorated_function_is_still_the_function() -> None:
    @tool(timeout=600, rerun="safe", output_bytes=10, name="twice", description="Doubles.")
    def double(number: int) -> int:
        """Not told."""
        return 2 * number

    assert double(4) == 8
    assert (double.timeout, double.rerun, double.output_bytes, double.spec.description) == (600, "safe", 10, "Doubles.")
    assert LocalTool.of(double) is double


class Panic(BaseException):
    """As extension modules raise it."""


class Mute(Exception):
    """Cannot be asked what it says."""

    def told(self) -> str:
        raise ValueError("nothing to say")

    __str__ = told


def _star(*paths: str) -> None: ...
def _stars(**options: str) -> None: ...
def _positional(path: str, /) -> None: ...
def _twice(a: ToolCall, b: ToolCall) -> None: ...
def _foreign(lock: threading.Event) -> None: ...
def _generator() -> Iterator[int]:
    yield 1


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (_star, r"takes \*paths"),
        (_stars, r"takes \*\*options"),
        (_positional, "takes path by position only"),
        (_twice, "its ToolCall twice"),
        (_foreign, "without JSON schema: type .*Event"),
        (_generator, "is a generator"),
        (lambda: None, "'<lambda>' is no name for a tool"),
        (Place, "a tool is a function"),
        (3, "a tool is a function, not 3"),
        (max, "does not say what it takes"),
        (Mute.told, "a method of no object"),
    ],
)
def test_what_cannot_be_a_tool_is_refused_when_it_is_registered(function: Any, words: str) -> None:
    with pytest.raises(LocalProtocolError, match=words):
        Toolbox.of([function])


def test_hints_that_cannot_be_read_are_explained() -> None:
    class Local:
        pass

    def take(value: Local) -> None: ...

    with pytest.raises(LocalProtocolError, match="type hints of tool 'take' cannot be read: name 'Local'"):
        tool(take)


@pytest.mark.parametrize("policy", [{"timeout": 0}, {"output_bytes": -1}, {"rerun": "maybe"}])
def test_impossible_policies_are_refused(policy: Any) -> None:
    with pytest.raises(LocalProtocolError, match=next(iter(policy))):
        tool(**policy)(_same)


def _same(value: int) -> int:
    return value


def _same_text(text: str) -> str:
    return text


def _two_texts(text: str, other: str) -> str:
    return text + other


def test_a_toolbox_has_each_name_once() -> None:
    box = Toolbox.of([_same, tool(name="other")(_same)])
    assert (box.names, len(box), "_same" in box, "missing" in box) == (("_same", "other"), 2, True, False)
    assert [spec.name for spec in box.specs] == ["_same", "other"]
    assert [local.name for local in box] == ["_same", "other"]
    with pytest.raises(LocalProtocolError, match="two tools are called '_same'"):
        Toolbox.of([_same, _same])


# Arguments


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("{", "not valid JSON"),
        ('{"value":' + "[" * 100_000, "the arguments "),
        ("[]", "Expected `object`, got `array`"),
        ("{}", "missing required field `value`"),
        ('{"value": "1"}', r"Expected `int`, got `str` - at `$.value`"),
        ('{"value": 1, "other": 2}', "unknown field `other`"),
    ],
)
def test_arguments_that_do_not_fit_are_explained_to_the_model(arguments: str, words: str) -> None:
    result = run_tool(_same, arguments)
    assert words in result.text
    assert result.text.startswith("ToolError: the arguments ")
    assert result.error


def test_no_arguments_at_all_are_an_empty_object() -> None:
    def now() -> str:
        return "noon"

    assert run_tool(now, "").output == "noon"


def test_an_unknown_tool_is_an_error_that_lists_the_known_ones() -> None:
    async def main() -> ToolResult:
        return await Toolbox.of([_same]).run("missing", "{}", call_id="c", limits=LIMITS)

    assert trio.run(main).output == "ToolError: there is no tool 'missing'; the tools are: _same"


KINDS: dict[Any, st.SearchStrategy[Any]] = {
    int: st.integers(-(2**62), 2**62),
    str: st.text(st.characters(exclude_categories=["Cs"])),
    bool: st.booleans(),
    list[int]: st.lists(st.integers(0, 9)),
    dict[str, bool]: st.dictionaries(st.sampled_from("abc"), st.booleans()),
    Literal["x", "y"]: st.sampled_from(["x", "y"]),
    int | None: st.none() | st.integers(0, 9),
}


def fits(schema: Any, value: Any) -> bool:
    """An independent reading of the few schema words that the kinds above need."""
    if "anyOf" in schema:
        return any(fits(inner, value) for inner in schema["anyOf"])
    if "enum" in schema and value not in schema["enum"]:
        return False
    kinds = {"integer": int, "string": str, "boolean": bool, "array": list, "object": dict, "null": type(None)}
    if type(value) is not kinds[schema["type"]]:
        return False
    if isinstance(value, list):
        return all(fits(schema["items"], inner) for inner in value)
    if isinstance(value, dict):
        return all(fits(schema["additionalProperties"], inner) for inner in value.values())
    return True


@given(st.data())
def test_schema_and_decoding_agree(data: st.DataObject) -> None:
    hint = data.draw(st.sampled_from(list(KINDS)))
    value = data.draw(st.one_of(*KINDS.values()))

    def take(value: int) -> int:
        return value

    take.__annotations__["value"] = hint
    signature = tool(take).signature
    arguments = msgspec.json.encode({"value": value}).decode()
    if fits(signature.schema["properties"]["value"], value):
        assert signature.decode(arguments) == {"value": value}
    else:
        assert run_tool(take, arguments).error


# Free text

LARK = {"type": "grammar", "syntax": "lark", "definition": 'start: "ls"'}


@tool(free_text=LARK)
def shell(command: Annotated[str, msgspec.Meta(max_length=10)], call: ToolCall) -> str:
    """Run a command."""
    return f"{call.arguments} in {call.id}: {command}"


def test_a_free_text_tool_is_offered_with_its_format_and_gets_what_the_model_wrote() -> None:
    assert shell.offer == CustomTool("shell", "Run a command.", LARK)
    assert tool(free_text=True)(_same_text).offer == CustomTool("_same_text")
    assert list(shell.spec.parameters or {}) == ["type", "properties", "required", "additionalProperties"]

    async def main(text: str) -> ToolResult:
        return await Toolbox.of([shell]).run("shell", text, call_id="c1", limits=LIMITS, free_text=True)

    assert trio.run(main, 'ls "a"\n').output == 'ls "a"\n in c1: ls "a"\n'
    result = trio.run(main, "ls" * 10)
    assert result.error is not None
    assert "Call shell again with a text that fits." in result.error


def test_a_tool_that_takes_json_is_not_called_with_text() -> None:
    async def main() -> ToolResult:
        return await Toolbox.of([_same]).run("_same", "1", call_id="c1", limits=LIMITS, free_text=True)

    assert trio.run(main).error == "_same is no free-text tool: call it with arguments that follow its schema"


@pytest.mark.parametrize(
    ("function", "free_text", "words"),
    [
        (_same, True, "needs one parameter of type str, and no more"),
        (_two_texts, True, "needs one parameter of type str, and no more"),
        (_same_text, {"type": "grammar", "syntax": "bnf"}, "cannot take free text of that format: syntax"),
    ],
)
def test_what_cannot_take_free_text_is_refused(function: Callable[..., Any], free_text: Any, words: str) -> None:
    with pytest.raises(LocalProtocolError, match=words):
        tool(free_text=free_text)(function)


# Output


@pytest.mark.parametrize(
    ("value", "output"),
    [
        ("text", "text"),
        (None, "null"),
        ([1, "a"], '[1,"a"]'),
        (msgspec.defstruct("Row", [("path", str)])("a"), '{"path":"a"}'),
        (Colour.RED, '"red"'),
        (InputText("t"), (InputText("t"),)),
        ([InputText("t"), InputImage("u")], (InputText("t"), InputImage("u"))),
        ([], "[]"),
    ],
)
def test_text_and_parts_pass_and_the_rest_is_json(value: object, output: object) -> None:
    def give() -> object:
        return value

    assert run_tool(give) == ToolResult(output)  # type: ignore[arg-type]


def test_output_without_json_is_an_error() -> None:
    def give() -> object:
        return object()

    result = run_tool(give)
    assert result.error is not None
    assert result.error.startswith("TypeError: it has run, and what it returned has no JSON: ")


def test_long_text_is_cut_at_a_character_and_says_so() -> None:
    def give() -> str:
        return "ä" * 60

    output = run_tool(give, limits=attrs.evolve(LIMITS, tool_output_bytes=101)).output
    assert output == "ä" * 50 + "\n[cut: the output has 120 bytes, and these are the first 101]"


def test_parts_share_one_budget() -> None:
    def give() -> list[InputText | InputImage]:
        return [InputText("a" * 30), InputText("b" * 200), InputImage("data:" + "c" * 200)]

    output = run_tool(give).output
    assert not isinstance(output, str)
    first, second, third = output
    assert first == InputText("a" * 30)
    assert isinstance(second, InputText)
    assert second.text.startswith("b" * 20 + "b")
    assert "[cut: the output has 200 bytes" in second.text
    assert isinstance(third, InputText)
    assert third.text.startswith("[cut: a part of type input_image and ")


# Running


def test_exceptions_become_output_and_go_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> NoReturn:
        raise ValueError("bad path")

    result = run_tool(fail)
    assert result == ToolResult("ToolError: ValueError: bad path", "ValueError: bad path")
    assert isinstance(result.exception, ValueError)
    assert "bad path" in str(caplog.records[0].exc_info)
    assert "fail (call_1) failed" in caplog.text


def test_the_text_of_exceptions_can_be_kept_from_the_model() -> None:
    async def fail(how: str) -> NoReturn:
        raise ToolError("say please") if how == "told" else ValueError("secret")

    async def main(how: str) -> ToolResult:
        box = Toolbox.of([fail], reveal="type")
        return await box.run("fail", f'{{"how":"{how}"}}', call_id="c", limits=LIMITS)

    assert trio.run(main, "kept").output == "ToolError: ValueError"
    assert trio.run(main, "told").output == "ToolError: say please"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (SystemExit(2), "SystemExit: 2"),
        (asyncio.CancelledError(), "CancelledError"),
        (Panic("in Rust"), "Panic: in Rust"),
        (BaseExceptionGroup("two", [Panic(), ValueError()]), "BaseExceptionGroup: two (2 sub-exceptions)"),
        (Mute(), "Mute"),
    ],
)
def test_whatever_a_tool_raises_does_not_take_its_owner_along(error: BaseException, told: str) -> None:
    def plain() -> NoReturn:
        raise error

    async def spawned() -> NoReturn:
        raise error

    assert run_tool(plain).error == told
    assert run_tool(spawned).error == told


def test_a_keyboard_interrupt_in_a_thread_is_the_tools_own() -> None:
    def plain() -> NoReturn:
        raise KeyboardInterrupt

    assert run_tool(plain).error == "RuntimeError: it raised KeyboardInterrupt"


def test_an_error_is_bounded_as_an_output_is() -> None:
    def fail() -> NoReturn:
        raise ValueError("x" * 5000)

    result = run_tool(fail)
    assert result.error is not None
    assert len(result.error) < 200
    assert len(result.text) < 300


async def test_a_keyboard_interrupt_passes() -> None:
    async def interrupt() -> NoReturn:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await Toolbox.of([interrupt]).run("interrupt", "{}", call_id="c", limits=LIMITS)


async def test_a_keyboard_interrupt_passes_through_a_tools_own_tasks_and_leaves_their_failures(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def interrupt() -> NoReturn:
        raise KeyboardInterrupt

    async def work() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(interrupt)
            raise Panic("at once")

    with pytest.raises(KeyboardInterrupt):
        await Toolbox.of([work]).run("work", "{}", call_id="c", limits=LIMITS)
    assert "Panic: at once" in caplog.text


async def test_a_deadline_cancels_the_tool_and_tells_the_model(autojump_clock: trio.testing.MockClock) -> None:
    ended: list[float] = []

    @tool(timeout=3)
    async def slow() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append(trio.current_time())

    began = trio.current_time()
    result = await Toolbox.of([slow]).run("slow", "{}", call_id="c", limits=LIMITS)
    assert result.error == "slow did not finish within 3 s and was cancelled"
    assert ended == [began + 3]


@pytest.mark.parametrize(("policy", "seconds", "expected"), [(None, None, 10), (4, None, 4), (4, 2, 2)])
async def test_the_nearest_word_on_time_counts(
    autojump_clock: trio.testing.MockClock, policy: float | None, seconds: float | None, expected: float
) -> None:
    box = Toolbox.of([tool(timeout=policy)(_forever)])
    began = trio.current_time()
    await box.run("_forever", "{}", call_id="c", limits=LIMITS, seconds=seconds)
    assert trio.current_time() == began + expected


async def _forever() -> None:
    await trio.sleep_forever()


async def test_work_that_a_tool_finishes_under_a_shield_counts(autojump_clock: trio.testing.MockClock) -> None:
    async def careful() -> str:
        with trio.CancelScope(shield=True):
            await trio.sleep(11)
        return "done all the same"

    result = await Toolbox.of([careful]).run("careful", "{}", call_id="c", limits=LIMITS)
    assert result == ToolResult("done all the same")


async def _cancelled_run(function: Callable[..., Any], after: float = 1) -> tuple[str, float]:
    """Cancel a call; returns the text of the Cancelled that came out, and how long the end took."""
    said = ""
    async with trio.open_nursery() as nursery:

        async def call() -> None:
            nonlocal said
            box = Toolbox.of([function])
            try:
                await box.run(box.names[0], "{}", call_id="call_1", limits=LIMITS)
            except trio.Cancelled as cancelled:
                said = str(cancelled)
                raise

        nursery.start_soon(call)
        await trio.sleep(after)
        began = trio.current_time()
        nursery.cancel_scope.cancel(reason="the plug was pulled")
    return said, trio.current_time() - began


async def test_cancellation_passes_with_its_reason_and_the_tool_gets_its_finally(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []

    async def work() -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled as cancelled:
            seen.append(str(cancelled))
            raise
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
            seen.append("clean")

    said, took = await _cancelled_run(work)
    assert "the plug was pulled" in said
    assert "the plug was pulled" in seen[0]
    assert (seen[1], took) == ("clean", 1)
    assert not caplog.records


async def test_a_tool_with_tasks_of_its_own_is_cancelled_as_one(autojump_clock: trio.testing.MockClock) -> None:
    async def work() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(trio.sleep_forever)

    said, took = await _cancelled_run(work)
    assert "the plug was pulled" in said
    assert took == 0


async def test_an_error_in_the_cleanup_is_logged_and_cancellation_passes(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail_late() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("cleanup broke")

    async def work() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail_late)
            nursery.start_soon(trio.sleep_forever)

    said, _ = await _cancelled_run(work)
    assert "the plug was pulled" in said
    assert "cleanup broke" in caplog.text


async def test_a_cleanup_that_takes_too_long_is_reported_and_awaited(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(7)

    _, took = await _cancelled_run(work)
    assert took == 7
    assert [record.getMessage() for record in caplog.records] == [
        "tool work (call_1) still cleans up 2 s after it was cancelled"
    ]
    assert caplog.records[0].levelno == logging.WARNING


async def test_a_thread_is_left_to_itself_after_the_grace(caplog: pytest.LogCaptureFixture) -> None:
    limits = attrs.evolve(LIMITS, cleanup=0.01, tool_seconds=0.01)
    go_on = threading.Event()
    ended = threading.Event()

    def stubborn() -> None:
        go_on.wait(30)
        ended.set()

    before = tool_statistics()
    seen: list[str] = []
    box = Toolbox.of([stubborn])
    result = await box.run("stubborn", "{}", call_id="c", limits=limits, on_abandoned=lambda: seen.append("abandoned"))
    assert result.error == "stubborn did not finish within 0.01 s and cannot be stopped; nobody knows what it has done"
    assert result.unknown
    assert "runs on in its thread, left alone, 0.01 s after it was cancelled" in caplog.text
    left = tool_statistics()
    assert (left.abandoned - before.abandoned, left.still_running - before.still_running) == (1, 1)
    assert seen == ["abandoned"]
    go_on.set()
    assert ended.wait(30)
    with trio.fail_after(30):
        while tool_statistics().still_running > before.still_running:  # noqa: ASYNC110 - a thread
            await trio.sleep(0.001)


async def test_a_thread_that_ends_within_the_grace_counts() -> None:
    def brisk() -> str:
        time.sleep(0.05)
        return "done"

    result = await Toolbox.of([brisk]).run(
        "brisk", "{}", call_id="c", limits=attrs.evolve(LIMITS, cleanup=30), seconds=0.01
    )
    assert result == ToolResult("done")


async def test_a_plain_function_that_asks_ends_with_its_call() -> None:
    said: list[str] = []
    started = threading.Event()

    def patient(call: ToolCall) -> None:
        started.set()
        try:
            call.check()
            while not call.cancelled:
                time.sleep(0.001)
            said.append("asked")
            call.check()
        except ToolCancelled as cancelled:
            said.append(str(cancelled))
            raise

    before = tool_statistics()
    async with trio.open_nursery() as nursery:
        run = functools.partial(Toolbox.of([patient]).run, call_id="c", limits=attrs.evolve(LIMITS, cleanup=30))
        nursery.start_soon(run, "patient", "{}")
        while not started.is_set():  # noqa: ASYNC110 - a thread
            await trio.sleep(0.001)
        nursery.cancel_scope.cancel(reason="the plug was pulled")
    assert said == ["asked", "the plug was pulled"]
    result = await run("patient", "{}", seconds=0.01)
    assert result == ToolResult.failed("patient did not finish within 0.01 s and was cancelled")
    assert said[-1] == "the call is out of time"
    assert tool_statistics() == before


async def test_a_plain_function_may_return_an_awaitable() -> None:
    async def inner(value: int) -> int:
        await trio.lowlevel.checkpoint()
        return value + 1

    def wrapped(value: int) -> Any:
        return inner(value)

    assert (await Toolbox.of([wrapped]).run("wrapped", '{"value":1}', call_id="c", limits=LIMITS)).output == "2"


async def test_calls_run_side_by_side(autojump_clock: trio.testing.MockClock) -> None:
    async def nap(seconds: int) -> str:
        await trio.sleep(seconds)
        return str(seconds)

    box = Toolbox.of([nap])
    results: list[str] = []

    async def call(seconds: int) -> None:
        result = await box.run("nap", f'{{"seconds":{seconds}}}', call_id=f"c{seconds}", limits=LIMITS)
        results.append(result.text)

    async with trio.open_nursery() as nursery:
        for seconds in (3, 1, 2):
            nursery.start_soon(call, seconds)
    assert results == ["1", "2", "3"]
