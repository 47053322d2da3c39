"""The peers' environments hold what is pinned, and the real upstream is one."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import trio

from tests import peers

pytestmark = pytest.mark.peer


def test_the_python_sdk_is_the_pinned_one(openai_python: Path) -> None:
    pins = (peers.PROGRAMS / "openai" / "requirements.in").read_text(encoding="utf-8")
    code = "import openai; print(openai.__version__)"
    version = subprocess.run([openai_python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert f"openai[realtime]=={version}" in pins.split()


def test_the_javascript_sdk_is_the_pinned_one(node: Path) -> None:
    pinned = json.loads((peers.PROGRAMS / "node" / "package.json").read_text(encoding="utf-8"))["dependencies"]
    manifest = peers.HOME / "node" / "node_modules" / "openai" / "package.json"
    assert json.loads(manifest.read_text(encoding="utf-8"))["version"] == pinned["openai"]
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    assert int(version.removeprefix("v").split(".")[0]) >= 22


def test_a_missing_environment_is_a_failure_with_a_hint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "HOME", tmp_path)
    with pytest.raises(pytest.fail.Exception, match="make peers"):
        peers.peer_python("openai")
    with pytest.raises(pytest.fail.Exception, match="make peers"):
        peers.node_exe()


def test_an_environment_whose_set_up_was_interrupted_counts_as_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interpreter = tmp_path / "llama" / "bin" / "python"
    interpreter.parent.mkdir(parents=True)
    interpreter.touch()
    monkeypatch.setattr(peers, "HOME", tmp_path)
    with pytest.raises(pytest.fail.Exception, match="half made"):
        peers.peer_python("llama")
    (tmp_path / "llama" / ".ready").touch()
    assert peers.peer_python("llama") == interpreter


@pytest.mark.socket
async def test_llama_server_answers_the_python_sdk(openai_python: Path) -> None:
    with trio.fail_after(90):
        async with peers.llama_server() as upstream:
            report = await peers.converse(openai_python, "openai_http.py", upstream["url"], "--text-only")
    assert report["text"]
    assert report["turns"][0]["model"] == upstream["model"]
    assert report["usage"]["output_tokens"] > 0


@pytest.mark.socket
async def test_a_failed_conversation_fails_the_test_and_says_why(openai_python: Path, node: Path) -> None:
    nobody = "http://127.0.0.1:1/v1"
    with trio.fail_after(90):
        with pytest.raises(AssertionError, match="refused"):
            await peers.converse(openai_python, "openai_ws.py", nobody)
        with pytest.raises(AssertionError, match="ECONNREFUSED"):
            await peers.converse(node, "node_ws.mjs", nobody)
