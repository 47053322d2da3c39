"""A report as JSON and back, with a name and a version of its own so that a file says what it is.

Members that a later version adds are ignored; a later version of the form is refused.
"""

from __future__ import annotations

from typing import Any, Final

import attrs
import msgspec

from agentwire.testing.report.model import Report

__all__ = ["FORM", "VERSION", "from_json", "to_json"]

FORM: Final = "agentwire-report"
VERSION: Final = 1


def to_json(report: Report) -> str:
    """The report as JSON, indented, with a line end."""
    said: dict[str, Any] = {"form": FORM, "form_version": VERSION, **attrs.asdict(report), "tally": None}
    said["tally"] = attrs.asdict(report.tally)
    return msgspec.json.format(msgspec.json.encode(said), indent=1).decode() + "\n"


def from_json(text: str | bytes) -> Report:
    """The report that was written.

    Raises:
        ValueError: it is no report, or one of a later version.
    """
    try:
        said = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"this is no report: it is not JSON: {error}") from None
    if not isinstance(said, dict) or said.get("form") != FORM:
        raise ValueError(f"this is no report: it lacks {FORM!r} as its form")
    if said.get("form_version") != VERSION:
        raise ValueError(f"this report has version {said.get('form_version')!r} of the form; this one reads {VERSION}")
    try:
        return msgspec.convert(said, Report)
    except msgspec.ValidationError as error:
        raise ValueError(f"this report is damaged: {error}") from None
