"""`python -m bench [PART]... [--size small|full] [--runs N]`: run the suite, or a part of it."""

from typing import Annotated, Any

import typer
from rich.console import Console

import bench.parts  # registers them
from bench import report, runner
from bench.median import median
from cli.temporal import leave_with

Names = Annotated[list[str] | None, typer.Argument(help="Only these.", metavar="[PART]...")]


def main(
    names: Names = None,
    size: Annotated[str, typer.Option(help="small (to see a change) or full (the figures).")] = "full",
    runs: Annotated[int, typer.Option(min=1, help="Measure so often, and judge the medians.")] = 1,
    list_: Annotated[bool, typer.Option("--list", help="Say what there is.")] = False,
) -> None:
    """Measure; exit code 1 if a goal is missed, or a part fails or is stopped."""
    if size not in ("small", "full"):
        raise typer.BadParameter("must be small or full", param_hint="--size")
    leave_with(lambda: _run(names or [], "full" if size == "full" else "small", runs, list_))


def _run(names: list[str], size: runner.Size, runs: int, only_list: bool) -> int:
    console = Console()
    if only_list:
        for one in runner.PARTS.values():
            console.print(f"{one.name:10} {one.question} [dim](about {one.minutes:g} min)[/]")
        return 0
    found: dict[str, list[dict[str, Any]]] = {}
    # One after the other, and then all of them again: what the machine does in a quarter of an hour hits one run each.
    for one in runner.chosen(names) * runs:
        record = runner.measured(one, size, console)
        found.setdefault(one.name, []).append(record)
        console.print(f"[dim]{report.written(record)}[/]")
        if "stopped" in record:
            break
    records = [median(of_part) for of_part in found.values()]
    report.show(records, console)
    missed = any(row["met"] is False for record in records for row in record["results"])
    return int(missed or any("failed" in record or "stopped" in record for record in records))


if __name__ == "__main__":
    assert bench.parts  # noqa: S101 - imported for its registrations
    typer.run(main)
