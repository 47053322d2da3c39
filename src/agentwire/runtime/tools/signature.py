"""A function's signature as JSON schema and as the reader of its arguments: one source for both.

A msgspec struct is made of the type hints; msgspec writes the schema and decodes straight into the struct, without
coercion. Defaults stay the function's own: what the model leaves out is not passed.
"""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, Optional

import attrs
import msgspec

from agentwire.protocol.errors import AgentwireError, LocalProtocolError
from agentwire.runtime.tools import models
from agentwire.runtime.tools.call import ToolCall
from agentwire.runtime.tools.schemas import name_types, note_default, obstacle, to_strict

__all__ = ["ArgumentsError", "Signature"]

_KINDS_REFUSED: Final[Mapping[object, str]] = {
    inspect.Parameter.VAR_POSITIONAL: "takes *{name}, which has no JSON schema; take a list instead",
    inspect.Parameter.VAR_KEYWORD: "takes **{name}, which has no JSON schema; take a dict instead",
    inspect.Parameter.POSITIONAL_ONLY: "takes {name} by position only; arguments are passed by name",
}


class ArgumentsError(AgentwireError):
    """The arguments of a call do not fit the tool's signature; the text says where, for the model to read."""


@attrs.frozen
class Signature:
    """What a function takes, seen from the wire; made by `Signature.of`.

    Attributes:
        schema: JSON schema of the arguments, of type ``object`` and without additional properties.
        strict: whether the schema has the form that "strict" function calling demands (Responses API).
        call_parameter: the parameter that receives the `ToolCall`, if there is one.
    """

    schema: Mapping[str, Any]
    strict: bool
    call_parameter: str | None
    _decoder: msgspec.json.Decoder[msgspec.Struct]
    _fields: tuple[str, ...]

    @classmethod
    def of(cls, function: Callable[..., Any], name: str, *, strict: bool | None = None) -> Signature:
        """Read a function's signature.

        Args:
            function: what is called with the arguments.
            name: how the tool is called in messages.
            strict: True demands the strict form: every parameter is then required, and its default only told in its
                description. None: strict if nothing is lost by it. False: as the signature is.

        Raises:
            LocalProtocolError: a parameter cannot be described to a model, or not strictly.
        """
        parameters, call_parameter = _parameters(function, name)
        struct = _struct(parameters)
        schema = _schema(struct, parameters, name)
        if strict is None:
            optional = any(parameter.default is not parameter.empty for parameter, _ in parameters)
            strict = not optional and obstacle(schema) is None
        if strict:
            if reason := obstacle(schema):
                raise LocalProtocolError(f"tool {name!r} cannot be strict: {reason}")
            schema = to_strict(schema)
        fields = tuple(parameter.name for parameter, _ in parameters)
        return cls(schema, strict, call_parameter, msgspec.json.Decoder(struct, dec_hook=models.read), fields)

    def decode(self, arguments: str) -> dict[str, Any]:
        """The keyword arguments that a model's JSON stands for; what it left out is left out.

        Raises:
            ArgumentsError: it is not JSON, or does not fit; nothing is coerced.
        """
        try:
            value = self._decoder.decode(arguments or "{}")
        except msgspec.ValidationError as error:
            raise ArgumentsError(f"the arguments do not fit the tool's schema: {error}") from None
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise ArgumentsError(f"the arguments are not valid JSON: {error}") from None
        given = ((field, getattr(value, f"p{index}")) for index, field in enumerate(self._fields))
        return {field: argument for field, argument in given if argument is not msgspec.UNSET}

    @property
    def takes_text(self) -> bool:
        """Whether a single text is all that it takes."""
        return len(self._fields) == 1 and self.schema["properties"][self._fields[0]].get("type") == "string"

    def decode_text(self, text: str) -> dict[str, Any]:
        """The keyword arguments for a free text; of use where `takes_text`.

        Raises:
            ArgumentsError: the text does not fit.
        """
        return self.decode(msgspec.json.encode({self._fields[0]: text}).decode())


_Parameters = list[tuple[inspect.Parameter, Any]]


