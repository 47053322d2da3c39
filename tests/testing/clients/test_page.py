from __future__ import annotations

from pathlib import Path

from agentwire.testing.clients import VARIABLES, page
from agentwire.testing.clients.contract import ABILITIES
from agentwire.testing.hostile.page import render as deeds

DOCS = Path(__file__).parents[3] / "docs"


def test_the_page_is_the_one_that_is_made() -> None:
    assert (DOCS / "reference" / "client-scenarios.md").read_text(encoding="utf-8") == page.render()


def test_every_deed_is_in_the_documentation() -> None:
    assert (DOCS / "topics" / "hostile-server.md").read_text(encoding="utf-8").endswith(deeds())


def test_the_contract_is_in_the_documentation() -> None:
    said = (DOCS / "commands" / "conform-client.md").read_text(encoding="utf-8")
    assert all(name in said for name in VARIABLES if name != "AGENTWIRE_WS_URL")
    assert all(f"--able {ability}" in said for ability in ABILITIES)


def test_the_page_can_be_written(tmp_path: Path) -> None:
    page.main(str(tmp_path / "page.md"))
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == page.render()
