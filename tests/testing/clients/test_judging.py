from __future__ import annotations

from collections import deque
from typing import Any

import attrs
import pytest

from agentwire.testing.clients import RULES, SCENARIOS, Observed, Result, Scenario
from agentwire.testing.clients.program import Line, Ran
from agentwire.testing.clients.running import ClientRun
from agentwire.testing.clients.selecting import select
from agentwire.testing.clients.tool import ToolRun
from agentwire.testing.hostile.seen import Seen, SeenConnection, SeenTurn


def observed(
    *lines: str, code: int | None = 0, errors: tuple[str, ...] = (), tool: tuple[ToolRun, ...] = (), **seen: Any
) -> Observed:
    said = deque([*(Line(5.0, line, False) for line in lines), *(Line(5.0, line, True) for line in errors)])
    return Observed(
        ran=Ran(1.0, code, said), seen=Seen(**seen), tool=tool, answers=("The words are: a.",), deadline=18.0
    )


GOOD = observed("The words are: a.", tool=(ToolRun(1, 0.0, 1.0),))


def broken(scene: Observed) -> list[str]:
    return [name for name, rule in RULES.items() if rule.check(scene)]


def test_nothing_is_wrong_with_what_is_right() -> None:
    assert broken(attrs.evolve(GOOD, seen=Seen(peak=2), cancels=True)) == ["tools_end_with_their_run"]
    assert broken(attrs.evolve(GOOD, ran=Ran(1.0, 0, deque([*GOOD.ran.lines, Line(5.0, "cancelled", False)])))) == [
        "works_side_by_side"
    ]


@pytest.mark.parametrize(
    ("rule", "scene", "said"),
    [
        ("ends", observed(code=None), "it hung within 18 s"),
        ("ends", observed("The words are: a.", code=None), "did not exit"),
        ("error_is_clear", observed(code=3), "exit code 3 and said nothing"),
        ("error_is_clear", observed(code=-11), "ended by signal 11"),
        ("error_is_clear", observed(code=1, errors=("Traceback:", "KeyError: 'output'")), "its own feet"),
        (
            "error_is_clear",
            observed(code=1, errors=("pydantic_core._pydantic_core.ValidationError: 1",)),
            "its own feet",
        ),
        ("error_is_clear", observed(code=101, errors=("thread 'main' panicked at src/main.rs", "note: x")), "crashed"),
        ("answer_is_right", observed("The words are: b."), "The words are: b."),
        ("answer_is_right", observed(), "no answer"),
        ("tool_runs_once", observed(tool=(ToolRun(1, 0.0, 1.0), ToolRun(1, 2.0, 3.0))), "2 times for page 1"),
        ("sends_what_is_valid", observed(complaints=["invalid_json: x", "invalid_json: x"]), "invalid_json: x"),
        ("leaves_what_is_poisoned", observed(reused=["asked again"]), "asked again"),
        ("finishes", observed(code=1, errors=("NetworkError: gone",)), "NetworkError: gone"),
        ("takes_what_is_legal", observed(), "without the right answer"),
        ("tools_end_with_their_run", observed("cancelled", tool=(ToolRun(1, 0.0, None),)), "page 1"),
        ("tools_end_with_their_run", observed("cancelled", tool=(ToolRun(2, 6.0, 7.0),)), "page 2"),
        ("tools_end_with_their_run", observed("no"), "never said"),
        ("works_side_by_side", observed(peak=1), "waited for one another"),
    ],
)
def test_what_each_rule_sees(rule: str, scene: Observed, said: str) -> None:
    assert said in RULES[rule].check(scene)


def test_an_error_of_its_own_is_clear() -> None:
    for line in ("openai.APIConnectionError: Connection error.", "Error: the server went away", "RuntimeError: no"):
        assert RULES["error_is_clear"].check(observed(code=1, errors=(line,))) == ""


def test_a_storm_is_many_attempts_in_a_second() -> None:
    def connected(*times: float, kind: Any = "websocket") -> Observed:
        return observed(connections=[SeenConnection(number, at, kind) for number, at in enumerate(times)])

    storm = RULES["does_not_storm"].check
    assert "connected 11 times" in storm(connected(*[3 + number / 20 for number in range(11)]))
    assert storm(connected(*[number / 5 for number in range(50)])) == ""
    assert storm(connected(*[number / 100 for number in range(50)], kind="beside")) == ""
    turns = [SeenTurn(number, 0, "websocket", None, {}, 1.0) for number in range(12)]
    assert "asked 12 times" in storm(observed(turns=turns))


def test_a_tool_may_end_in_the_moment_of_the_word() -> None:
    scene = observed("cancelled", tool=(ToolRun(1, 0.0, 5.1),))
    assert RULES["tools_end_with_their_run"].check(scene) == ""


def result(scene: Observed, **more: Any) -> Result:
    usual: dict[str, Any] = {"number": "AWK-999", "name": "x", "topic": "T", "title": "Something"}
    return Result(Scenario(**usual, **more), scene)


def test_the_weightiest_rule_makes_the_verdict() -> None:
    failed = observed(code=1, errors=("NetworkError: gone",))
    assert result(GOOD).verdict == "passed"
    assert result(failed, finishes="must").verdict == "failed"
    assert result(failed).verdict == "fell short"
    assert result(failed, finishes="need not").verdict == "passed"
    row = result(observed(code=None)).row()
    assert (row.verdict, row.why) == ("failed", "it hung within 18 s, with a patience that is much shorter")
    assert set(row.broken) == {RULES["ends"].id, RULES["finishes"].id}
    assert "hung, and was killed" in row.evidence[0]


def test_a_scenario_that_never_came_about_is_not_applicable() -> None:
    scenario = next(scenario for scenario in SCENARIOS.values() if scenario.name == "forgets")
    assert Result.of(scenario, GOOD).verdict == "not applicable" or GOOD.answers != scenario.answers
    own = attrs.evolve(GOOD, seen=Seen(deeds=["forgets"]))
    assert Result.of(scenario, own).observed is own


def test_numbers_and_names_are_given_once() -> None:
    assert list(SCENARIOS) == sorted(SCENARIOS)
    names = [scenario.name for scenario in SCENARIOS.values()]
    assert len(set(names)) == len(names)
    ids = [rule.id for rule in RULES.values()]
    assert ids == sorted(set(ids))
    assert all(rule.text.endswith(".") for rule in RULES.values())


def test_words_that_mean_scenarios() -> None:
    assert [scenario.number for scenario in select(["1", "AWK-050", "awk-070-72"], ["71"])] == [
        "AWK-001", "AWK-050", "AWK-070", "AWK-072",
    ]  # fmt: skip
    assert [scenario.name for scenario in select(["forgets"])] == ["forgets"]
    assert {scenario.topic for scenario in select(["silence"])} == {"Silence"}
    assert len(select()) == len(SCENARIOS)
    with pytest.raises(ValueError, match="'nonsense' is no number"):
        select(["nonsense"])


async def test_a_run_that_has_not_begun_has_an_empty_report(autojump_clock: object) -> None:
    report = ClientRun(["x"]).report()
    assert not report.complete
    assert report.rows == ()
