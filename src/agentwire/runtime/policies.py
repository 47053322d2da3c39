"""What happens to a session's work when its connection is lost: it ends at once, or it waits to be resumed.

`Cancel` is a server's default: no connection, no work. `Resume` lets turns and tools go on for a while, held back only
by their own windows; it is a client's default.
"""

from __future__ import annotations

import attrs

__all__ = ["Cancel", "Policy", "Resume"]


@attrs.frozen
class Cancel:
    """The work ends with its connection: everything in it is cancelled, with the reason why."""


def _positive(_: object, __: object, value: float) -> None:
    if not value > 0:
        raise ValueError(f"Resume(within=...) must be greater than 0 seconds, not {value!r}")


@attrs.frozen
class Resume:
    """The work goes on without its connection, and is cancelled if nobody resumes it in time.

    Attributes:
        within: seconds from the loss of the connection.

    Raises:
        ValueError: ``within`` is not positive.
    """

    within: float = attrs.field(validator=_positive)


Policy = Cancel | Resume
