"""A new journey: its files, and the lines that make it known to the rest of the house."""

from collections.abc import Mapping
from pathlib import Path
from string import Template

from cli.new.choice import kind, told
from cli.new.naming import Name
from cli.new.registration import with_import, with_member
from domain.errors import InvalidInput
from domain.facts import Fact, OrderPlaced
from domain.runs import Outcome

_SKELETON = Path(__file__).parent / "skeleton"
_PLANS, _REGISTRY, _PASSAGES = "domain/plans/__init__.py", "workflows/registry.py", "rehearsal/passages.py"


def new_files(name: Name, entered_by: type[Fact], ends: Mapping[type[Fact], Outcome]) -> dict[str, str]:
    """Return the files of a new journey by their paths, unformatted."""
    words = _words(name, entered_by, ends)

    def filled(skeleton: str, **more: str) -> str:
        return Template((_SKELETON / skeleton).read_text("utf-8")).substitute(words | more)

    files = {
        f"workflows/{name.snake}.py": filled("journey.py.txt"),
        f"domain/plans/{name.snake}.py": filled("plan.py.txt"),
        f"tests/workflows/test_{name.snake}.py": filled("test.py.txt")
        + "".join(filled("test_exit.py.txt", **_exit(fact, outcome)) for fact, outcome in ends.items()),
    }
    for step, folder in ((f"{name.kebab}-1", name.kebab), (f"{name.kebab}-2", f"{name.kebab}-2")):
        for part in ("subject.liquid", "body.mjml", "sample.json"):
            files[f"templates/{folder}/{part}"] = filled(part, step=step, template=folder)
    return files


def edited_files(root: Path, name: Name, entered_by: type[Fact]) -> dict[str, str]:
    """Return the files that learn of a new journey, unformatted.

    Raises:
        ConfigurationError: One of them has no place for it.
    """
    plans, registry, passages = ((root / file).read_text("utf-8") for file in (_PLANS, _REGISTRY, _PASSAGES))
    plan, journey = f"{name.camel}Plan", name.camel
    plans = with_import(plans, f"from domain.plans.{name.snake} import {plan}", _PLANS)
    plans = with_member(plans, "__all__", f'"{plan}"', _PLANS)
    plans = with_member(plans, "PLANS", f'"{name.kebab}": {plan}', _PLANS)
    registry = with_import(registry, f"from workflows.{name.snake} import {journey}", _REGISTRY)
    registry = with_member(registry, "JOURNEYS", journey, _REGISTRY)
    passages = with_import(passages, f"from domain.facts import {entered_by.__name__}", _PASSAGES)
    words = {"name": name.kebab, "module": name.snake, "entry": entered_by.__name__}
    passages += Template((_SKELETON / "passage.py.txt").read_text("utf-8")).substitute(words)
    return {_PLANS: plans, _REGISTRY: registry, _PASSAGES: passages}


def must_be_new(root: Path, name: Name, files: Mapping[str, str]) -> None:
    """Make sure that nothing of a journey is there yet.

    Raises:
        InvalidInput: Says what is.
    """
    if f'"{name.kebab}"' in (root / _PLANS).read_text("utf-8"):
        raise InvalidInput("name", f"there is a journey {name.kebab!r} already")
    # Two test files of one name cannot be told apart.
    tests = {str(file.relative_to(root)) for file in root.glob(f"tests/**/test_{name.snake}.py")}
    if there := sorted(tests | {file for file in files if (root / file).exists()}):
        raise InvalidInput(
            "name", f"{', '.join(there)} would be overwritten: remove what is left over, or choose another"
        )


def _words(name: Name, entered_by: type[Fact], ends: Mapping[type[Fact], Outcome]) -> dict[str, str]:
    facts = sorted({"Fact", entered_by.__name__, *(fact.__name__ for fact in ends)})
    return {
        "name": name.kebab,
        "module": name.snake,
        "Journey": name.camel,
        "Title": name.title,
        "entry": entered_by.__name__,
        "enters": told(entered_by)[0].lower() + told(entered_by)[1:],
        "facts": ", ".join(facts),
        "facts_of_test": ", ".join(sorted(set(facts) - {"Fact"})),
        "ends": ", ".join(f"{fact.__name__}: Outcome.{outcome.name}" for fact, outcome in ends.items()),
        "signals": "\n".join(
            f'    @workflow.signal(description="{told(fact)} Nothing more is sent.")\n'
            f"    def {kind(fact)}(self, fact: {fact.__name__}) -> None:\n"
            f"        self.end(fact)\n"
            for fact in ends
        ),
    }


def _exit(fact: type[Fact], outcome: Outcome) -> dict[str, str]:
    # An order of the examples may be what began the run; another one ends it.
    other = ', order_id="o-2"' if fact is OrderPlaced else ""
    return {"exit": fact.__name__, "how": f"{fact.__name__}{other}", "kind": kind(fact), "outcome": outcome.value}
