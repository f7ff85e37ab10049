"""Which facts can reach a run, read from the code that makes them; a list kept by hand would drift.

A reported fact is made in `domain/decoding/`. It reaches runs only if the code that applies it passes it on
(`on.me(fact)`, `Derived(fact=fact)`): a product view is applied and goes no further. A derived fact is made in
`adapters/` or `activities/`, and for nothing but telling it.
"""

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import domain.facts
from domain.facts import Fact

FACTS: dict[str, type[Fact]] = {kind.__name__: kind for kind in Fact.__subclasses__()}
_ANY = frozenset({"Fact", "AnyFact"})
_TELLS = frozenset({"me", "Derived"})
_PACKAGES = Path(domain.facts.__file__).parents[1]


@dataclass(frozen=True)
class Production:
    """What happens to facts.

    Attributes:
        reported: Some event is understood as it.
        told: It reaches the rules of the journeys, or a run.
    """

    reported: frozenset[str]
    told: frozenset[str]

    def why_not(self, fact: type[Fact]) -> str | None:
        """Say why a fact never reaches a run; None if it can."""
        if fact.__name__ in self.told:
            return None
        if fact.__name__ in self.reported:
            return f"{fact.__name__} is applied when an event tells it, but never passed on to journeys"
        return f"nothing ever makes a {fact.__name__}"


def production(packages: Path = _PACKAGES) -> Production:
    """Read the code of our packages."""
    reported = {fact for module in _modules(packages / "domain" / "decoding") for fact in _made(module)}
    modules = [module for package in ("adapters", "activities") for module in _modules(packages / package)]
    handled = _handled(modules)
    derived = {fact for module in modules for fact in _made(module)}
    passed_on = {fact for module in modules for fact in _passed_on(module, handled)}
    return Production(reported=frozenset(reported), told=frozenset(derived | (passed_on & reported)))


def _modules(folder: Path) -> Iterator[ast.Module]:
    """Read the modules in which a fact is named; the others make none and pass none on, and reading takes long."""
    for file in sorted(folder.rglob("*.py")):
        source = file.read_text("utf-8")
        if "migrations" not in file.parts and any(name in source for name in (*_ANY, *FACTS)):
            yield ast.parse(source)


def _made(module: ast.AST) -> set[str]:
    """Name the facts that a module constructs."""
    makers = (call.func for call in _calls(module))
    named = {_name(f.value if isinstance(f, ast.Attribute) and f.attr == "model_validate" else f) for f in makers}
    return named & set(FACTS)


def _handled(modules: Iterable[ast.Module]) -> dict[str, set[str]]:
    """Read the tables that say which function handles which facts."""
    handled: dict[str, set[str]] = {}
    for table in (node for module in modules for node in ast.walk(module) if isinstance(node, ast.Dict)):
        for kind, function in zip(table.keys, table.values, strict=True):
            if kind is not None and _name(kind) in FACTS:
                handled.setdefault(_name(function), set()).add(_name(kind))
    return handled


def _passed_on(module: ast.Module, handled: Mapping[str, set[str]]) -> set[str]:
    """Name the facts that the functions of a module take and tell on as they are."""
    found: set[str] = set()
    for function in ast.walk(module):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            told = [argument for call in _calls(function) if _name(call.func) in _TELLS for argument in _given(call)]
            for parameter in function.args.args:
                kinds = {_name(node) for node in ast.walk(parameter.annotation or parameter)}
                kinds = handled.get(function.name, set()) if kinds & _ANY else kinds & set(FACTS)
                found = found.union(*(_kinds(argument, parameter.arg, kinds) for argument in told))
    return found


def _kinds(told: ast.expr, parameter: str, kinds: set[str]) -> set[str]:
    """Say which kinds of a parameter an expression passes on; `x if isinstance(x, Kind) else y` narrows them."""
    match told:
        case ast.Name(id=name) if name == parameter:
            return kinds
        case ast.IfExp(test=ast.Call(func=ast.Name(id="isinstance"), args=[ast.Name(id=name), of])) if (
            name == parameter
        ):
            narrowed = {kind.id for kind in ast.walk(of) if isinstance(kind, ast.Name)}
            body = _kinds(told.body, parameter, kinds & narrowed)
            return body | _kinds(told.orelse, parameter, kinds - narrowed)
        case ast.Starred(value=value):
            return _kinds(value, parameter, kinds)
    return set()


def _calls(node: ast.AST) -> Iterator[ast.Call]:
    return (call for call in ast.walk(node) if isinstance(call, ast.Call))


def _given(call: ast.Call) -> Iterable[ast.expr]:
    return [*call.args, *(keyword.value for keyword in call.keywords)]


def _name(node: ast.AST) -> str:
    """Return the last part of a name, dotted or not; an empty one for what is no name."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
