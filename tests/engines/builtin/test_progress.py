"""Progress: the plan, replayed against what was called."""

from __future__ import annotations

from typing import Any

from agentwire.engines.builtin.arguments import Context
from agentwire.engines.builtin.plan import plan_of
from agentwire.engines.builtin.progress import Progress, facts_in, follow
from agentwire.engines.builtin.reading import Exchange
from agentwire.engines.builtin.toolbox import offers
from agentwire.testing.recording import ask_for
from tests.engines.kit import ADD, LIST, READ, SEARCH

OFFERS = offers(ask_for("x", tools=[LIST, READ, SEARCH, ADD]).tools)
LISTED = Exchange("list_files", '{"path": "."}', "a.py\nb.py\nc.md")


def stand(message: str, *since: Exchange, before: tuple[Exchange, ...] = (), parallel: bool = True) -> Progress:
    return follow(plan_of(message, OFFERS), since, before, Context(), parallel=parallel)


def next_calls(progress: Progress) -> list[tuple[str, Any]]:
    return [(job.offer.name, job.arguments) for job in progress.next]


def read(path: str, output: str = "x") -> Exchange:
    return Exchange("read_file", f'{{"path": "{path}"}}', output)


PLAN = "1. List the files in `.`\n2. Read each `.py` file that it listed\n3. Add 1 and 2\n4. Report."


def test_one_step_after_the_other() -> None:
    assert next_calls(stand(PLAN)) == [("list_files", {"path": "."})]
    assert next_calls(stand(PLAN, LISTED)) == [("read_file", {"path": "a.py"})]
    assert next_calls(stand(PLAN, LISTED, read("a.py"))) == [("read_file", {"path": "b.py"})]
    assert next_calls(stand(PLAN, LISTED, read("a.py"), read("b.py"))) == [("add_numbers", {"a": 1, "b": 2})]
    end = stand(PLAN, LISTED, read("a.py"), read("b.py"), Exchange("add_numbers", "{}", "3"))
    assert end.next == ()
    assert [len(done.exchanges) for done in end.done] == [1, 2, 1, 0]


def test_enumerated_values_go_out_together_unless_the_client_forbids_it() -> None:
    message = "Read `a.py`, `b.py` and `c.py`"
    assert len(stand(message).next) == 3
    assert len(stand(message, parallel=False).next) == 1
    assert [job.arguments for job in stand(message, read("a.py")).next] == [{"path": "b.py"}, {"path": "c.py"}]


def test_at_most_eight_at_once() -> None:
    message = "Read " + ", ".join(f"`{number}.py`" for number in range(12))
    assert len(stand(message).next) == 8


def test_so_many_at_a_time() -> None:
    assert len(stand("1. list files in .\n2. read each file, two at a time", LISTED).next) == 2


def test_joined_steps_go_out_together() -> None:
    message = "1. In parallel, use list_files on `src` and read_file on `a.py`\n2. Add 1 and 2"
    assert [job.offer.name for job in stand(message).next] == ["list_files", "read_file"]
    assert [job.offer.name for job in stand(message, parallel=False).next] == ["list_files"]
    assert [job.offer.name for job in stand(message, LISTED).next] == ["read_file"]


def test_a_reference_without_values_is_a_step_without_calls() -> None:
    empty = Exchange("list_files", "{}", "no such directory")
    progress = stand(PLAN, empty)
    assert next_calls(progress) == [("add_numbers", {"a": 1, "b": 2})]
    assert progress.done[1].exchanges == ()


def test_a_reference_in_the_first_step_means_the_message_before() -> None:
    assert next_calls(stand("Read each of them", before=(LISTED,))) == [("read_file", {"path": "a.py"})]
    assert [name for name, _ in next_calls(stand("Read each file in `src`"))] == ["read_file"]


def test_a_step_can_be_named_by_its_number() -> None:
    message = "1. List files in `.`\n2. Search for `x` in `.`\n3. Read each file of step 1"
    hits = Exchange("search_text", "{}", "z.py:1: x")
    assert next_calls(stand(message, LISTED, hits)) == [("read_file", {"path": "a.py"})]


def test_calls_that_no_step_asked_for_are_set_apart() -> None:
    stray = Exchange("something", "{}", "else")
    assert stand(PLAN, stray).other == (stray,)
    assert next_calls(stand(PLAN, stray)) == [("list_files", {"path": "."})]


def test_the_latest_output_gives_a_fact() -> None:
    one, other = (
        Exchange("a", "{}", '{"temperature": 3}'),
        Exchange("a", "{}", '{"temperature": 4, "in": {"unit": "C"}}'),
    )
    found = facts_in([one, other, Exchange("b", "{}", "text")])
    assert (found["temperature"], found["unit"]) == (4, "C")
