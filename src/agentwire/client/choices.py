"""What a caller may choose between: what is none of it is refused at once, and not taken for something else."""

from __future__ import annotations

from typing import Any, get_args

from agentwire.protocol.errors import LocalProtocolError
from agentwire.runtime.policies import Cancel, Resume

__all__ = ["check_choice", "check_policy"]


def check_choice(name: str, value: object, choices: Any) -> None:
    """Refuse a word that is not among the choices.

    Args:
        name: of the argument.
        value: what was given.
        choices: a ``Literal``.

    Raises:
        LocalProtocolError: it is none of them.
    """
    known = get_args(choices)
    if value not in known:
        raise LocalProtocolError(f"{name} must be one of {', '.join(known)}, not {value!r}")


def check_policy(value: object) -> None:
    """Refuse what says nothing of a lost connection.

    Raises:
        LocalProtocolError: it is no policy.
    """
    if not isinstance(value, Cancel | Resume):
        raise LocalProtocolError(f"on_disconnect must be Cancel() or Resume(within=SECONDS), not {value!r}")
