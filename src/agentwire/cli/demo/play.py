"""The demonstration from its first part to its last, and everything that was measured on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import trio

from agentwire.cli.demo.compare import LinkModel, compare
from agentwire.cli.demo.cuts import pull_at_random
from agentwire.cli.demo.figures import as_json
from agentwire.cli.demo.plug import pull_the_plug
from agentwire.cli.demo.survey import survey
from agentwire.cli.demo.view import View
from agentwire.cli.demo.words import model_of_the_link, show_comparison
from agentwire.cli.demo.workspace import Workspace
from agentwire.cli.failures import UserError

__all__ = ["play"]

LINKS: Final = (LinkModel(rtt=0.0), LinkModel(rtt=0.04, bits=20e6))
QUICK_LINKS: Final = (LinkModel(rtt=0.0), LinkModel(rtt=0.01, bits=100e6))
ROUNDS: Final = 2
FEWEST: Final = 30
"""Files that a folder must hold, or a search is over before anybody can pull the plug."""
COMPARING: Final = 16.0
"""Seconds that all rounds together should take: so the whole takes about 40 seconds at most, on a busy machine, too."""


def play(root: Path, *, seed: int, quick: bool, quiet: bool) -> dict[str, Any]:
    """Show everything; returns what was measured.

    Args:
        root: folder that the agent surveys.
        seed: decides where the plug is pulled at random.
        quick: no pauses for the eye, a short link, one round.
        quiet: show nothing.

    Raises:
        UserError: the folder holds too few files.
    """
    workspace = Workspace(root)
    if workspace.size < FEWEST:
        raise UserError(f"--root: {root} holds too few files for a survey; {FEWEST} or more are needed")
    return trio.run(_play, workspace, View.of(quiet=quiet), seed, quick)


async def _play(workspace: Workspace, view: View, seed: int, quick: bool) -> dict[str, Any]:
    began = trio.current_time()
    report = await survey(workspace, view, quick=quick)
    acts = await pull_the_plug(workspace, view)
    cuts = await pull_at_random(workspace, view, seed=seed, quick=quick)
    view.heading("What the wire saves", "the same survey over five transports, measured now")
    view.line(model_of_the_link())
    links, rounds = (QUICK_LINKS, 1) if quick else (LINKS, ROUNDS)
    comparison = await compare(workspace, view, links, rounds=rounds, seconds=COMPARING)
    show_comparison(comparison, view)
    seconds = trio.current_time() - began
    view.line(f"\nAll of it took {seconds:.0f} s. The same as JSON: agentwire demo --json", style="dim")
    return as_json(report, acts, cuts, comparison, seconds)
