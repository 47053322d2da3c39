"""Objects named on the command line as ``module:name``: engines and tools of the user's own.

The current directory is looked in first, so that a file beside the person who types is found. What fails says whose
fault it is: the name's, or that of the code in the module.
"""

from __future__ import annotations

import importlib
import inspect
import sys
import traceback
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

from agentwire.cli.failures import UserError
from agentwire.protocol.errors import LocalProtocolError
from agentwire.runtime.contracts import Engine
from agentwire.runtime.tools import LocalTool, Toolbox

__all__ = ["load", "load_tools", "open_named_engine"]

_IMPORTERS = (__file__, importlib.__file__)


def load(path: str, *, what: str) -> Any:
    """The object that ``module:name`` names; ``name`` may have dots in it.

    Args:
        path: as it was typed.
        what: what it is for, such as ``--engine``; said in errors.

    Raises:
        UserError: there is no such module or name, or importing the module failed.
    """
    module_name, colon, name = path.partition(":")
    if not (colon and module_name and name):
        raise UserError(f"{what} must be module:name, such as my_module:my_function, not {path!r}")
    source = module_name.endswith(".py")
    if (source and Path(module_name).is_file()) or not all(part.isidentifier() for part in module_name.split(".")):
        such = f"{Path(module_name).stem}:{name}" if source else "my_module:my_function"
        raise UserError(f"{what} must be module:name, such as {such}, and {module_name!r} is the name of no module")
    found: Any = _module(module_name, what)
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise UserError(f"{what}: there is no {name!r} in module {module_name} ({_place(module_name)})") from None
    return found


def _module(name: str, what: str) -> Any:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            message = f"{what}: there is no module {name!r} in {here} or among the installed packages"
            raise UserError(message) from error
        raise _broken(name, what, error) from error
    except (Exception, SystemExit) as error:
        raise _broken(name, what, error) from error


def _broken(name: str, what: str, error: BaseException, *, doing: str = "importing module") -> UserError:
    """What was named is there, but its own code failed: where, for its author."""
    if isinstance(error, SyntaxError):
        where = f"{error.filename}, line {error.lineno}"
    else:
        frames = traceback.extract_tb(error.__traceback__)
        own = next(frame for frame in frames if frame.filename not in _IMPORTERS and frame.filename[0] != "<")
        where = f"{own.filename}, line {own.lineno}"
    return UserError(f"{what}: {doing} {name!r} failed in {where}: {type(error).__name__}: {error}")


def _place(name: str) -> str:
    return getattr(sys.modules[name], "__file__", None) or "built in"


def load_tools(paths: Iterable[str]) -> tuple[LocalTool[..., Any], ...]:
    """The tools that are named: each a function, or a list or tuple of functions.

    Raises:
        UserError: one cannot be loaded, or is not fit to be a tool, or two have the same name.
    """
    tools: list[LocalTool[..., Any]] = []
    for path in paths:
        found = load(path, what="--tools")
        for function in found if isinstance(found, list | tuple) else (found,):
            try:
                tools.append(LocalTool.of(function))
            except LocalProtocolError as error:
                raise UserError(f"--tools: {path}: {error}") from error
    try:
        return tuple(Toolbox.of(tools).tools.values())
    except LocalProtocolError as error:
        raise UserError(f"--tools: {error}") from error


@asynccontextmanager
async def open_named_engine(path: str, *, what: str = "--engine") -> AsyncGenerator[Engine]:
    """The engine that is named, for as long as the block runs.

    It is an async function ``(ask, out)``, or a function without arguments that gives one, or that gives an async
    context manager of one: so an engine can open what it needs, and close it.

    Args:
        path: as it was typed.
        what: where that was; said in errors.

    Raises:
        UserError: it cannot be loaded, or is none of these.
    """
    found = load(path, what=what)
    wrong = UserError(
        f"{what}: {path} is no engine: it must be an async function (ask, out), "
        "or a function without arguments that gives one or an async context manager of one"
    )
    if not callable(found):
        raise wrong
    if _required(found) == 0:
        found = _made_by(found, path, what)
    if isinstance(found, AbstractAsyncContextManager):
        async with found as engine:
            yield engine
    elif callable(found) and _required(found) == 2:
        yield found
    else:
        if inspect.iscoroutine(found):
            found.close()
        raise wrong


def _made_by(factory: Callable[[], Any], path: str, what: str) -> Any:
    try:
        return factory()
    except (Exception, SystemExit) as error:
        raise _broken(path, what, error, doing="calling") from error


def _required(function: Callable[..., Any]) -> int | None:
    """How many positional arguments it must be given; None if nobody can tell."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:
        return None
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(one.kind in positional and one.default is one.empty for one in parameters)
