"""What every test gets: Hypothesis without wall-clock deadlines, and the peers' interpreters."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest

from tests import peers

hypothesis.settings.register_profile("default", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.register_profile("campaign", deadline=None, max_examples=5_000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "default"))


@pytest.fixture(scope="session")
def openai_python() -> Path:
    """The interpreter that has the official Python SDK."""
    return peers.peer_python("openai")


@pytest.fixture(scope="session")
def llama_python() -> Path:
    """The interpreter that has llama.cpp and the small model's weights."""
    return peers.peer_python("llama")


@pytest.fixture(scope="session")
def node() -> Path:
    """Node; the official JavaScript SDK is found from the peers' programs."""
    return peers.node_exe()
