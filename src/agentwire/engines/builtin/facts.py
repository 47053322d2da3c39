"""Named values in the conversation: "limit: 5", "the code word is blue", the members of a tool's JSON output.

They fill the arguments and the structured answers whose names match, and answer plain questions about what was said
before. The last value said of a name counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from agentwire.engines.builtin.words import name_words, word_set

__all__ = ["fact_name", "facts_of_json", "facts_of_text", "parse_json"]

MOST: Final = 300
LONGEST: Final = 8_192
DEEPEST: Final = 6

_SAID: Final = re.compile(
    r"(?<![\w'])(?P<name>[A-Za-z][\w-]{0,30}(?: [A-Za-z][\w-]{0,30}){0,3})"
    r"\s{0,2}(?::|=|\bis\b|\bare\b)\s{0,2}"
    r"(?P<value>`[^`\n]{1,200}`|\"[^\"\n]{1,200}\"|[^\s,;`\"][^,;\n`\"]{0,200})"
)
_SENTENCE: Final = re.compile(r"[.!?](?=\s|$)|\n")
_LEADING: Final = word_set("the a an my our your its this that remember note please and so now with")


def fact_name(text: str) -> str:
    """The name under which a fact is kept: words joined by ``_``, without articles and the like in front."""
    parts = name_words(text)
    while parts and parts[0] in _LEADING:
        parts = parts[1:]
    return "_".join(parts)


def facts_of_text(text: str) -> dict[str, Any]:
    """What a text says in the form "name: value", "name = value" or "name is value"."""
    found: dict[str, Any] = {}
    text = text[:LONGEST]
    match = _SAID.search(text)
    while match is not None and len(found) < MOST:
        name = fact_name(match["name"])
        value = _SENTENCE.split(match["value"], maxsplit=1)[0].strip("`\"' ")
        if name and value:
            found[name] = _scalar(value)
        match = _SAID.search(text, match.end() if name else match.start("value"))
    return found


def facts_of_json(value: Any) -> dict[str, Any]:
    """The members of a JSON value by name, those inside too; the first of a name counts."""
    found: dict[str, Any] = {}
    _collect(value, found, 0)
    return found


def parse_json(text: str) -> Any:
    """The JSON object or array that a text is, or None if it is none (or a long one)."""
    if text.lstrip()[:1] not in ("{", "[") or len(text) > 32 * LONGEST:
        return None
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return None


def _collect(value: Any, found: dict[str, Any], depth: int) -> None:
    if depth > DEEPEST or len(found) >= MOST:
        return
    members: Iterable[tuple[str, Any]] = value.items() if isinstance(value, Mapping) else ()
    for name, member in members:
        found.setdefault(fact_name(str(name)), member)
    for inner in value.values() if isinstance(value, Mapping) else value[:50] if isinstance(value, list) else ():
        if isinstance(inner, Mapping | list):
            _collect(inner, found, depth + 1)


def _scalar(text: str) -> Any:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return float(text) if "." in text else int(text)
    except ValueError:
        return text
