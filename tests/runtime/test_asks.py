from __future__ import annotations

import attrs

from agentwire.protocol.limits import Limits
from agentwire.protocol.request import CreateRequest
from agentwire.runtime.asks import ask_of
from agentwire.runtime.contracts import Ask
from agentwire.runtime.service import Service
from agentwire.runtime.tools import Toolbox
from agentwire.stores.memory import MemoryStore


async def nothing(ask: object, out: object) -> None:
    """An engine."""


def test_an_ask_has_all_that_its_class_has() -> None:
    limits = Limits()
    service = Service(engine=nothing, toolbox=Toolbox.of(()), store=MemoryStore(limits), limits=limits)
    ask = ask_of(service, CreateRequest(model="m"), None, principal="p", response_id="r")
    assert vars(ask).keys() == {field.name for field in attrs.fields(Ask)}
    assert attrs.evolve(ask) == ask
