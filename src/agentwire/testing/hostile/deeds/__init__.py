"""What a hostile server does to its clients, each thing with a name, a moment, and the reports from the field.

The rule: a deed is data and small functions on a list of steps; none of them knows a client.
"""

from __future__ import annotations

from agentwire.testing.hostile.deeds import doors as doors
from agentwire.testing.hostile.deeds import ends as ends
from agentwire.testing.hostile.deeds import errors as errors
from agentwire.testing.hostile.deeds import frames as frames
from agentwire.testing.hostile.deeds import order as order
from agentwire.testing.hostile.deeds.model import DEEDS as DEEDS
from agentwire.testing.hostile.deeds.model import Cue as Cue
from agentwire.testing.hostile.deeds.model import Deed as Deed
from agentwire.testing.hostile.deeds.model import cue as cue

__all__ = ["DEEDS", "Cue", "Deed", "cue"]
