"""Fixtures for pytest: installed with the extra ``testing``, they are there, with no line in a ``conftest.py``.

They are async, and pytest-trio runs them; where there is none, each of them says so when it is asked for. The test kit
itself is imported when one of them is used, because pytest loads this module whatever is tested.
"""

from __future__ import annotations

import importlib.util
from collections.abc import AsyncGenerator, Generator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from agentwire.client import Client
    from agentwire.runtime.contracts import Engine
    from agentwire.server import Server
    from agentwire.testing.network import Network
    from agentwire.testing.rig import Rig
    from agentwire.testing.watch import Watch

__all__ = [
    "agentwire_engine",
    "agentwire_options",
    "leak_check",
    "network",
    "rig",
    "server",
    "wire",
    "wire_watch",
]


@pytest.fixture
def agentwire_engine() -> Engine | None:
    """What the server of a test asks: the embedded engine of rules. Override it in a module or a ``conftest.py``."""
    return None


@pytest.fixture
def agentwire_options() -> Mapping[str, Any]:
    """Options of `open_rig` for the server and the clients of a test: none. Override it likewise."""
    return {}


if importlib.util.find_spec("pytest_trio") is not None:

    @pytest.fixture
    def network() -> Network:
        """A network in memory, without latency; arm faults with ``network.arm``."""
        from agentwire.testing.network import network as make

        return make()

    @pytest.fixture
    async def rig(
        network: Network, agentwire_engine: Engine | None, agentwire_options: Mapping[str, Any]
    ) -> AsyncGenerator[Rig]:
        """A server on the network, and what is needed round it.

        Fails the test if something did not hold that must hold of every run. On a virtual clock if the test asks for
        pytest-trio's ``autojump_clock``, too.
        """
        from agentwire.testing.rig import open_rig

        async with open_rig(agentwire_engine, net=network, **agentwire_options) as opened:
            yield opened

    @pytest.fixture
    async def server(rig: Rig) -> Server:
        """The server."""
        return rig.server

    @pytest.fixture
    async def wire(rig: Rig) -> AsyncGenerator[Client]:
        """A client that is connected to the server."""
        async with rig.connect() as client:
            yield client

    @pytest.fixture
    async def leak_check() -> AsyncGenerator[None]:
        """Fail the test if it leaves tasks, file descriptors or streams in memory behind.

        Ask for it before fixtures that open such things, so that they are closed first.
        """
        from agentwire.testing.leaks import no_leaks

        async with no_leaks():
            yield

else:

    def _needs_trio(name: str) -> Any:
        def fixture() -> None:
            raise pytest.UsageError(f"the fixture {name!r} needs pytest-trio: pip install 'agentwire-trio[testing]'")

        return pytest.fixture(name=name)(fixture)

    network, rig, server, wire, leak_check = map(_needs_trio, ("network", "rig", "server", "wire", "leak_check"))


@pytest.fixture
def wire_watch() -> Generator[Watch]:
    """Fail the test if a server in it says something that is not legal, on a WebSocket or in an event stream.

    The failure names the rule, the connection and the events; see `agentwire.testing.watch`.
    """
    from agentwire.testing.watch import watching

    with watching() as watch:
        yield watch
    watch.check()
