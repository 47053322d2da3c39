"""The values that a text mentions: quoted and back-ticked text, numbers, paths, URLs, names, dates.

A mention knows the words around it (``cue``, ``before``, ``after``), from which arguments are told apart: in "search
for `x` in `src`" one value is looked for and the other is where. Values that are enumerated ("`a`, `b` and `c`")
form one group. Cost is linear in the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final, Literal

import attrs

from agentwire.engines.builtin.words import is_common, word_set, words

__all__ = ["Group", "Kind", "Mention", "groups", "looks_like_path", "mentions"]

Kind = Literal["block", "code", "quoted", "url", "path", "glob", "email", "date", "expression", "number", "name"]

LONGEST: Final = 300
MOST: Final = 400

EXTENSIONS: Final = word_set(
    "bat c cc cfg cpp cs css csv dart db doc docx ex exs gif go gz h hpp html hs ini ipynb java jpeg jpg js json jsonl "
    "jsx kt lock log lua m md mjs mm pdf php pl png proto ps1 py pyi r rb rs rst sass scala scss sh sql sqlite sum svg "
    "swift tar tex toml ts tsv tsx txt vue wasm webp xls xlsx xml yaml yml zip zsh"
)
NO_PATHS: Final = word_set(
    "and/or read/write input/output i/o yes/no on/off true/false client/server he/she tcp/ip n/a w/o either/or"
)
_NUMBERS: Final = "two three four five six seven eight nine ten eleven twelve"
NUMBER_WORDS: Final = {word: number for number, word in enumerate(_NUMBERS.split(), start=2)}
CUES: Final = word_set(
    "in into under inside within from at on for about matching containing contains mentions mention with called named "
    "to against over through via using by of"
)
TRIVIAL: Final = word_set("a an the this that its my our is are equals equal be as of to like exactly set")

_TOKEN: Final = re.compile(
    r"(?P<block>```[^\n`]*\n.*?```)"
    r"|(?P<code>`[^`\n]{1,300}`)"
    r'|(?P<quoted>"[^"\n]{1,300}"|“[^”\n]{1,300}”|«[^»\n]{1,300}»|(?<!\w)\'[^\'\n]{1,300}\'(?!\w))'
    r"|(?P<expression>(?<![\w.])\d{1,15}(?:\.\d{1,15})?"
    r"(?:(?:\s{0,2}[+*^%]\s{0,2}|\s[-/]\s)\d{1,15}(?:\.\d{1,15})?){1,20})"
    r"|(?P<bare>[^\s`\"“«]+)",
    re.DOTALL,
)
_NUMBER: Final = re.compile(r"[-+]?\d{1,15}(?:\.\d{1,15})?")
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d(?:T[\d:.]+Z?)?")
_EMAIL: Final = re.compile(r"[\w.+-]{1,64}@[\w-]{1,64}(?:\.[\w-]{1,64})+")
_URL: Final = re.compile(r"(?:https?|wss?|ftp|file)://\S+")
_BETWEEN: Final = re.compile(r"\s*(?:,|;|&|\band\b|\bor\b|,\s*and\b|,\s*or\b)\s*(?:the\s+)?", re.IGNORECASE)
_CLAUSE_END: Final = re.compile(r"[.;!?:]\s|\n")


@attrs.frozen
class Mention:
    """One value in a text.

    Attributes:
        kind: what it looks like.
        value: the text without its marks, or the number.
        start: where it begins, marks included.
        end: where it ends.
        marked: whether it stood in quotes or back-ticks.
        cue: the preposition that leads to it ("in", "for"), or the empty string.
        before: the word before it, articles and the like skipped, or the empty string.
        after: the word after it, or the empty string.
    """

    kind: Kind
    value: str | int | float
    start: int
    end: int
    marked: bool = False
    cue: str = ""
    before: str = ""
    after: str = ""

    @property
    def text(self) -> str:
        """The value as text."""
        return str(self.value)


Group = tuple[Mention, ...]
"""Mentions that are enumerated together; the first one's cue holds for all."""


def looks_like_path(text: str) -> bool:
    """Whether a token without blanks is a path, by its slashes or a well-known extension."""
    if text in (".", "..", "~") or text.startswith(("./", "../", "~/")):
        return True
    if not text or len(text) > LONGEST or any(char in " \t\n*?<>|:()=;,\"'" for char in text):
        return False
    last = text.rstrip("/").rpartition("/")[2]
    stem, dot, extension = last.rpartition(".")
    if dot and stem and extension.lower() in EXTENSIONS:
        return True
    has_letter = any(char.isalpha() for char in text)
    return "/" in text and has_letter and "//" not in text and text.lower() not in NO_PATHS


def mentions(text: str) -> list[Mention]:
    """All values that the text mentions, in order; at most the first few hundred."""
    found: list[Mention] = []
    for mention in _with_names(_scan(text)):
        found.append(_in_context(text, mention))
        if len(found) == MOST:
            break
    return found


