"""`journeys cost`: what one customer's whole way through each journey costs on Temporal, measured."""

import asyncio
import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from cli.scratch import scratch_shops
from cli.temporal import leave_with
from rehearsal.costs import Cost, cost
from rehearsal.passages import PASSAGES, passage_of


def costs(
    journeys: Annotated[list[str] | None, typer.Argument(help="Only these.", metavar="[JOURNEY]...")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Walk through every journey on a time-skipping server and count its actions; exit code 1 if one is over budget."""
    passages = [passage_of(name) for name in journeys or PASSAGES]

    async def act() -> int:
        measured = []
        async with scratch_shops() as open_shop:
            for passage in passages:
                async with open_shop() as shop:
                    measured.append(await cost(shop, passage))
        if as_json:
            print(json.dumps({"journeys": [line.model_dump() for line in measured]}, indent=2))
        else:
            _show(measured)
        return int(any(line.actions > line.budget for line in measured))

    leave_with(lambda: asyncio.run(act()))


def _show(measured: list[Cost]) -> None:
    table = Table("journey", title="One passage: every message sent, no exit")
    for column in ("messages", "actions", "budget", "events", "kB"):
        table.add_column(column, justify="right")
    for line in measured:
        over = "[red]" if line.actions > line.budget else ""
        table.add_row(
            line.journey, str(line.messages), f"{over}{line.actions}", str(line.budget), str(line.events),
            f"{line.kilobytes:.1f}",
        )  # fmt: skip
    Console().print(table)
    print("An exit costs one action more, its signal, and saves what comes after it. Each cart change costs none.")
