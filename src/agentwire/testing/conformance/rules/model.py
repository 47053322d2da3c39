"""What a rule is: one sentence about a server, where it comes from, how binding it is, and how it is shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import attrs

__all__ = ["BOTH", "LEVELS", "OPENAI", "OPEN_RESPONSES", "SOURCES", "Level", "Maker", "Profile", "Rule", "Topic"]

Level = Literal["must", "should", "choice"]
Profile = Literal["openai", "open-responses"]

BOTH: Final[frozenset[Profile]] = frozenset(("openai", "open-responses"))
OPENAI: Final[frozenset[Profile]] = frozenset(("openai",))
OPEN_RESPONSES: Final[frozenset[Profile]] = frozenset(("open-responses",))

LEVELS: Final[Mapping[Level, str]] = {
    "must": "documented, or clients break without it",
    "should": "documented as expected, or clients get worse without it",
    "choice": "the sources leave it open; this is what we chose, and another server may choose otherwise",
}

SOURCES: Final[Mapping[str, str]] = {
    "guide": "OpenAI, WebSocket mode guide (autumn 2026)",
    "steering": "OpenAI, mid-turn steering guide (autumn 2026)",
    "compaction": "OpenAI, compaction guide (2026)",
    "background": "OpenAI, background mode guide (2026)",
    "types": "the types of openai-python 3.54.0, which are generated from OpenAI's schema",
    "openapi": "OpenAI's OpenAPI description (2026-08-21)",
    "open": "Open Responses, specification and compliance suite (release 2026-04-24)",
    "rfc6455": "RFC 6455, The WebSocket Protocol",
    "rfc9110": "RFC 9110, HTTP Semantics",
    "html": "WHATWG HTML, server-sent events",
    "clients": "what public clients send or cannot do without: the OpenAI and Agents SDKs, Codex, the AI SDK",
    "observed": "measured against a hosted service, and published by those who did",
    "field": "what users of other programs reported when it was missing",
    "ours": "our choice",
}
"""Where rules come from. Where two disagree, the types win on shapes and the guides on behaviour."""


@attrs.frozen(kw_only=True)
class Rule:
    """One rule.

    Attributes:
        id: stable, such as ``AW-S-012``; never given to another rule.
        text: what a server does, in one sentence.
        sources: keys of `SOURCES`, the weightiest first.
        level: how binding it is.
        profiles: the dialects in which it holds.
        proof: the pytest node of agentwire's own test, where no case can show it from outside.
        departure: why agentwire does not follow it; None where it does.
    """

    id: str
    text: str
    sources: tuple[str, ...]
    level: Level
    profiles: frozenset[Profile] = BOTH
    proof: str | None = None
    departure: str | None = None

    def level_in(self, profile: Profile) -> Level:
        """How binding it is in a dialect: what Open Responses alone demands is no more than good in OpenAI's."""
        alone = set(self.sources) - {"ours"} == {"open"}
        return "should" if profile == "openai" and self.level == "must" and alone else self.level


@attrs.frozen
class Topic:
    """Rules about one thing.

    Attributes:
        letter: the middle of their ids.
        title: what they are about.
        rules: in the order of their numbers.
    """

    letter: str
    title: str
    rules: tuple[Rule, ...]


@attrs.frozen
class Maker:
    """Writes the rules of one topic, by number."""

    letter: str

    def must(
        self,
        number: int,
        text: str,
        *sources: str,
        only: frozenset[Profile] = BOTH,
        proof: str | None = None,
        departure: str | None = None,
    ) -> Rule:
        """A rule that every server has to keep."""
        return Rule(
            id=f"AW-{self.letter}-{number:03}",
            text=text,
            sources=sources,
            level="must",
            profiles=only,
            proof=proof,
            departure=departure,
        )

    def should(
        self,
        number: int,
        text: str,
        *sources: str,
        only: frozenset[Profile] = BOTH,
        proof: str | None = None,
        departure: str | None = None,
    ) -> Rule:
        """A rule that a good server keeps."""
        return Rule(
            id=f"AW-{self.letter}-{number:03}",
            text=text,
            sources=sources,
            level="should",
            profiles=only,
            proof=proof,
            departure=departure,
        )

    def choice(
        self,
        number: int,
        text: str,
        *sources: str,
        only: frozenset[Profile] = BOTH,
        proof: str | None = None,
        departure: str | None = None,
    ) -> Rule:
        """What we chose where the sources say nothing."""
        return Rule(
            id=f"AW-{self.letter}-{number:03}",
            text=text,
            sources=(*sources, "ours"),
            level="choice",
            profiles=only,
            proof=proof,
            departure=departure,
        )
