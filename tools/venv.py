"""Makes a virtual environment that holds exactly the pinned packages, or leaves one alone that already does.

    python3 tools/venv.py [--editable] [--no-deps] DIRECTORY REQUIREMENTS

It needs nothing but Python. What was installed is remembered by content (a stamp inside the environment), so a
second run costs nothing, a changed pin installs again, and an interrupted run is repeated.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST_PYTHON = (3, 11)


class SetUpError(Exception):
    """Something that a person has to put right; its text is all that they see."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit code is 1 if a person has to do something first."""
    parser = argparse.ArgumentParser(description="Make a virtual environment from pinned requirements.")
    parser.add_argument("--editable", action="store_true", help="also install this project, in place")
    parser.add_argument("--no-deps", action="store_true", help="install the named packages alone")
    parser.add_argument("directory", type=Path)
    parser.add_argument("requirements", type=Path)
    options = parser.parse_args(arguments)
    try:
        install(options.directory, options.requirements, editable=options.editable, no_deps=options.no_deps)
    except SetUpError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def install(directory: Path, requirements: Path, *, editable: bool = False, no_deps: bool = False) -> None:
    """Bring ``directory`` to what ``requirements`` says, if it is not there yet.

    Raises:
        SetUpError: Python is too old, cannot make environments, or pip failed.
    """
    if sys.version_info < OLDEST_PYTHON:
        raise SetUpError(f"Python 3.11 or newer is needed, {sys.executable} is {sys.version.split()[0]}")
    stamp = directory / f".installed-{requirements.parent.name}-{requirements.stem}"
    wanted = _fingerprint(directory, requirements, editable=editable)
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted and _python(directory).exists():
        return
    started = time.monotonic()
    print(f"{directory}: installing {requirements} ...", flush=True)
    _make(directory)
    _pip(directory, "--require-hashes", *(["--no-deps"] if no_deps else []), "-r", str(requirements))
    if editable:
        _pip(directory, "--no-deps", "--no-build-isolation", "--editable", str(ROOT))
    stamp.write_text(wanted, encoding="utf-8")
    print(f"{directory}: ready after {time.monotonic() - started:.0f} s", flush=True)


def _fingerprint(directory: Path, requirements: Path, *, editable: bool) -> str:
    """All that decides what ends up in the environment, as one digest."""
    parts = [sys.version, str(directory.resolve()), requirements.read_text(encoding="utf-8")]
    if editable:
        parts.append((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _make(directory: Path) -> None:
    """Create the environment, or again if its interpreter is gone, of another version or without pip."""
    python = _python(directory)
    probe = "import pip, sys; print(sys.version, sys.prefix)"
    if python.exists():
        found = subprocess.run([python, "-c", probe], capture_output=True, text=True, check=False)
        if found.stdout.strip() == f"{sys.version} {directory.resolve()}":
            return
    made = subprocess.run(
        [sys.executable, "-m", "venv", "--clear", directory], capture_output=True, text=True, check=False
    )
    if made.returncode:
        said = (made.stdout + made.stderr).strip()
        raise SetUpError(f"no virtual environment could be made (on Debian: apt-get install python3-venv)\n{said}")


def _pip(directory: Path, *arguments: str) -> None:
    command = [str(_python(directory)), "-m", "pip", "install", "-qq", "--no-input", *arguments]
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_REQUIRE_VIRTUALENV": "1"}
    if subprocess.run(command, env=environment, check=False).returncode:
        raise SetUpError(f"pip failed: {' '.join(command)}")


def _python(directory: Path) -> Path:
    # made absolute, but not resolved: following the link would leave the environment
    return directory.absolute() / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


if __name__ == "__main__":
    sys.exit(main())
