"""The changes that mutants are made of, by mutmut's operators and two more, where something depends on them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Any, NamedTuple

import libcst as cst
from libcst.metadata import MetadataWrapper, ParentNodeProvider, PositionProvider
from mutmut.mutation.mutators import mutation_operators

__all__ = ["Change", "changes"]

NEVER = ("len", "isinstance", "cast", "TypeVar")
"""Calls that are left alone: by mutmut itself, and two that only type checkers read."""
LOGS = ("log", "logging")
NAMES = ("__all__", "__slots__", "log", "T")


class Change(NamedTuple):
    """One change, and the whole module with it."""

    line: int
    last: int
    place: str
    operator: str
    before: str
    after: str
    code: str


def changes(code: str) -> Iterator[Change]:
    """Every change of a module, from its top to its bottom."""
    wrapper = MetadataWrapper(cst.parse_module(code))
    finder = _Finder()
    wrapper.visit(finder)
    module = wrapper.module
    spans = wrapper.resolve(PositionProvider)
    starts = [0, *accumulate(len(line) for line in code.splitlines(keepends=True))]
    for node, new, operator, place, lines in finder.found:
        before, after = module.code_for_node(node), module.code_for_node(new)
        span = spans[node]
        start, end = (starts[at.line - 1] + at.column for at in (span.start, span.end))
        if code[start:end] == before:
            mutated = code[:start] + after + code[end:]
        else:  # a statement with the lines above it: slow
            mutated = cst.ensure_type(module.deep_replace(node, new), cst.Module).code
        yield Change(*lines, place, operator, before, after, mutated)


def negate_condition(node: cst.If | cst.While) -> Iterable[cst.If | cst.While]:
    """``if x`` becomes ``if not (x)``, where no comparison or operator is there to be changed instead."""
    test = node.test
    if isinstance(test, cst.Name | cst.Attribute | cst.Call | cst.NamedExpr):
        yield node.with_changes(test=cst.UnaryOperation(cst.Not(), _in_brackets(test)))


def _in_brackets(test: cst.BaseExpression) -> cst.BaseExpression:
    return test.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])


def leave_out(node: cst.SimpleStatementLine) -> Iterable[cst.SimpleStatementLine]:
    """A statement is left out: a call for its effect, an assignment, a return, a raise, a deletion."""
    (statement, *more) = node.body
    kept = cst.Return | cst.Raise | cst.Assign | cst.AnnAssign | cst.AugAssign | cst.Del | cst.Expr
    if more or not isinstance(statement, kept) or _is_text(statement):
        return
    yield node.with_changes(body=[cst.Pass()])


def _is_text(statement: cst.CSTNode) -> bool:
    return isinstance(statement, cst.Expr) and isinstance(statement.value, cst.BaseString)


OPERATORS: Any = [*mutation_operators, (cst.If, negate_condition), (cst.While, negate_condition)]


class _Finder(cst.CSTVisitor):
    """Goes through a module and notes what can be changed."""

    METADATA_DEPENDENCIES = (PositionProvider, ParentNodeProvider)

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[cst.CSTNode, Any, str, str, tuple[int, int]]] = []
        self._path: list[str] = []
        self._functions = 0

    def on_visit(self, node: cst.CSTNode) -> bool:
        if _is_left_alone(node):
            return False
        if isinstance(node, cst.FunctionDef | cst.ClassDef):
            self._path.append(node.name.value)
            self._functions += isinstance(node, cst.FunctionDef)
        operators = [*OPERATORS, (cst.SimpleStatementLine, leave_out)] if self._functions else OPERATORS
        for kind, operator in operators:
            if isinstance(node, kind):
                for new in operator(node):
                    self._note(node, new, operator.__name__.removeprefix("operator_"))
        return True

    def on_leave(self, original_node: cst.CSTNode) -> None:
        if isinstance(original_node, cst.FunctionDef | cst.ClassDef) and not _is_left_alone(original_node):
            self._path.pop()
            self._functions -= isinstance(original_node, cst.FunctionDef)

    def _note(self, node: cst.CSTNode, new: Any, operator: str) -> None:
        where = self.get_metadata(PositionProvider, node)
        last = where.start.line if isinstance(node, cst.If | cst.While) else where.end.line
        self.found.append((node, new, operator, self._place(node), (where.start.line, last)))

    def _place(self, node: cst.CSTNode) -> str:
        """The function in whose body it stands; the default of a parameter stands outside."""
        above: cst.CSTNode = node
        while not isinstance(above, cst.Module):
            if isinstance(above, cst.Parameters):
                return ""
            above = self.get_metadata(ParentNodeProvider, above)
        return ".".join(self._path) if self._functions else ""


def _is_left_alone(node: cst.CSTNode) -> bool:
    """Annotations, decorators, imports, logs, texts for people, and what only static tools read."""
    match node:
        case cst.Annotation() | cst.Decorator() | cst.Import() | cst.ImportFrom():
            return True
        case cst.SimpleString(value=value):
            return " " in value or value.startswith('"""')
        case cst.Call(func=cst.Name(value=name)):
            return name in NEVER
        case cst.Call(func=cst.Attribute(value=cst.Name(value=name))):
            return name in LOGS
        case cst.Assign(targets=[cst.AssignTarget(target=cst.Name(value=name))]):
            return name in NAMES
        case cst.SimpleStatementLine(body=[cst.Expr(value=value)]):
            return isinstance(value, cst.BaseString) or (isinstance(value, cst.Call) and _is_left_alone(value))
        case cst.Param(default=default):
            return default is not None and not isinstance(default, cst.Name | cst.BaseNumber | cst.BaseString)
    return False
