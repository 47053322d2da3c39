"""Runs README.md's Python programs as they stand there, in a fresh environment that holds the built wheel.

    python3 tools/readme.py

It needs nothing but Python. The wheel is built from this folder and installed beside the pinned dependencies and the
official OpenAI SDK; the server is the wheel's own ``agentwire serve``, with the engine that needs no key. Programs that
talk to it must do so within `LONGEST` lines. The one that needs the test kit is left to the tests.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
PINNED = (ROOT / "requirements" / "runtime.txt", ROOT / "tests" / "peers" / "openai" / "requirements.txt")
ADDRESS = "http://127.0.0.1:8000/v1"
LONGEST = 15
PATIENCE = 300.0


class Failed(Exception):
    """Something does not work as it stands there; its text is all that a person sees."""


def main() -> int:
    """Run everything; the exit code is 1 if a program fails."""
    with tempfile.TemporaryDirectory(prefix="agentwire-readme-") as folder:
        home = Path(folder)
        try:
            _install(home)
            with _server(home) as address:
                for number, code in enumerate(_programs(), 1):
                    _check(home, number, code, address)
        except Failed as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    return 0


def _programs() -> list[str]:
    """The programs that need no more than what is installed here."""
    text = README.read_text(encoding="utf-8")
    found = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [code for code in found if "def test_" not in code]


def _install(home: Path) -> None:
    """A fresh environment with the pinned dependencies, and the wheel of this folder."""
    began = time.monotonic()
    for requirements in PINNED:
        _run([sys.executable, ROOT / "tools" / "venv.py", home / "venv", requirements])
    pip: list[Path | str] = [home / "venv" / "bin" / "python", "-m", "pip", "-q", "--disable-pip-version-check"]
    _run([*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", home / "dist", ROOT])
    (wheel,) = (home / "dist").glob("*.whl")
    _run([*pip, "install", "--no-deps", wheel])
    _run([*pip, "check"])
    print(f"{wheel.name} is installed after {time.monotonic() - began:.0f} s")


@contextmanager
def _server(home: Path) -> Iterator[str]:
    """``agentwire serve`` on a free port; yields its address."""
    command: list[Path | str] = [home / "venv" / "bin" / "agentwire", "serve", "--port", "0", "--log-level", "error"]
    with subprocess.Popen(
        command, cwd=home, env=_environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        assert server.stdout is not None
        try:
            words = shlex.split(server.stdout.readline())
            if words[:1] != ["listening"]:
                raise Failed("the server does not start")
            yield dict(word.split("=", 1) for word in words[1:])["http"]
        finally:
            server.terminate()


def _check(home: Path, number: int, code: str, address: str) -> None:
    """Run one program, and see that it is short, ends well and says something."""
    lines = len(code.splitlines())
    if ADDRESS in code and lines > LONGEST:
        raise Failed(f"program {number} has {lines} lines, and {LONGEST} must do:\n{code}")
    path = home / f"program_{number}.py"
    path.write_text(code.replace(ADDRESS, address), encoding="utf-8")
    began = time.monotonic()
    said = _run([home / "venv" / "bin" / "python", path.name], cwd=home)
    if not said.strip():
        raise Failed(f"program {number} says nothing:\n{code}")
    print(f"program {number}, {lines} lines, {time.monotonic() - began:.1f} s: {said.strip().splitlines()[-1]}")


def _run(command: list[Path | str], *, cwd: Path = ROOT) -> str:
    """What a command prints; it must end well, and soon enough."""
    ran = subprocess.run(
        command, cwd=cwd, env=_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=PATIENCE, check=False,
    )  # fmt: skip
    if ran.returncode:
        raise Failed(f"{shlex.join(map(str, command))} ended with {ran.returncode}:\n{ran.stdout}")
    return ran.stdout


def _environment() -> dict[str, str]:
    """This process's, without anything that could bring in the clone's own code or a key."""
    keep_out = re.compile(r"PYTHON(PATH|HOME)|VIRTUAL_ENV|AGENTWIRE_\w+|OPENAI_\w+")
    return {name: value for name, value in os.environ.items() if not keep_out.fullmatch(name)}


if __name__ == "__main__":
    sys.exit(main())
