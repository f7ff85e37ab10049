"""How a backtest is shown: as tables for people, as CSV, and as one JSON object."""

import csv
import io
from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from cli.backtest.difference import Difference
from cli.backtest.report import Counts, Report

_DAYS_SHOWN, _CUSTOMERS_SHOWN = 14, 12
_NUMBERS = (
    "events", "customers", "skipped", "runs", "triggers", "still_open", "messages", "customers_touched",
    "customers_touched_twice", "actions", "cost_per_1000_customers",
)  # fmt: skip
_BREAKDOWNS = ("messages_by_step", "exits", "withheld", "actions_by_kind")


class Result(Report):
    """What a backtest prints: its report, and with `--against` the other one and the difference."""

    against: Report | None = None
    difference: Difference | None = None


def as_json(result: Result) -> str:
    """Write one object on one line."""
    return result.model_dump_json(exclude_none=True)


def as_csv(result: Result) -> str:
    """Write one line for each number: what is measured, of what, and how much."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    other = {(measure, of): value for measure, of, value in _lines(result.against)} if result.against else {}
    writer.writerow(["measure", "of", "value", *(["against"] if other else [])])
    mine = {(measure, of): value for measure, of, value in _lines(result)}
    for measure, of in dict.fromkeys((*mine, *other)):
        key = (measure, of)
        writer.writerow([measure, of, mine.get(key, 0), *([other.get(key, 0)] if other else [])])
    for changed in result.difference.changed if result.difference else ():
        writer.writerow(["customer", changed.customer, " ".join(changed.messages), " ".join(changed.against)])
    return text.getvalue()


def _lines(report: Report) -> Iterator[tuple[str, str, float]]:
    for name in _NUMBERS:
        yield name, "", getattr(report, name)
    for name in _BREAKDOWNS:
        counts: Counts = getattr(report, name)
        for of, count in counts.items():
            yield name, of, count
    for day, counts in report.messages_by_day.items():
        for step, count in counts.items():
            yield "messages_by_day", f"{day} {step}", count


def show(result: Result, console: Console) -> None:
    """Draw the tables."""
    what = "triggers only" if result.triggers_only else "full plan"
    data = f"{result.first[:16]} to {result.last[:16]}" if result.first and result.last else "no data"
    console.print(f"\n[bold]{result.journey}[/bold], {what}; {data} (UTC)", highlight=False)
    console.print(_numbers(result))
    if result.messages_by_day:
        console.print(_days(result))
    if result.difference is not None:
        console.print(_customers(result.difference))
    if not result.complete:
        console.print("[bold]Interrupted: this is what was known so far.[/bold]")


def _numbers(result: Result) -> Table:
    reports = [result] if result.against is None else [result, result.against]
    table = Table(caption=f"Cost in US dollars, at {result.price_per_million_actions:g} for a million actions.")
    table.add_column("")
    for report in reports:
        table.add_column(report.plan_source, justify="right")
    for name in _NUMBERS:
        if name != "skipped" or result.skipped:
            table.add_row(_words(name), *(_number(getattr(report, name)) for report in reports))
    for name in _BREAKDOWNS:
        if keys := dict.fromkeys(key for report in reports for key in getattr(report, name)):
            table.add_section()
            table.add_row(f"[bold]{_words(name)}[/bold]")
        for key in keys:
            table.add_row(f"  {_words(key)}", *(_number(getattr(report, name).get(key, 0)) for report in reports))
    return table


def _days(result: Result) -> Table:
    steps = list(result.messages_by_step)
    table = Table(title="Messages on the busiest days", title_justify="left")
    for heading in ("day", *steps):
        table.add_column(heading, justify="left" if heading == "day" else "right")
    busiest = sorted(result.messages_by_day, key=lambda day: -sum(result.messages_by_day[day].values()))
    for day in sorted(busiest[:_DAYS_SHOWN]):
        table.add_row(day, *(str(result.messages_by_day[day].get(step, 0)) for step in steps))
    return table


def _customers(difference: Difference) -> Table:
    title = (
        f"Customers: {difference.more} get more, {difference.fewer} fewer, {difference.other} others, "
        f"{difference.same} the same"
    )
    table = Table("customer", "", "messages", "against", title=title, title_justify="left")
    for changed in difference.changed[:_CUSTOMERS_SHOWN]:
        table.add_row(changed.customer, changed.change, "\n".join(changed.messages), "\n".join(changed.against))
    if len(difference.changed) > _CUSTOMERS_SHOWN:
        table.caption = f"the first {_CUSTOMERS_SHOWN} of {len(difference.changed)}; --json and --csv have all"
    return table


def _words(name: str) -> str:
    return name.replace("_", " ")


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4f}"
