"""A key for somebody else's server, out of a file: in an option's value every process on the machine could read it.

What is in the file is in no message.
"""

from __future__ import annotations

from pathlib import Path

from agentwire.cli.failures import UserError

__all__ = ["read_key"]


def read_key(path: str | Path | None, *, what: str = "--key-file") -> str | None:
    """The first line of a file that is neither empty nor a comment.

    Args:
        path: of the file; None for no key.
        what: where that was said; it is in errors.

    Raises:
        UserError: the file cannot be read, or has no such line.
    """
    if path is None:
        return None
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{what}: cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    key = next((line.strip() for line in lines if line.strip() and not line.startswith("#")), None)
    if key is None:
        raise UserError(f"{what}: there is no API key in {path}")
    return key
