from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentwire.protocol.errors import RequestError
from agentwire.server.auth import ANYBODY, KEYS_VARIABLE, Keys


def test_without_keys_everybody_is_one_principal() -> None:
    keys = Keys()
    assert not keys
    for header in (None, "", "Bearer anything", "Basic eDp5"):
        assert keys.principal(header) == ANYBODY


def test_each_key_is_a_principal_of_its_own() -> None:
    keys = Keys.of(["one", "two"])
    one, two = keys.principal("Bearer one"), keys.principal("Bearer two")
    assert len({one, two, ANYBODY}) == 3
    assert keys.principal("bearer   one ") == one
    assert Keys.of(["two", "one"]).principal("Bearer one") == one
    assert "one" not in repr(keys)
    assert "one" not in one


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "missing_api_key"),
        ("", "missing_api_key"),
        ("Bearer", "missing_api_key"),
        ("Bearer ", "missing_api_key"),
        ("one", "missing_api_key"),
        ("Basic one", "missing_api_key"),
        ("Bearer onE", "invalid_api_key"),
        ("Bearer one two", "invalid_api_key"),
        ("Bearer \xff\xfe", "invalid_api_key"),
    ],
)
def test_who_has_no_key_is_refused(header: str | None, code: str) -> None:
    with pytest.raises(RequestError) as refused:
        Keys.of(["one"]).principal(header)
    assert (refused.value.status, refused.value.code) == (401, code)
    assert refused.value.type == "authentication_error"
    assert refused.value.headers == {"www-authenticate": "Bearer"}


@pytest.mark.parametrize("key", ["", "with space", "tab\t", "line\n", "k\xe9y"])
def test_what_no_header_can_carry_is_no_key(key: str) -> None:
    with pytest.raises(ValueError, match="visible ASCII"):
        Keys.of([key])


def test_one_key_is_not_its_letters() -> None:
    keys: Any = "secret"
    with pytest.raises(TypeError, match="several keys"):
        Keys.of(keys)


def test_keys_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text("# ours\none\n\n  two  \n#three\n", encoding="utf-8-sig")
    keys = Keys.read(path)
    assert keys == Keys.of(["one", "two"])
    path.write_text("# none\n\n")
    with pytest.raises(ValueError, match="no API key"):
        Keys.read(path)
    for none in (b"sk one\n", b"\xff\xfe"):
        path.write_bytes(none)
        with pytest.raises(ValueError, match=f"^{path}: "):
            Keys.read(path)
    with pytest.raises(FileNotFoundError):
        Keys.read(tmp_path / "nowhere")


def test_keys_from_the_environment() -> None:
    assert Keys.from_environment({}) == Keys()
    assert Keys.from_environment({KEYS_VARIABLE: "one, two\nthree"}) == Keys.of(["one", "two", "three"])
    with pytest.raises(ValueError, match="holds no key"):
        Keys.from_environment({KEYS_VARIABLE: " , "})
    with pytest.raises(ValueError, match=r"^AGENTWIRE_KEYS: "):
        Keys.from_environment({KEYS_VARIABLE: "k\xe9y"})
