"""The report: a table for people, JSON for programs."""

from typing import Any

from rich.console import Console
from rich.table import Table

from chaos.faults import KINDS
from chaos.run import Report

_SHOWN = 20
"""Sentences of each sort that are printed; JSON has all."""


def as_json(report: Report) -> dict[str, Any]:
    """Return everything, for programs."""
    verdict = report.verdict
    return {
        "seed": report.scale.seed, "customers": report.scale.customers, "rounds": report.rounds,
        "faults": dict(report.faults), "requests": dict(report.attempts), "events": verdict.events,
        "mails": verdict.mails, "due": verdict.due, "unknown": verdict.unknown,
        "lost": len(verdict.lost), "doubled": len(verdict.doubled), "late": len(verdict.late), "left": report.left,
        "problems": {"lost": verdict.lost, "doubled": verdict.doubled, "late": verdict.late},
        "seconds": report.seconds, "good": report.good,
    }  # fmt: skip


def show(report: Report, console: Console) -> None:
    """Print what happened, and every problem's sentence below."""
    verdict, table = report.verdict, Table(show_header=False, box=None, pad_edge=False)
    table.add_column()
    table.add_column(justify="right")
    rows: dict[str, object] = {"rounds": report.rounds}
    rows |= {f"  {kind}": report.faults[kind] for kind in KINDS if report.faults[kind]}
    tried = report.attempts.total() - report.attempts["200"]
    rows |= {"events acknowledged": verdict.events, "requests that were not, or were repeated": tried}
    rows |= {"mails taken": verdict.mails, "of them due": verdict.due, "unknown, by the rule": verdict.unknown}
    rows |= {"lost": len(verdict.lost), "doubled": len(verdict.doubled), "late": len(verdict.late)}
    rows |= {f"{what} that did not come to rest": count for what, count in report.left.items() if count}
    for name, figure in rows.items():
        table.add_row(name, str(figure))
    console.print(table, highlight=False)
    for sort, sentences in {"lost": verdict.lost, "doubled": verdict.doubled, "late": verdict.late}.items():
        for sentence in sentences[:_SHOWN]:
            console.print(f"{sort}: {sentence}", highlight=False, markup=False)
        if len(sentences) > _SHOWN:
            console.print(f"{sort}: … and {len(sentences) - _SHOWN} more", highlight=False)
    word = "nothing lost, doubled or late" if report.good else "FAILED"
    console.print(f"chaos: seed {report.scale.seed}, {report.seconds:.0f} s: {word}", highlight=False)
