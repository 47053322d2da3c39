"""The table is whole: every rule is shown by something, every case shows a rule, and the page says the same."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from functools import cache
from pathlib import Path

import pytest

from agentwire.testing.conformance import CASES, NEEDS, RULES, TOPICS, Case, Rule, page, pages
from agentwire.testing.conformance.advice import ADVICE
from agentwire.testing.conformance.field import FIELD, Failure, failures_of
from agentwire.testing.conformance.registry import RETIRED
from agentwire.testing.conformance.registry import case as register
from agentwire.testing.conformance.rules import LEVELS, SOURCES

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = pages.render()
PROVEN = {rule for case in CASES.values() for rule in case.rules}


def test_ids_are_unique_and_in_order() -> None:
    assert len(RULES) == sum(len(topic.rules) for topic in TOPICS)
    assert len({topic.letter for topic in TOPICS}) == len(TOPICS)
    for topic in TOPICS:
        numbers = [int(rule.id.removeprefix(f"AW-{topic.letter}-")) for rule in topic.rules]
        assert numbers == sorted(numbers)
        assert [rule.id for rule in topic.rules] == [f"AW-{topic.letter}-{number:03}" for number in numbers]


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_a_rule_is_whole(rule: Rule) -> None:
    assert rule.text.endswith(".")
    assert rule.sources
    assert set(rule.sources) <= SOURCES.keys()
    assert len(set(rule.sources)) == len(rule.sources)
    assert rule.level in LEVELS
    assert rule.profiles


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_a_rule_is_shown_or_says_why_not(rule: Rule) -> None:
    if rule.departure is not None:
        assert rule.id not in PROVEN
        assert rule.proof is None
    else:
        assert rule.id in PROVEN or rule.proof is not None
    if rule.proof is not None:
        path, *_, name = rule.proof.split("::")
        assert name in functions(path), f"there is no test {rule.proof}"


@cache
def functions(path: str) -> frozenset[str]:
    """The names of the tests in a file."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_case_shows_rules_and_says_what_it_does(case: Case) -> None:
    assert set(case.rules) <= RULES.keys()
    assert len(set(case.rules)) == len(case.rules)
    assert case.title.endswith((".", "?"))
    assert case.profiles & RULES[case.rules[0]].profiles


@pytest.mark.parametrize(
    ("number", "name", "rules", "needs"),
    [
        (9999, "new", (), ()),
        (9999, "new", ("AW-H-001",), ("luck",)),
        (9999, "taken", ("AW-H-001",), ()),
        (1, "new", ("AW-H-001",), ()),
    ],
)
def test_what_is_no_case(number: int, name: str, rules: tuple[str, ...], needs: tuple[str, ...]) -> None:
    async def body(peer: object) -> None:
        """Nothing."""

    body.__name__ = next(iter(CASES)) if name == "taken" else name
    with pytest.raises(ValueError, match="must be new"):
        register(number, *rules, needs=needs)(body)
    assert "new" not in CASES


def test_a_number_that_was_given_once_is_never_free_again() -> None:
    """A case that is removed has to leave its number in `RETIRED`, for reports that name it go on existing."""
    numbers = {int(case.number.removeprefix("AWC-")) for case in CASES.values()}
    assert not numbers & RETIRED
    assert numbers | RETIRED == set(range(1, max(numbers) + 1))


def test_every_need_is_one_of_some_case() -> None:
    assert {need for case in CASES.values() for need in case.needs} == NEEDS.keys()


def test_the_page_is_what_the_table_says(tmp_path: Path) -> None:
    page.main(str(tmp_path / "rules.md"))
    made = (tmp_path / "rules.md").read_text(encoding="utf-8")
    committed = (ROOT / "docs" / "reference" / "rules.md").read_text(encoding="utf-8")
    assert committed == made, "run: python -m agentwire.testing.conformance.page docs/reference/rules.md"
    assert all(rule in made for rule in RULES)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_check_names_a_rule_of_its_case(case: Case) -> None:
    """A check may say which of its case's rules it is about, and only of those."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(case.body)))
    function = next(node for node in tree.body if isinstance(node, ast.AsyncFunctionDef))
    named = {
        node.value
        for statement in function.body
        for node in ast.walk(statement)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch(r"AW-[A-Z]-\d+", node.value)
    }
    assert named <= set(case.rules)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_case_says_why_it_matters_and_what_to_do(case: Case) -> None:
    advice = ADVICE[int(case.number.removeprefix("AWC-"))]
    assert advice.why.endswith(".")
    assert advice.mend.endswith(".")


def test_advice_is_about_cases() -> None:
    assert {f"AWC-{number:03}" for number in ADVICE} <= {case.number for case in CASES.values()}


@pytest.mark.parametrize("name", PAGES)
def test_the_page_of_a_case_is_what_the_case_says(name: str) -> None:
    made = PAGES[name]
    committed = (ROOT / "docs" / "conformance" / name).read_text(encoding="utf-8")
    assert committed == made, "run: python -m agentwire.testing.conformance.pages docs/conformance"


def test_a_page_that_was_written_once_stays() -> None:
    """Reports name numbers: whoever removes a case leaves its number, and says on its page what became of it."""
    written = {path.stem for path in (ROOT / "docs" / "conformance").glob("AWC-*.md")}
    assert written == {case.number for case in CASES.values()} | {f"AWC-{number:03}" for number in RETIRED}


@pytest.mark.parametrize("failure", FIELD, ids=lambda failure: failure.reports[0])
def test_a_failure_of_the_field_has_its_cases(failure: Failure) -> None:
    assert failure.what.endswith(".")
    assert failure.reports
    assert failure.cases
    assert set(failure.cases) <= CASES.keys(), set(failure.cases) - CASES.keys()
    assert len(set(failure.cases)) == len(failure.cases)
    assert all(failure in failures_of(case) for case in failure.cases)


def test_a_rule_from_the_field_is_about_a_failure_that_was_reported() -> None:
    """Its cases are in the table, at least one of them."""
    for rule in RULES.values():
        if "field" in rule.sources:
            cases = [case.name for case in CASES.values() if rule.id in case.rules]
            assert any(map(failures_of, cases)) or rule.id in UNREPORTED, rule.id


UNREPORTED = frozenset(("AW-N-033", "AW-U-016"))
