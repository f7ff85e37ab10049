"""`python -m chaos [--rounds 100] [--seed N] [--customers 500] [--json]`: run it and say what came of it."""

import asyncio
import json
import random
import time
from typing import Annotated

import typer
from rich.console import Console

from chaos import report
from chaos.run import Scale, run
from cli.stack.processes import until_asked_to_end
from cli.temporal import leave_with


def main(
    rounds: Annotated[int, typer.Option(min=1, help="A fault strikes in each.")] = 100,
    seed: Annotated[
        int | None, typer.Option(help="Draws lives and faults; another one each time if not given.")
    ] = None,
    customers: Annotated[int | None, typer.Option(min=1, help="Five for each round if not given.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON; how far it is goes to standard error.")] = False,
) -> None:
    """Kill parts of the stack while customers live their lives; exit code 1 if anything is lost, doubled or late."""
    drawn = random.SystemRandom().randrange(1_000_000) if seed is None else seed
    scale = Scale(drawn, rounds, 5 * rounds if customers is None else customers)
    leave_with(lambda: _run(scale, as_json))


def _run(scale: Scale, as_json: bool) -> int:
    progress, began = Console(stderr=True), time.monotonic()

    def say(line: str) -> None:
        progress.print(f"[dim]{time.monotonic() - began:6.1f} s[/]  {line}", highlight=False, soft_wrap=True)

    say(f"chaos: seed {scale.seed}, {scale.rounds} rounds, {scale.customers} customers")
    with until_asked_to_end():
        found = asyncio.run(run(scale, say))
    if as_json:
        print(json.dumps(report.as_json(found), indent=2))
    else:
        report.show(found, Console())
    return 0 if found.good else 1


if __name__ == "__main__":
    typer.run(main)