def _parameters(function: Callable[..., Any], name: str) -> tuple[_Parameters, str | None]:
    """The parameters with their types, less the one that takes the call."""
    hints = _hints(function, name)
    found: _Parameters = []
    call_parameter = None
    try:
        parameters = inspect.signature(function).parameters
    except ValueError as error:
        raise LocalProtocolError(f"tool {name!r} does not say what it takes: {error}") from error
    for parameter in parameters.values():
        if refusal := _KINDS_REFUSED.get(parameter.kind):
            raise LocalProtocolError(f"tool {name!r} " + refusal.format(name=parameter.name))
        hint = hints.get(parameter.name, Any)
        if parameter.name == "self" and hint is Any:
            raise LocalProtocolError(f"tool {name!r} is a method of no object yet; take that of an object")
        if hint is not ToolCall:
            found.append((parameter, _meant(hint, parameter.default)))
        elif call_parameter is not None:
            raise LocalProtocolError(f"tool {name!r} takes its ToolCall twice")
        else:
            call_parameter = parameter.name
    return found, call_parameter


def _meant(hint: Any, default: Any) -> Any:
    """A hint with the description that other tools' annotations have, and with None where that is the default."""
    notes = getattr(hint, "__metadata__", ())
    if default is None and hint is not Any:
        hint = Optional[hint]  # noqa: UP045 - a hint may be anything
    told = next(filter(None, map(_description, notes)), None)
    return Annotated[hint, msgspec.Meta(description=told)] if told else hint


def _description(note: object) -> str | None:
    """Of a plain text, of a field of pydantic's, or of ``typing_extensions.Doc``; msgspec reads its own."""
    if isinstance(note, msgspec.Meta):
        return None
    told = note if isinstance(note, str) else getattr(note, "description", getattr(note, "documentation", None))
    return told if isinstance(told, str) else None


def _hints(function: Callable[..., Any], name: str) -> dict[str, Any]:
    while isinstance(function, functools.partial):
        function = function.func
    function = inspect.unwrap(function)
    target = function if inspect.isroutine(function) else type(function).__call__
    try:
        return typing.get_type_hints(target, include_extras=True)
    except Exception as error:
        raise LocalProtocolError(
            f"the type hints of tool {name!r} cannot be read: {error} (hints written as strings must name things of "
            "the tool's module, imported at run time)"
        ) from error


def _struct(parameters: _Parameters) -> type[msgspec.Struct]:
    """Fields get neutral names, so that no parameter can clash with a member of the struct."""
    fields: list[tuple[str, Any] | tuple[str, Any, Any]] = []
    for index, (parameter, hint) in enumerate(parameters):
        if parameter.default is parameter.empty:
            fields.append((f"p{index}", hint))
        else:
            fields.append((f"p{index}", hint | msgspec.UnsetType, msgspec.UNSET))
    names = {f"p{index}": parameter.name for index, (parameter, _) in enumerate(parameters)}
    return msgspec.defstruct("arguments", fields, rename=names, kw_only=True, forbid_unknown_fields=True)


def _schema(struct: type[msgspec.Struct], parameters: _Parameters, name: str) -> dict[str, Any]:
    """The struct's schema with its own object at the top, and with the defaults that JSON can say."""
    theirs: dict[str, Any] = {}
    hook = functools.partial(models.schema_of, definitions=theirs)
    try:
        (top,), definitions = msgspec.json.schema_components((struct,), ref_template="#/$defs/{name}", schema_hook=hook)
    except (TypeError, NotImplementedError) as error:
        kind = str(error).strip().rsplit("\n", 1)[-1]
        raise LocalProtocolError(f"tool {name!r} has a parameter without JSON schema: {kind}") from error
    schema = definitions.pop(top["$ref"].rsplit("/", 1)[-1])
    del schema["title"]
    for parameter, _ in parameters:
        if parameter.default is not parameter.empty:
            note_default(schema["properties"][parameter.name], parameter.default)
    if definitions := {**theirs, **definitions}:
        schema["$defs"] = definitions
    return name_types(schema)
