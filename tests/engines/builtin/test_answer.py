"""What is said after tools have answered: what they said, and no more."""

from __future__ import annotations

import pytest

from agentwire.engines.builtin.answer import digest, line_of_step, named_call, report
from agentwire.engines.builtin.plan import Step
from agentwire.engines.builtin.progress import Done, Progress
from agentwire.engines.builtin.reading import Exchange
from agentwire.engines.builtin.toolbox import Offer

TOTAL = (
    "Report on 4 steps, made from 11 tool outputs: 502 lines and 6 486 characters in all; "
    "the longest from read(n=0) with 61 lines; 1 call failed: read(n=9) said “error: gone”."
)
LONG = "# Title\n" + "line of text\n" * 60


@pytest.mark.parametrize(
    ("exchange", "expected"),
    [
        (Exchange("now", "{}", "12:00"), "now() returned: 12:00"),
        (Exchange("now", "", ""), "now() returned nothing."),
        (Exchange("shot", "{}", "", "1 image"), "shot() returned 1 image."),
        (Exchange("shot", "{}", "ok", "1 image"), "shot() returned: ok It also returned 1 image."),
        (Exchange("f", '{"a":1,"b":null}', '{"temperature":18,"sky":"clear"}'),
         "f(a=1) returned: temperature: 18, sky: clear."),
        (Exchange("f", '{"a":"x"}', "error: no such file"), 'f(a="x") failed: error: no such file'),
        (Exchange("f", "free text", LONG), 'f("free text") returned 61 lines, 787 characters; it begins “# Title”'),
        (Exchange("f", "{}", "error: " + "x" * 900), f"f() failed: “error: {'x' * 92}…”"),
        (Exchange("f", "{}", "[" + "1," * 400 + "2]"), "f() returned a list of 401 entries, the first 1"),
    ],
)  # fmt: skip
def test_a_digest_of_one(exchange: Exchange, expected: str) -> None:
    assert digest([exchange]) == expected


def test_a_digest_of_many_counts_what_it_does_not_quote() -> None:
    text = digest([Exchange("f", f'{{"n":{number}}}', f"{number}") for number in range(9)])
    assert text.count("\n\n") == 6
    assert text.endswith("Of the other 3 calls: 3 lines and 3 characters in all.")
    assert digest([]) == "No tool was called."


def test_a_report_goes_step_by_step() -> None:
    read = Offer("read")
    hits = "\n".join(f"src/{number % 3}.py:{number}: x" for number in range(12))
    progress = Progress(
        (
            Done(Step(1, "List"), ()),
            Done(Step(2, "Read them", read), tuple(Exchange("read", f'{{"n":{n}}}', LONG) for n in range(8)), 4),
            Done(Step(3, "Search", read), (Exchange("read", "{}", hits),)),
            Done(Step(4, "Open", read), (Exchange("read", '{"n":9}', "error: gone"), Exchange("read", "{}", "[]"))),
            Done(Step(5, "Each", read), ()),
        ),
        other=(Exchange("stray", "{}", "?"),),
    )
    assert report(progress).splitlines() == [
        TOTAL,
        "",
        "2. Read them",
        "   488 lines and 6 304 characters in all; the longest from read(n=0) with 61 lines.",
        *[f"   - read(n={n}): 61 lines, 787 characters; it begins “# Title”" for n in range(6)],
        "   - and 2 more",
        "   Left out: 4 further values of the earlier outputs.",
        "",
        "3. Search",
        "   - read(): 12 lines in 3 files, 169 characters; it begins “src/0.py:0: x”",
        "",
        "4. Open",
        "   2 lines and 13 characters in all; 1 call failed: read(n=9) said “error: gone”.",
        "   - read(n=9): failed: “error: gone”",
        "   - read(): a list of 0 entries",
        "",
        "5. Each",
        "   Nothing to call: earlier outputs named no value for it.",
        "Besides these steps: 1 line and 1 character in all.",
    ]


def test_brief_words_for_the_rest() -> None:
    read = Offer("read")
    brief = report(
        Progress((Done(Step(1, "A", read), (Exchange("read", "{}", "", "1 image"), Exchange("read", "{}", ""))),))
    )
    assert "- read(): 1 image" in brief
    assert "- read(): an empty output" in brief
    wide = Exchange("f", "{}", '{"' + '":1,"'.join("abcdefghijk") + '":1}')
    assert digest([wide]).endswith("h: 1, and 3 more members.")


def test_a_line_on_what_is_done_next() -> None:
    step = Step(3, "Read each file", Offer("read"))
    assert line_of_step(Done(step), 1) == "Step 3: 1 call of read, for “Read each file”."
    done = Done(step, (Exchange("read", "{}", ""),))
    assert line_of_step(done, 2) == "Step 3: 2 calls of read, after 1 call, for “Read each file”."


def test_a_call_is_written_as_one_would() -> None:
    assert named_call(Exchange("f", '{"path":"a.py","limit":5}')) == 'f(path="a.py", limit=5)'
    assert len(named_call(Exchange("f", "x" * 5_000))) < 220


def test_half_a_surrogate_pair_in_arguments_is_shown_all_the_same() -> None:
    assert named_call(Exchange("f", "\ud800")) == "f('\\ud800')"
