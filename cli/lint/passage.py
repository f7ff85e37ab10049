"""Which steps of a plan a journey's `run` can ever send, read from its code.

Where the code is too clever to be read, every step counts as sent: the lint errs on the side of silence.
"""

import ast
import inspect
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from domain.plans import Step
from workflows.journey import Journey

_LEAVES = frozenset({"leave", "exit", "end"})
"""After one of these on `self`, whatever waits or sends next leaves the block."""


def never_sent(journey: type[Journey[Any]], steps: Sequence[Step]) -> list[Step]:
    """Return the steps that no way through `run` sends."""
    sent = {name for function in _own_functions(journey) for name in _Sends(steps).through(function.body)}
    return [step for step in steps if step.name not in sent]


def _own_functions(journey: type[Journey[Any]]) -> Iterator[ast.AsyncFunctionDef]:
    """Read what a journey adds to the base, also what it inherits from another journey."""
    for name in dir(journey):
        if name.startswith("__") or not inspect.iscoroutinefunction(function := getattr(journey, name)):
            continue
        if function is not getattr(Journey, name, None):
            source = ast.parse(textwrap.dedent(inspect.getsource(function)))
            yield from (node for node in source.body if isinstance(node, ast.AsyncFunctionDef))


class _Sends:
    """Follows the statements that can be reached, and collects which steps they send."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._names = [step.name for step in steps]
        self._means: dict[str, set[str]] = {}
        self._sent: set[str] = set()

    def through(self, body: Sequence[ast.stmt]) -> set[str]:
        """Go through a block; return what has been sent at its end."""
        for statement in _reachable(body):
            match statement:
                case ast.Assign(targets=[ast.Name(id=name)]):
                    self._means[name] = self._named(statement.value)
                case ast.For(target=ast.Name(id=name)) | ast.AsyncFor(target=ast.Name(id=name)):
                    self._means[name] = self._each(statement)
            for part in ast.iter_child_nodes(statement):
                if isinstance(part, ast.expr | ast.withitem):
                    for call in _sends(part):
                        self._sent |= self._named(call.args[0]) if call.args else set(self._names)
            for block in _blocks(statement):
                self.through(block)
        return self._sent

    def _each(self, loop: ast.For | ast.AsyncFor) -> set[str]:
        if _goes_on(loop.body):
            return self._named(loop.iter)
        # A loop that ends itself in its first round comes no further than the next step.
        return set([name for name in self._names if name not in self._sent][:1])

    def _named(self, value: ast.expr) -> set[str]:
        """Say which steps an expression stands for."""
        match value:
            case ast.Name(id=name) if name in self._means:
                return self._means[name]
            case ast.Subscript(value=ast.Attribute(attr="steps"), slice=where) if not isinstance(where, ast.Slice):
                try:
                    return {self._names[ast.literal_eval(where)]}
                except (ValueError, TypeError):
                    return set(self._names)
                except IndexError:
                    return set()
            case ast.Call(func=ast.Attribute(attr="step"), args=[ast.Constant(value=str(name))]):
                return {name}
        return set(self._names)


def _reachable(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    for statement in body:
        yield statement
        if not _goes_on([statement]):
            return


def _goes_on(body: Sequence[ast.stmt]) -> bool:
    """Tell whether what follows a block can be reached."""
    for statement in body:
        match statement:
            case ast.Return() | ast.Raise() | ast.Break() | ast.Continue():
                return False
            case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id="self"), attr=name))) if name in _LEAVES:
                return False
            case ast.If(orelse=[_, *_]) if not _goes_on(statement.body) and not _goes_on(statement.orelse):
                return False
            case ast.While(test=ast.Constant(value=true)) if true and not _breaks(statement.body):
                return False
            case ast.With() | ast.AsyncWith() if not _goes_on(statement.body):
                return False
    return True


def _breaks(body: Sequence[ast.stmt]) -> bool:
    """Tell whether a loop's body can end that loop."""
    inner = (ast.For, ast.AsyncFor, ast.While)
    return any(
        isinstance(statement, ast.Break)
        or (not isinstance(statement, inner) and any(_breaks(block) for block in _blocks(statement)))
        for statement in _reachable(body)
    )


def _blocks(statement: ast.stmt) -> Iterator[list[ast.stmt]]:
    for field in ("body", "orelse", "finalbody"):
        if block := getattr(statement, field, None):
            yield block
    for handler in getattr(statement, "handlers", ()):
        yield handler.body
    for case in getattr(statement, "cases", ()):
        yield case.body


def _sends(part: ast.AST) -> Iterator[ast.Call]:
    for node in ast.walk(part):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "send":
            yield node
