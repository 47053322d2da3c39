"""The client's side of a wire: one connection, its lanes, and what becomes of each request on it."""

from __future__ import annotations

from agentwire.link.address import Address as Address
from agentwire.link.dialling import Connector as Connector
from agentwire.link.exchange import Exchange as Exchange
from agentwire.link.lanes import Lane as Lane
from agentwire.link.lanes import Lanes as Lanes
from agentwire.link.lease import Lease as Lease
from agentwire.link.lease import Reserved as Reserved
from agentwire.link.lease import lease_lane as lease_lane
from agentwire.link.line import Line as Line
from agentwire.link.line import LineStatistics as LineStatistics
from agentwire.link.line import open_line as open_line
from agentwire.link.link import Link as Link
from agentwire.link.opening import open_link as open_link
from agentwire.link.outcome import Fate as Fate
from agentwire.link.outcome import RequestLost as RequestLost
from agentwire.link.outcome import ResponseError as ResponseError
from agentwire.link.outcome import TurnOverflow as TurnOverflow
from agentwire.link.progress import Progress as Progress
from agentwire.link.steering import Steer as Steer
from agentwire.link.steering import SteerFate as SteerFate
from agentwire.link.steering import SteerLost as SteerLost
from agentwire.link.steering import SteerRefused as SteerRefused
from agentwire.link.way import LinkStatistics as LinkStatistics
from agentwire.link.way import Way as Way

__all__ = [
    "Address",
    "Connector",
    "Exchange",
    "Fate",
    "Lane",
    "Lanes",
    "Lease",
    "Line",
    "LineStatistics",
    "Link",
    "LinkStatistics",
    "Progress",
    "RequestLost",
    "Reserved",
    "ResponseError",
    "Steer",
    "SteerFate",
    "SteerLost",
    "SteerRefused",
    "TurnOverflow",
    "Way",
    "lease_lane",
    "open_line",
    "open_link",
]
