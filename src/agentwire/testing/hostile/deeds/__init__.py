"""What a hostile server does to its clients, each thing with a name, a moment, and the reports from the field.

The rule: a deed is data and small functions on a list of steps; none of them knows a client.
"""

from __future__ import annotations

from agentwire.testing.hostile.deeds.model import Cue as Cue
from agentwire.testing.hostile.deeds.model import Deed as Deed
from agentwire.testing.hostile.deeds.table import DEEDS as DEEDS
from agentwire.testing.hostile.deeds.table import cue as cue

__all__ = ["DEEDS", "Cue", "Deed", "cue"]
