"""A function and the policy it runs under: a `LocalTool`, made by the decorator `tool` or of any plain function.

A local tool stays callable as the function it is, so that decorating changes nothing for other callers. Functions are
refused here, when they are registered, and not when a model first calls them.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Generic, Literal, ParamSpec, TypeVar, overload

import attrs

from agentwire.protocol.checks import Misfit
from agentwire.protocol.errors import AgentwireError, LocalProtocolError
from agentwire.protocol.settings import check_grammar
from agentwire.protocol.tools import CustomTool, FunctionTool
from agentwire.runtime.tools.signature import Signature

__all__ = ["FreeText", "LocalTool", "Rerun", "ToolError", "tool"]

P = ParamSpec("P")
R = TypeVar("R")

Rerun = Literal["never", "safe"]

FreeText = bool | Mapping[str, Any]
"""Whether a tool takes free text instead of JSON; or the text's format, as it is on the wire."""

_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,128}")


class ToolError(AgentwireError):
    """Raise this in a tool to tell the model what went wrong: its text is passed on under every policy."""


@attrs.frozen(eq=False)
class LocalTool(Generic[P, R]):
    """A function that models may call, with its policy; call it as the function that it is.

    Attributes:
        function: async, or plain: a plain one runs in a thread, which cannot be interrupted; cancelled, it is left
            to itself after ``Limits.cleanup`` seconds, and its result is dropped. One that takes long should take
            a `ToolCall` and ask it whether it is still wanted.
        name: what the model calls it.
        description: what the model is told of it.
        signature: schema and reader of its arguments.
        timeout: seconds that one call may take; None is ``Limits.tool_seconds``.
        rerun: whether the same call may run a second time when nobody knows how the first one ended.
        output_bytes: most bytes of output that are passed on; None is ``Limits.tool_output_bytes``.
        free_text: whether a client offers it as a free-text tool, or the text's format.
    """

    function: Callable[P, R]
    name: str
    description: str | None
    signature: Signature
    timeout: float | None = None
    rerun: Rerun = "never"
    output_bytes: int | None = None
    free_text: FreeText = False

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function itself, with no policy round it."""
        return self.function(*args, **kwargs)

    @property
    def is_async(self) -> bool:
        """Whether it runs as part of a Trio task; otherwise in a thread."""
        function: Any = self.function
        while isinstance(function, functools.partial):
            function = function.func
        return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)

    @property
    def spec(self) -> FunctionTool:
        """It as a function tool, with JSON arguments (Responses API)."""
        return FunctionTool(self.name, self.signature.schema, self.signature.strict, self.description)

    @property
    def offer(self) -> FunctionTool | CustomTool:
        """What a client's request offers to the model: it as it is, with arguments or free text (Responses API)."""
        if not self.free_text:
            return self.spec
        return CustomTool(self.name, self.description, self.free_text if isinstance(self.free_text, Mapping) else None)

    @classmethod
    def of(cls, function: Callable[..., Any]) -> LocalTool[..., Any]:
        """A function as a tool under the default policy; one that is a tool already stays as it is.

        Raises:
            LocalProtocolError: its signature or its name cannot be told to a model.
        """
        return function if isinstance(function, LocalTool) else make_tool(function)


def make_tool(
    function: Callable[P, R],
    *,
    name: str | None = None,
    description: str | None = None,
    timeout: float | None = None,
    rerun: Rerun = "never",
    strict: bool | None = None,
    output_bytes: int | None = None,
    free_text: FreeText = False,
) -> LocalTool[P, R]:
    """A function as a tool; see `tool` for the arguments and the errors."""
    given: object = function
    if not callable(given) or inspect.isclass(given):
        raise LocalProtocolError(f"a tool is a function, not {given!r}")
    known = str(name or getattr(given, "__name__", ""))
    if not _NAME.fullmatch(known):
        raise LocalProtocolError(
            f"{known!r} is no name for a tool: it must have 1 to 128 characters of [a-zA-Z0-9_-]; say tool(name=...)"
        )
    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        raise LocalProtocolError(f"tool {known!r} is a generator; a tool returns its output once")
    for bound, value in (("timeout", timeout), ("output_bytes", output_bytes)):
        if value is not None and not value > 0:
            raise LocalProtocolError(f"tool {known!r}: {bound} must be greater than 0, not {value!r}")
    if rerun not in ("never", "safe"):
        raise LocalProtocolError(f"tool {known!r}: rerun must be 'never' or 'safe', not {rerun!r}")
    signature = Signature.of(function, known, strict=strict)
    if free_text:
        _check_free_text(known, signature, free_text)
    told = description if description is not None else _first_paragraph(function)
    return LocalTool(function, known, told, signature, timeout, rerun, output_bytes, free_text)


def _check_free_text(name: str, signature: Signature, free_text: FreeText) -> None:
    if not signature.takes_text:
        raise LocalProtocolError(f"tool {name!r} takes free text, so it needs one parameter of type str, and no more")
    if isinstance(free_text, Mapping):
        try:
            check_grammar(free_text)
        except Misfit as misfit:
            raise LocalProtocolError(
                f"tool {name!r} cannot take free text of that format: {misfit.param}: {misfit.expected}"
            ) from None


@overload
def tool(function: Callable[P, R], /) -> LocalTool[P, R]: ...
@overload
def tool(
    *,
    name: str | None = None,
    description: str | None = None,
    timeout: float | None = None,
    rerun: Rerun = "never",
    strict: bool | None = None,
    output_bytes: int | None = None,
    free_text: FreeText = False,
) -> Callable[[Callable[P, R]], LocalTool[P, R]]: ...
def tool(function: Callable[..., Any] | None = None, /, **policy: Any) -> Any:
    """Make a tool of a function: ``@tool``, or ``@tool(timeout=600)`` to say more than its signature does.

    Type hints are the schema (``Annotated[str, "what it is"]`` describes a parameter, ``msgspec.Meta`` says more;
    pydantic's models are hints, too; no hint allows any JSON value); the first paragraph of the docstring is the
    description. A parameter annotated `ToolCall` receives the call and is not shown to the model.

    Args:
        function: async, or plain (see `LocalTool`).
        name: the function's own if left out.
        description: what the model is told; the docstring's first paragraph if left out.
        timeout: seconds that one call may take; then it is cancelled and the model is told so.
        rerun: ``"never"``: it has effects, so a call whose outcome is unknown is not run again; ``"safe"``: it is.
        strict: whether the model must keep to the schema exactly; left out, wherever that loses nothing.
        output_bytes: most bytes of output that are passed on; the rest is cut, and the model is told so.
        free_text: True: a client offers it as a tool that takes free text (Responses API, custom tool), which its one
            ``str`` parameter receives; or the text's format, such as ``{"type": "grammar", "syntax": "lark",
            "definition": ...}``. A server that runs it itself takes the text as an argument.

    Raises:
        LocalProtocolError: its signature, its name or its policy is not possible; the text says why.
    """
    if function is None:
        return functools.partial(make_tool, **policy)
    return make_tool(function, **policy)


def _first_paragraph(function: Callable[..., Any]) -> str | None:
    if not inspect.isroutine(function):
        return None
    text = inspect.getdoc(function) or ""
    return " ".join(text.split("\n\n", 1)[0].split()) or None
