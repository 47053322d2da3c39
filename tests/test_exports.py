"""The public names: all there, all visible to type checkers, and none of them loaded before it is used."""

from __future__ import annotations

import ast
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import agentwire
from agentwire import engines


def _loaded_by(statement: str) -> set[str]:
    """The modules that a statement brings in, beyond those that the interpreter (and what measures it) had already."""
    code = f"import json, sys; had = set(sys.modules); {statement}; print(json.dumps(sorted(set(sys.modules) - had)))"
    unmeasured = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=unmeasured)
    return set(json.loads(ran.stdout))


@pytest.mark.parametrize("name", sorted(agentwire.EXPORTS))
def test_a_public_name_is_the_object_of_its_module(name: str) -> None:
    module = importlib.import_module(agentwire.EXPORTS[name])
    assert getattr(agentwire, name) is getattr(module, name)
    assert name in module.__all__


@pytest.mark.parametrize("name", agentwire.PACKAGES)
def test_a_package_can_be_reached_as_an_attribute(name: str) -> None:
    code = f"import agentwire; print(agentwire.{name}.__name__)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == f"agentwire.{name}"


def _seen_by_type_checkers(package: ModuleType) -> dict[str, str]:
    """The names that are imported for type checkers alone, and from where."""
    seen: dict[str, str] = {}
    assert package.__file__ is not None
    tree = ast.parse(Path(package.__file__).read_text(encoding="utf-8"))
    guards = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    for statement in guards[0].body:
        assert isinstance(statement, ast.ImportFrom)
        for alias in statement.names:
            assert alias.asname == alias.name, "a re-export is written `name as name`"
            seen[alias.name] = statement.module or ""
    return seen


def test_type_checkers_see_the_same_names() -> None:
    assert _seen_by_type_checkers(agentwire) == agentwire.EXPORTS | dict.fromkeys(agentwire.PACKAGES, "agentwire")
    assert _seen_by_type_checkers(engines) == engines.LATER


@pytest.mark.parametrize("name", engines.LATER)
def test_an_engine_is_the_object_of_its_package(name: str) -> None:
    assert getattr(engines, name) is getattr(importlib.import_module(engines.LATER[name]), name)
    assert name in engines.__all__
    assert name in dir(engines)


def test_the_engines_in_front_of_servers_are_loaded_when_they_are_used() -> None:
    loaded = _loaded_by("import agentwire.engines")
    assert "agentwire.engines.builtin" in loaded
    assert not loaded & {*engines.LATER.values(), "agentwire.transport.http_client", "agentwire.link"}
    with pytest.raises(AttributeError, match="has no attribute 'open_engine'"):
        engines.open_engine  # type: ignore[attr-defined]  # noqa: B018


def test_the_list_of_public_names_is_complete_and_sorted() -> None:
    assert list(agentwire.__all__) == sorted([*agentwire.EXPORTS, *agentwire.PACKAGES])
    assert set(agentwire.__all__) <= set(dir(agentwire))


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'serves'"):
        agentwire.serves  # type: ignore[attr-defined]  # noqa: B018


def test_importing_the_package_loads_nothing_else() -> None:
    ours = {name for name in _loaded_by("import agentwire") if name.partition(".")[0] == "agentwire"}
    assert ours == {"agentwire"}


def test_the_protocol_brings_in_no_runtime() -> None:
    loaded = _loaded_by(
        "import importlib, pkgutil, agentwire.protocol as floor; "
        "[importlib.import_module(found.name) for found in pkgutil.walk_packages(floor.__path__, floor.__name__ + '.')]"
    )
    assert "agentwire.protocol.limits" in loaded
    assert not loaded & {"trio", "socket", "ssl", "asyncio", "h11", "wsproto", "trio_websocket", "cyclopts"}
