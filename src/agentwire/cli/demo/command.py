"""``agentwire demo``: an agent at work, its plug pulled, and what the wire saves; everything on this machine.

The first line is out before anything large is imported: a person sees at once that something happens.
"""

from __future__ import annotations

import secrets
from pathlib import Path

from agentwire.cli.failures import OK, UserError

__all__ = ["demo", "find_root"]


def demo(*, json: bool = False, root: str | None = None, seed: int | None = None, quick: bool = False) -> int:
    """Show the demonstration; see ``agentwire demo --help``.

    Args:
        json: print everything that was measured as one JSON object, and nothing else.
        root: folder that the agent surveys; the repository around the current folder if left out.
        seed: pulls the plug where another demonstration did, which has shown its seed.
        quick: no pauses for the eye, a short link, one round: a few seconds in all.
    """
    place = find_root(Path.cwd()) if root is None else Path(root).resolve()
    if not place.is_dir():
        raise UserError(f"--root: there is no folder {root}")
    if not json:
        print(
            "agentwire demo: all on this machine. The engine follows fixed rules; it is not a language model.",
            flush=True,
        )
    from agentwire.cli.demo.play import play

    found = play(place, seed=seed if seed is not None else secrets.randbelow(1_000_000), quick=quick, quiet=json)
    if json:
        import msgspec

        print(msgspec.json.format(msgspec.json.encode(found)).decode())
    return OK


def find_root(start: Path) -> Path:
    """The repository that a folder is in; the installed package's own files if it is in none."""
    for folder in (start, *start.parents):
        if (folder / ".git").exists() or (folder / "pyproject.toml").is_file():
            return folder
    return Path(__file__).resolve().parents[2]
