"""`journeys lint`: find in seconds, without a server, what would go wrong with a customer."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer
from pydantic import TypeAdapter, ValidationError

import templates
from cli.lint.finding import Finding
from cli.lint.production import production
from cli.lint.report import RULES, findings
from cli.lint.subject import House, shown, subjects
from domain.errors import InvalidInput, InvalidPlan
from domain.plans import Plan, validated
from workflows.registry import JOURNEYS


def lint(
    plan: Annotated[
        list[str] | None,
        typer.Option(help="Lint this plan, a JSON file, in place of the journey's default.", metavar="JOURNEY=FILE"),
    ] = None,
    rules: Annotated[bool, typer.Option("--rules", help="List the rules and check nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Check journeys, plans and templates against the rules of the house; exit code 1 if anything is found."""
    if rules:
        _list(as_json)
        return
    given = dict(_given(option) for option in plan or ())
    house = House(subjects(JOURNEYS, given), Path(templates.__path__[0]), production())
    found = findings(house)
    if as_json:
        said = {"journeys": len(house.subjects), "findings": [dataclasses.asdict(finding) for finding in found]}
        typer.echo(json.dumps(said, indent=2))
    else:
        for finding in found:
            _print(finding)
        count = f"{len(found)} finding{'' if len(found) == 1 else 's'}" if found else "nothing found"
        typer.echo(f"{len(house.subjects)} journeys, {len(RULES)} rules: {count}", err=True)
    if found:
        raise typer.Exit(1)


def _print(finding: Finding) -> None:
    typer.echo(f"{finding.file}: {finding.code} {finding.journey}: {finding.problem}")
    typer.echo(f"    {finding.fix}")


def _list(as_json: bool) -> None:
    if as_json:
        said = [{"code": rule.code, "forbids": rule.forbids, "because": rule.because} for rule in RULES]
        typer.echo(json.dumps(said, indent=2))
        return
    for rule in RULES:
        typer.echo(f"{rule.code}  {rule.forbids}: {rule.because}")


def _given(option: str) -> tuple[str, tuple[Plan, str]]:
    journey, separator, name = option.partition("=")
    if not separator or not name:
        raise InvalidInput("--plan", "must be JOURNEY=FILE, such as cart-recovery=plan.json")
    file = Path(name)
    try:
        settings = TypeAdapter(dict[str, object]).validate_json(file.read_bytes())
    except OSError as problem:
        raise InvalidPlan("plan", f"{name}: {problem.strerror}") from problem
    except ValidationError as problem:
        raise InvalidPlan("plan", f"{name} must be a JSON object") from problem
    return journey, (validated(journey, settings), shown(file.absolute()))
