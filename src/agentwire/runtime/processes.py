"""Child processes and the groups that they lead: what a child sees of our environment, and how a group is ended.

A child that we start leads a process group of its own, so that whatever it starts can be ended with it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

__all__ = ["INHERITED", "environment", "group_lives", "signal_group"]

INHERITED: Final = ("HOME", "LANG", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "USER")
"""What a child sees of our environment: what programs need to be found and to run at all."""


def environment(given: Mapping[str, str]) -> dict[str, str]:
    """A child's environment: what is given, and of ours only `INHERITED`, so that no key leaks by accident."""
    inherited = {key: value for key in INHERITED if (value := os.environ.get(key)) is not None}
    return inherited | dict(given)


def signal_group(leader: int, number: signal.Signals) -> None:
    """Send a signal to all who are left of a group."""
    with suppress(ProcessLookupError, PermissionError):  # the group is empty
        os.killpg(leader, number)


def group_lives(leader: int) -> bool:
    """Whether anybody is left of a group."""
    try:
        os.killpg(leader, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True
