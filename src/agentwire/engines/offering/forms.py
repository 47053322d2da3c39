"""The types of tools that a client runs and whose calls are items of a type of their own, as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from agentwire.engines.offering.form import Form
from agentwire.engines.offering.patches import ApplyPatch
from agentwire.engines.offering.screens import Computer
from agentwire.engines.offering.searches import ToolSearch
from agentwire.engines.offering.shells import LocalShell, Shell

__all__ = ["FORMS", "FORM_OF_CALL", "FORM_OF_OUTPUT"]

_ALL: Final = (LocalShell(), Shell(), ApplyPatch(), Computer(), ToolSearch())

FORMS: Final[Mapping[str, Form]] = {kind: form for form in _ALL for kind in form.tool_types}
"""By the type of the tool."""

FORM_OF_CALL: Final[Mapping[str, Form]] = {form.call_type: form for form in _ALL}
"""By the type of the item that calls it."""

FORM_OF_OUTPUT: Final[Mapping[str, Form]] = {form.output_type: form for form in _ALL}
"""By the type of the item that answers it."""
