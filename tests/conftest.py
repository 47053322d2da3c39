"""What every test gets: Hypothesis without wall-clock deadlines, the peers' interpreters, and a watch on every server.

Whatever a server of this process says to anybody, over a WebSocket or as an event stream, is judged by the grammar;
what is not legal fails the test in which it was said, with the name of the rule.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import hypothesis
import pytest

from tests import peers
from tests.watching import WATCH, watching_everything

hypothesis.settings.register_profile("default", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.register_profile("campaign", deadline=None, max_examples=5_000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "default"))


TIMEOUT = 120
"""Seconds for a test. It stands here and not in pyproject.toml, so that examples run without pytest-timeout."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give every test its time, unless it says how much it needs."""
    for item in items:
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TIMEOUT))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Run one test, watched."""
    WATCH.clear()
    with watching_everything():
        result = yield
    WATCH.check()
    return result


@pytest.fixture(scope="session")
def openai_python() -> Path:
    """The interpreter that has the official Python SDK."""
    return peers.peer_python("openai")


@pytest.fixture(scope="session")
def llama_python() -> Path:
    """The interpreter that has llama.cpp and the small model's weights."""
    return peers.peer_python("llama")


@pytest.fixture(scope="session")
def frameworks_python() -> Path:
    """The interpreter that has LangChain, pydantic-ai and the OpenAI Agents SDK."""
    return peers.peer_python("frameworks")


@pytest.fixture(scope="session")
def node() -> Path:
    """Node; the official JavaScript SDK is found from the peers' programs."""
    return peers.node_exe()
