"""What import-linter cannot say: who imports a foreign library, and how every module begins."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import agentwire

PACKAGE = Path(agentwire.__file__).parent
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.read_text(encoding="utf-8").strip())


def _name(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").as_posix()


def _imported(path: Path) -> set[str]:
    """The top-level packages that a module imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
    return found


SEAMS = {
    "anyio": ["transport/mcp"],
    "h11": ["transport/heads", "transport/http11", "transport/http_requests"],  # the client's side, and the server's
    "mcp": ["transport/mcp"],
    "mcp_types": ["transport/mcp"],
    "trio_websocket": ["transport/websocket"],
    "wsproto": [],
    "httpx": ["client/dropin/with_httpx"],
    "httpx2": ["client/dropin/clients", "client/dropin/with_httpx2"],  # for type checkers, and itself
}


@pytest.mark.parametrize("library", SEAMS)
def test_a_library_of_the_network_is_imported_by_its_seam_alone(library: str) -> None:
    assert [_name(path) for path in MODULES if library in _imported(path)] == SEAMS[library]


PLUGINS = {"pytest_plugin"}
"""What pytest itself loads, and so is no part of the kit, which takes long to load."""


@pytest.mark.parametrize("library", ["hypothesis", "pytest", "pytest_trio"])
def test_a_library_of_the_extra_is_imported_by_the_test_kit_alone(library: str) -> None:
    importers = {_name(path) for path in MODULES if library in _imported(path)} - PLUGINS
    assert all(importer.startswith("testing/") for importer in importers), importers


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_a_module_begins_with_its_rule_and_lists_its_names(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), "a module says its rule at the top"
    assigned = {target.id for node in tree.body for target in _targets(node) if isinstance(target, ast.Name)}
    assert "__all__" in assigned or path.name in {"__init__.py", "__main__.py"}


def _targets(node: ast.stmt) -> list[ast.expr]:
    if isinstance(node, ast.Assign):
        return node.targets
    return [node.target] if isinstance(node, ast.AnnAssign | ast.AugAssign) else []
