"""The pins are complete, follow pyproject.toml, and name no place to download from."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PINS = sorted([*ROOT.glob("requirements/*.txt"), *ROOT.glob("tests/peers/*/*.txt")])


def _pinned(path: Path) -> set[tuple[str, str]]:
    """Names and versions; a name can have several, for several versions of Python."""
    return set(re.findall(r"^([a-z0-9.-]+)(?:\[[a-z,]+\])?==(\S+)", path.read_text(encoding="utf-8"), re.MULTILINE))


def _named(requirements: list[Any]) -> set[str]:
    return {re.split(r"[^A-Za-z0-9._-]", entry)[0].lower() for entry in requirements if isinstance(entry, str)}


@pytest.mark.parametrize("path", PINS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_pin_has_hashes_and_no_address(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    blocks = re.split(r"^(?=\S)", re.sub(r"^ *#.*\n", "", text, flags=re.MULTILINE), flags=re.MULTILINE)[1:]
    assert len(blocks) == len(_pinned(path)) > 0
    assert all("--hash=sha256:" in block for block in blocks)
    assert "://" not in text


def test_what_the_library_needs_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    runtime = _pinned(ROOT / "requirements" / "runtime.txt")
    assert _named(project["project"]["dependencies"]) <= dict(runtime).keys()
    assert _named(project["dependency-groups"]["build"]) <= dict(runtime).keys()


def test_what_a_developer_needs_is_pinned_and_agrees_with_the_library() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    developer = _pinned(ROOT / "requirements" / "dev.txt")
    for group in project["dependency-groups"].values():
        assert _named(group) <= dict(developer).keys()
    assert _pinned(ROOT / "requirements" / "runtime.txt") <= developer


def test_the_lock_of_the_javascript_peer_is_complete_and_has_no_address() -> None:
    text = (ROOT / "tests" / "peers" / "node" / "package-lock.json").read_text(encoding="utf-8")
    packages = json.loads(text)["packages"]
    assert {name for name in packages if name} == {"node_modules/openai", "node_modules/ws"}
    assert all(package["integrity"].startswith("sha512-") for name, package in packages.items() if name)
    assert "://" not in text
