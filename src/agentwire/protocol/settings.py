"""What the structured settings of a request may hold: text format, reasoning, metadata, compaction, lanes.

Each function is a `Check` of one field. Names that the protocol closes are closed here too; where models differ (such
as reasoning efforts) only the types are checked, and the engine judges the rest.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from agentwire.protocol.checks import Misfit, kind_of, matching, one_of, shorten

__all__ = [
    "check_cache_options",
    "check_compaction",
    "check_format",
    "check_grammar",
    "check_metadata",
    "check_reasoning",
    "check_stream_id",
]

PAIRS, KEY_LENGTH, VALUE_LENGTH = 16, 64, 512
LEAST_THRESHOLD = 1000

_LANE: Final = re.compile(r"[A-Za-z0-9_.-]{1,256}")
_FORMATS: Final = one_of("text", "json_schema", "json_object")
_INPUTS: Final = one_of("text", "grammar")
_SYNTAXES: Final = one_of("lark", "regex")
_SCHEMA_NAME: Final = matching("[a-zA-Z0-9_-]", 1, 64)


def check_stream_id(value: str) -> None:
    """A lane's name: 1 to 256 characters of ``[A-Za-z0-9_.-]``."""
    if not _LANE.fullmatch(value):
        raise Misfit("invalid_stream_id", "it must have 1 to 256 characters of [A-Za-z0-9_.-]")


def check_format(value: Mapping[str, Any]) -> None:
    """``text.format``: plain text, any JSON object, or JSON of a named schema."""
    kind = _needed(value, "type", str, "a string")
    _at("type", _FORMATS, kind)
    if kind != "json_schema":
        return
    _at("name", _SCHEMA_NAME, _needed(value, "name", str, "a string"))
    _needed(value, "schema", Mapping, "an object")
    _typed(value, "strict", bool, "a boolean")
    _typed(value, "description", str, "a string")


def check_grammar(value: Mapping[str, Any]) -> None:
    """``format`` of a custom tool: free text, or text of a grammar."""
    kind = _needed(value, "type", str, "a string")
    _at("type", _INPUTS, kind)
    if kind == "grammar":
        _at("syntax", _SYNTAXES, _needed(value, "syntax", str, "a string"))
        _needed(value, "definition", str, "a string")


def check_reasoning(value: Mapping[str, Any]) -> None:
    """``reasoning``: every member that is known is a string."""
    for name in ("effort", "summary", "context", "mode", "generate_summary"):
        _typed(value, name, str, "a string")


def check_metadata(value: Mapping[str, Any]) -> None:
    """``metadata``: at most 16 pairs of strings, of 64 and 512 characters at most."""
    if len(value) > PAIRS:
        raise Misfit("invalid_value", f"it may have {PAIRS} pairs at most, and has {len(value)}")
    for key, text in value.items():
        if not isinstance(text, str):
            raise Misfit("invalid_type", f"expected a string under {shorten(key)}, got {kind_of(text)}")
        if len(key) > KEY_LENGTH or len(text) > VALUE_LENGTH:
            bounds = f"a key may have {KEY_LENGTH} and a value {VALUE_LENGTH} characters"
            raise Misfit("invalid_value", f"{bounds} at most, which {shorten(key)} breaks")


def check_compaction(value: tuple[Any, ...]) -> None:
    """``context_management``: one entry or more, each about compaction."""
    if not value:
        raise Misfit("invalid_value", "it must have at least one entry")
    for index, entry in enumerate(value):
        try:
            _check_compaction_entry(entry)
        except Misfit as misfit:
            raise misfit.under(index) from None


def _check_compaction_entry(entry: Any) -> None:
    if not isinstance(entry, Mapping):
        raise Misfit.kind("an object", entry)
    _at("type", one_of("compaction"), _needed(entry, "type", str, "a string"))
    _typed(entry, "compact_threshold", int, "an integer")
    if (entry.get("compact_threshold") or LEAST_THRESHOLD) < LEAST_THRESHOLD:
        raise Misfit("invalid_value", f"it must be at least {LEAST_THRESHOLD}", "compact_threshold")


def check_cache_options(value: Mapping[str, Any]) -> None:
    """``prompt_cache_options``: ``prewarm`` is a boolean, every other member that is known a string."""
    _typed(value, "prewarm", bool, "a boolean")
    for name in ("mode", "ttl", "comparison_response_id"):
        _typed(value, name, str, "a string")


def _needed(value: Mapping[str, Any], name: str, kind: type, words: str) -> Any:
    if value.get(name) is None:
        raise Misfit.missing(name)
    return _typed(value, name, kind, words)


def _typed(value: Mapping[str, Any], name: str, kind: type, words: str) -> Any:
    given = value.get(name)
    if given is None or (isinstance(given, kind) and (kind is bool or not isinstance(given, bool))):
        return given
    raise Misfit.kind(words, given).under(name)


def _at(name: str, check: Any, value: Any) -> None:
    try:
        check(value)
    except Misfit as misfit:
        raise misfit.under(name) from None
