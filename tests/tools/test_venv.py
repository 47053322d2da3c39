"""The set-up tool: an environment is made once, again when its pins change, and a failure says what to do."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

TOOL = Path(__file__).resolve().parents[2] / "tools" / "venv.py"


@pytest.fixture(scope="module")
def venv() -> ModuleType:
    spec = importlib.util.spec_from_file_location("venv_tool", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _run(*arguments: Path | str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, TOOL, *arguments], capture_output=True, text=True, check=False)


def test_an_environment_is_made_once_and_again_when_its_pins_change(tmp_path: Path) -> None:
    directory, requirements = tmp_path / "environment", tmp_path / "requirements.txt"
    requirements.write_text("# nothing yet\n", encoding="utf-8")
    first = _run(directory, requirements)
    assert first.returncode == 0, first.stderr
    assert "ready after" in first.stdout
    second = _run(directory, requirements)
    assert (second.returncode, second.stdout) == (0, "")
    requirements.write_text("without-a-hash==1\n", encoding="utf-8")
    third = _run(directory, requirements)
    assert third.returncode == 1
    assert "error: pip failed" in third.stderr
    assert _run(directory, requirements).returncode == 1, "a failed set-up must not count as done"


def test_an_old_python_is_refused_before_anything_is_made(
    venv: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(venv, "OLDEST_PYTHON", (99, 0))
    assert venv.main([str(tmp_path / "environment"), str(tmp_path / "missing.txt")]) == 1
    assert "newer is needed" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_without_the_venv_module_the_message_says_what_to_install(
    venv: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "requirements.txt").touch()
    monkeypatch.setattr(venv.sys, "executable", "/bin/false")
    assert venv.main([str(tmp_path / "environment"), str(tmp_path / "requirements.txt")]) == 1
    assert "python3-venv" in capsys.readouterr().err
