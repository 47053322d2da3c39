"""What the engine says when there is no tool to call: small, true answers by rule.

It repeats what it is told to repeat, counts when told to count, finds what was said before ("what is my name?"), says
what it is when asked, and otherwise says what was asked and that it has no more to offer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from agentwire.engines.builtin.facts import fact_name
from agentwire.engines.builtin.toolbox import Offer

__all__ = ["NOTICE", "reply"]

NOTICE: Final = "agentwire's built-in engine: deterministic rules, not a language model"
"""What the engine is, for the server's start-up line and for whoever asks."""

MOST_COUNTED: Final = 10_000
LONGEST_ECHO: Final = 400
MOST_TOOLS: Final = 8

_WHO: Final = re.compile(
    r"\b(?:who|what) are you\b|\bwh(?:at|ich) (?:language )?model\b|\bintroduce yourself\b"
    r"|\bare you (?:an? )?(?:ai|llm|gpt|human|bot|person|real|(?:large )?language model)\b",
    re.IGNORECASE,
)
_SAY: Final = re.compile(
    r"\b(?:say|repeat|echo|(?:reply|respond|answer) with|(?:reply|respond|answer)|print|output)\b"
    r"(?:\s(?:exactly|only|just|back|the|single|word|words|phrase|this|following|text|after me)){0,6}\s?:?\s{0,2}"
    r"(?:`(?P<code>[^`\n]{1,1000})`|[\"“](?P<quoted>[^\"”\n]{1,1000})[\"”]|'(?P<single>[^'\n]{1,1000})'|(?P<bare>[^\s\"'`“][^\n]{0,1000}))",
    re.IGNORECASE,
)
_COUNT: Final = re.compile(r"\bcount (?:from (-?\d{1,6}) )?(?:up |down )?to (-?\d{1,6})\b", re.IGNORECASE)
_QUESTION: Final = re.compile(
    r"\b(?:what(?:'s| is| was| are| were)|tell me|recall|do you (?:remember|know)) (?P<name>(?:\w+ ){0,5}\w+)",
    re.IGNORECASE,
)


def reply(request: str, attached: str, facts: Mapping[str, Any], on_offer: Sequence[Offer]) -> str:
    """An answer without tools.

    Args:
        request: what was asked.
        attached: what came with it beside text, in words.
        facts: what was said before, by name.
        on_offer: the tools that could have been called, and were not asked for.
    """
    if not attached:
        for rule in (_who, _count, lambda text: _recall(text, facts), _say):
            answer = rule(request)
            if answer:
                return answer
    return _echo(request, attached, on_offer)


def _who(request: str) -> str | None:
    return f"I am {NOTICE}." if _WHO.search(request) else None


def _count(request: str) -> str | None:
    match = _COUNT.search(request)
    if match is None:
        return None
    start, end = int(match[1] or 1), int(match[2])
    step = 1 if end >= start else -1
    numbers = range(start, end + step, step)[:MOST_COUNTED]
    return " ".join(map(str, numbers))


def _recall(request: str, facts: Mapping[str, Any]) -> str | None:
    match = _QUESTION.search(request)
    if match is None:
        return None
    name = fact_name(match["name"])
    while name:
        value = facts.get(name)
        if isinstance(value, str | int | float):
            return f"You said that {name.replace('_', ' ')} is {value}."
        name = name.rpartition("_")[0]
    return None


def _say(request: str) -> str | None:
    match = _SAY.search(request)
    if match is None:
        return None
    said = match["code"] or match["quoted"] or match["single"]
    if said is not None:
        return said
    verb = match[0].split(maxsplit=1)[0].lower()
    if verb in ("answer", "respond", "reply", "output", "print") and " with" not in match[0][:14].lower():
        return None  # "answer in one line" says how, not what
    return match["bare"].strip().rstrip(".") or None


def _echo(request: str, attached: str, on_offer: Sequence[Offer]) -> str:
    asked = " ".join(request.split())
    shown = asked if len(asked) <= LONGEST_ECHO else f"{asked[: LONGEST_ECHO - 1].rstrip()}…"
    parts = [f"You asked: “{shown}”." if shown else "There was no text to answer."]
    if attached:
        parts.append(f"With it came {attached}, which I cannot look into.")
    if on_offer:
        names = ", ".join(offer.name for offer in on_offer[:MOST_TOOLS])
        more = f" and {len(on_offer) - MOST_TOOLS} more" if len(on_offer) > MOST_TOOLS else ""
        parts.append(f"It asks clearly for none of the tools on offer ({names}{more}), so none was called.")
    else:
        parts.append("Without tools I can only repeat it.")
    return " ".join(parts)
