from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from agentwire.engines.offering.names import LONGEST_NAME, distinct_name, plain_name

NAMES = st.text("abc_-Z9", min_size=1, max_size=128)


def test_a_name_that_fits_is_kept() -> None:
    assert plain_name("get_weather") == "get_weather"
    assert plain_name("find", "crm") == "crm__find"
    assert plain_name("x" * 64) == "x" * 64


def test_names_that_do_not_fit_differ_where_the_originals_differ() -> None:
    long = plain_name("x" * 65)
    assert len(long) == LONGEST_NAME
    assert long.startswith("xxx")
    assert long != plain_name("x" * 66)
    assert plain_name("a.b") != plain_name("a b")
    assert plain_name("half \ud800") != plain_name("half \ud801")


@given(NAMES | st.text(min_size=1), st.none() | NAMES)
def test_every_name_is_legal_and_always_the_same(name: str, namespace: str | None) -> None:
    made = plain_name(name, namespace)
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", made)
    assert plain_name(name, namespace) == made


@given(NAMES | st.text(min_size=1), st.none() | NAMES)
def test_the_second_of_a_name_has_another_and_keeps_it(name: str, namespace: str | None) -> None:
    made = {distinct_name(name, namespace, kind) for kind in ("", "shell_call")}
    assert len(made | {plain_name(name, namespace)}) == 3
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", each) for each in made)
    assert distinct_name(name, namespace, "") in made
