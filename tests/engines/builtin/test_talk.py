"""What is said without tools."""

from __future__ import annotations

import pytest

from agentwire.engines.builtin.facts import facts_of_text
from agentwire.engines.builtin.talk import NOTICE, reply
from agentwire.engines.builtin.toolbox import Offer


def say(request: str, said: str = "", attached: str = "", offers: tuple[Offer, ...] = ()) -> str:
    return reply(request, attached, facts_of_text(said), offers)


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ("Say hello", "hello"),
        ("Reply with exactly: pong", "pong"),
        ("Reply with the word `pong` please", "pong"),
        ('repeat after me "a b"', "a b"),
        ("say 'x y'", "x y"),
        ("count to 5", "1 2 3 4 5"),
        ("count from 3 to 1", "3 2 1"),
        ("Who are you?", f"I am {NOTICE}."),
        ("Which model is this?", f"I am {NOTICE}."),
        ("Are you an AI?", f"I am {NOTICE}."),
        ("Answer in one line", "You asked: “Answer in one line”. Without tools I can only repeat it."),
        ("hello", "You asked: “hello”. Without tools I can only repeat it."),
        ("", "There was no text to answer. Without tools I can only repeat it."),
    ],
)
def test_replies(request_: str, expected: str) -> None:
    assert say(request_) == expected


@pytest.mark.parametrize(
    ("said", "question", "answer"),
    [
        ("My name is Ada.", "What is my name?", "You said that name is Ada."),
        ("The code word is BLUE.", "what was the code word again?", "You said that code word is BLUE."),
        ("limit: 5", "Tell me the limit", "You said that limit is 5."),
    ],
)
def test_what_was_said_before_is_found_again(said: str, question: str, answer: str) -> None:
    assert say(question, said) == answer


def test_what_was_never_said_is_not_made_up() -> None:
    assert say("What is my age?", "My name is Ada.").startswith("You asked")


def test_what_cannot_be_looked_into_is_mentioned_and_keeps_the_rules_out() -> None:
    assert say("Say what this is", attached="1 image") == (
        "You asked: “Say what this is”. With it came 1 image, which I cannot look into. "
        "Without tools I can only repeat it."
    )


def test_the_tools_that_were_not_called_are_named() -> None:
    text = say("hello", offers=tuple(Offer(f"t{number}") for number in range(10)))
    assert "none of the tools on offer (t0, t1, t2, t3, t4, t5, t6, t7 and 2 more)" in text


def test_a_long_request_is_cut_and_a_long_count_has_an_end() -> None:
    assert len(say("x " * 5_000)) < 500
    assert len(say("count to 999999").split()) == 10_000
