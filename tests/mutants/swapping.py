"""Puts a mutant into a process: into functions that are loaded already, or in place of a file that is not yet.

A function that is swapped keeps its identity, so that whoever has imported it has the mutant. What makes tables and
classes cannot be swapped; it has to be there from the beginning.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from functools import cached_property
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, FunctionType, ModuleType
from typing import Any

from tests.mutants.mutating import Mutant

__all__ = ["load_instead", "module_name", "swap"]


def module_name(file: str) -> str:
    """The module that a file is."""
    return f"agentwire.{file.removesuffix('.py').replace('/', '.')}"


def swap(mutant: Mutant) -> bool:
    """Change the function that the mutant is about, if it is in one that can be changed in place."""
    if not mutant.place:
        return False
    module = importlib.import_module(module_name(mutant.file))
    top = mutant.place.split(".")
    codes = {code.co_qualname: code for code in _codes(compile(mutant.source, str(mutant.path), "exec"))}
    for function in _functions(module):
        name = function.__qualname__
        if name.split(".") == top[: len(name.split("."))] and name in codes:
            if len(codes[name].co_freevars) != len(function.__code__.co_freevars):
                return False
            function.__code__ = codes[name]
            return True
    return False


def _codes(code: CodeType) -> Iterator[CodeType]:
    """The functions that a module's code makes, also within its classes."""
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield inner
            yield from _codes(inner)


def _functions(module: ModuleType) -> Iterator[FunctionType]:
    """The functions and methods of a module, out of what is wrapped round them."""
    values = list(vars(module).values())
    for value in list(values):
        if isinstance(value, type) and value.__module__ == module.__name__:
            values += vars(value).values()
    for value in values:
        inner = _unwrapped(value)
        if isinstance(inner, FunctionType) and inner.__module__ == module.__name__:
            yield inner


def _unwrapped(value: Any) -> Any:
    match value:
        case property():
            return value.fget
        case cached_property():
            return value.func
        case staticmethod() | classmethod():
            return value.__func__
    return getattr(value, "__wrapped__", value)


def load_instead(mutant: Mutant) -> None:
    """Let this process, which has not imported the mutant's module yet, import the mutant."""
    name = module_name(mutant.file)
    if name in sys.modules:
        raise RuntimeError(f"{name} is loaded already; a mutant outside of functions needs a process of its own")
    sys.meta_path.insert(0, _Finder(name, mutant))


class _Loader(SourceFileLoader):
    mutant: Mutant

    def get_code(self, fullname: str) -> CodeType:
        return compile(self.mutant.source, self.path, "exec", dont_inherit=True)


class _Finder(MetaPathFinder):
    """Finds one module, and gives another source for it."""

    def __init__(self, name: str, mutant: Mutant) -> None:
        self._name = name
        self._mutant = mutant

    def find_spec(self, fullname: str, path: Any, target: ModuleType | None = None) -> ModuleSpec | None:
        """See `importlib.abc.MetaPathFinder`."""
        if fullname != self._name:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None:
            loader = _Loader(fullname, str(self._mutant.path))
            loader.mutant = self._mutant
            spec.loader = loader
        return spec
