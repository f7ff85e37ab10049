"""The report: a table for people and a JSON file for everything else."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

RESULTS = Path("bench/results")


def written(record: dict[str, Any]) -> Path:
    """Write the record of a part to a file of its own, beside the earlier ones."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    moment = record["environment"]["at"].replace(":", "").replace("+0000", "Z")
    path = RESULTS / f"{moment}-{record['part']}-{record['size']}.json"
    path.write_text(json.dumps(record, indent=2, ensure_ascii=False), encoding="utf-8")
    return path


def show(records: Sequence[dict[str, Any]], console: Console) -> None:
    """Print every result, each beside what it was measured against."""
    table = Table("part", "measured", title="Benchmarks")
    for column in ("ours", "bare", "ratio", "goal"):
        table.add_column(column, justify="right")
    table.add_column("each run", justify="right")
    table.add_column("")
    for record in records:
        if reason := record.get("skipped") or record.get("failed") or record.get("stopped"):
            table.add_row(record["part"], f"[yellow]{reason}[/]", "", "", "", "", "", "")
        for row in record["results"]:
            bare = "" if row["baseline"] is None else _figure(row["baseline"])
            ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f} x"
            verdict = {True: "[green]met[/]", False: "[red]missed[/]", None: ""}[row["met"]]
            ours = f"{_figure(row['measured'])} {row['unit']}"
            runs = ", ".join(_figure(value) for value in row.get("runs", ()))
            table.add_row(record["part"], row["name"], ours, bare, ratio, row["goal"] or "", runs, verdict)
    console.print(table)
    for record in records:
        where = record["environment"]
        console.print(
            f"[dim]{record['part']}: {record['size']}, {record['seconds']:.0f} s, {where['cores']} cores, load "
            f"{where['load_at_start']} → {where['load_at_end']}, "
            f"{', '.join(f'a read in {within} {ns:.0f} ns' for within, ns in where['read_ns'].items())}, "
            f"revision {where['revision']}"
            f"{' with changes' if where['changed'] else ''}, Python {where['python']}[/]"
        )


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:,.3g}"
