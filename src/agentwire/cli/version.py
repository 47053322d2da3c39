"""``agentwire version``: what is installed, in the form that a bug report needs."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from typing import Final

from agentwire._version import __version__

__all__ = ["version"]

PARTS: Final = ("trio", "trio-websocket", "wsproto", "h11", "msgspec", "attrs", "cattrs", "cyclopts")
"""The libraries whose versions matter when something goes wrong on the wire."""


def version() -> None:
    """Show the versions of agentwire, Python and the libraries of the wire."""
    print(f"agentwire {__version__}")
    print(f"{platform.python_implementation()} {platform.python_version()} on {platform.platform()}")
    print(", ".join(f"{name} {_version_of(name)}" for name in PARTS))


def _version_of(name: str) -> str:
    try:
        return installed(name)
    except PackageNotFoundError:
        return "(not installed)"