@lru_cache(maxsize=256)
def groups(text: str) -> tuple[Group, ...]:
    """The mentions, those that are enumerated together in one group."""
    made: list[list[Mention]] = []
    for mention in mentions(text):
        last = made[-1][-1] if made else None
        if last is not None and _akin(last, mention) and _BETWEEN.fullmatch(text, last.end, mention.start):
            made[-1].append(mention)
        else:
            made.append([mention])
    return tuple(map(tuple, made))


def _akin(one: Mention, other: Mention) -> bool:
    if one.kind == other.kind:
        return True
    textual = ("code", "quoted", "path", "glob")
    return one.marked and other.marked and one.kind in textual and other.kind in textual


def _scan(text: str) -> Iterator[Mention]:
    """Marked text and bare tokens; bare words that may be part of a name come out as kind ``name``."""
    for match in _TOKEN.finditer(text):
        raw, start, end = match.group(), match.start(), match.end()
        if match.lastgroup == "block":
            yield Mention("block", raw[3:-3].partition("\n")[2].rstrip("\n"), start, end, marked=True)
        elif match.lastgroup in ("code", "quoted"):
            value = raw[1:-1]
            yield Mention(_marked_kind(value, match.lastgroup), value, start, end, marked=True)
        elif match.lastgroup == "expression":
            yield Mention("expression", raw, start, end)
        else:
            mention = _bare(text, raw, start)
            if mention is not None:
                yield mention


def _marked_kind(value: str, mark: str) -> Kind:
    if _URL.fullmatch(value):
        return "url"
    if _is_glob(value):
        return "glob"
    if looks_like_path(value):
        return "path"
    return "code" if mark == "code" else "quoted"


def _is_glob(value: str) -> bool:
    if value.startswith(".") and value[1:].lower() in EXTENSIONS:
        return True
    return "*" in value and " " not in value and ("." in value or "/" in value) and value.strip("*") != ""


def _bare(text: str, raw: str, start: int) -> Mention | None:
    if len(raw) > LONGEST:
        return None
    if raw in (".", "./", "..") and not text[:start][-1:].strip():  # not the full stop after a quotation
        return Mention("path", raw, start, start + len(raw))
    core = raw.rstrip(".,;:!?)]}>'\"”’").lstrip("([{<'#")  # noqa: RUF001 - people write it
    name, equals, value_part = core.partition("=")
    if equals and name.isidentifier() and value_part:
        core = value_part
    start += max(raw.rfind(core), 0)
    kind = _bare_kind(core)
    if kind is None:
        name = core.strip("*_").removesuffix("'s").removesuffix("’s")  # noqa: RUF001 - people write it
        return Mention("name", name, start, start + len(core)) if _may_be_name(text, name, start) else None
    value: str | int | float = core
    if kind == "number":
        value = NUMBER_WORDS.get(core.lower()) or _number(core.strip("$€£%"))
        if text[max(0, start - 8) : start].rstrip().lower().endswith(("step", "steps")):
            return None
    return Mention(kind, value, start, start + len(core))


def _bare_kind(core: str) -> Kind | None:
    checks: tuple[tuple[Kind, bool], ...] = (
        ("url", bool(_URL.fullmatch(core))),
        ("email", bool(_EMAIL.fullmatch(core))),
        ("date", bool(_DATE.fullmatch(core))),
        ("number", core.lower() in NUMBER_WORDS or bool(_NUMBER.fullmatch(core.strip("$€£%")))),
        ("glob", _is_glob(core)),
        ("path", looks_like_path(core)),
    )
    return next((kind for kind, holds in checks if holds), None)


def _number(text: str) -> int | float:
    return float(text) if "." in text else int(text)


def _may_be_name(text: str, core: str, start: int) -> bool:
    if not core[:1].isupper() or core == "I" or core.startswith(("I'", "I’")):  # noqa: RUF001 - people write it
        return False
    lead = text[max(0, start - 8) : start].rstrip(" \t(*_'\"“#>-")
    if lead and lead[-1] not in ".!?\n":
        return True
    following = text[start + len(core) : start + len(core) + 2]  # "Ada Lovelace is ..."
    return following[:1] == " " and following[1:].isupper() and not is_common(core.lower())


def _with_names(found: Iterator[Mention]) -> Iterator[Mention]:
    """Join capitalised words that follow each other into one name."""
    name: Mention | None = None
    for mention in found:
        if name is not None:
            if mention.kind == "name" and mention.start - name.end == 1 and name.end - name.start < LONGEST // 4:
                name = attrs.evolve(name, value=f"{name.value} {mention.value}", end=mention.end)
                continue
            yield name
            name = None
        if mention.kind == "name":
            name = mention
        else:
            yield mention
    if name is not None:
        yield name


def _in_context(text: str, mention: Mention) -> Mention:
    clause = _CLAUSE_END.split(text[max(0, mention.start - 60) : mention.start])[-1]
    before = words(clause)
    cue = next((word for word in reversed(before[-3:]) if word in CUES), "")
    near = next((word for word in reversed(before[-3:]) if word not in TRIVIAL), "")
    after = words(text[mention.end : mention.end + 30])
    return attrs.evolve(mention, cue=cue, before=near, after=after[0] if after else "")
