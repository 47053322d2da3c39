from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from agentwire.engines.chat.names import LONGEST_NAME, chat_name

NAMES = st.text("abc_-Z9", min_size=1, max_size=128)


def test_a_name_that_fits_is_kept() -> None:
    assert chat_name("get_weather") == "get_weather"
    assert chat_name("find", "crm") == "crm__find"
    assert chat_name("x" * 64) == "x" * 64


def test_names_that_do_not_fit_differ_where_the_originals_differ() -> None:
    long = chat_name("x" * 65)
    assert len(long) == LONGEST_NAME
    assert long.startswith("xxx")
    assert long != chat_name("x" * 66)
    assert chat_name("a.b") != chat_name("a b")
    assert chat_name("half \ud800") != chat_name("half \ud801")


@given(NAMES | st.text(min_size=1), st.none() | NAMES)
def test_every_name_is_legal_and_always_the_same(name: str, namespace: str | None) -> None:
    made = chat_name(name, namespace)
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", made)
    assert chat_name(name, namespace) == made
