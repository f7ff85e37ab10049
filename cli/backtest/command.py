"""`journeys backtest`: what would a journey have done with recorded events, and what would another plan do?"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from cli.backtest import crew, display, terms
from cli.backtest.crew import Performance
from cli.backtest.difference import difference
from cli.backtest.display import Result
from cli.backtest.layout import Layout
from cli.backtest.recording import calls
from cli.backtest.report import PRICE_PER_MILLION, Report, Tally
from cli.backtest.script import Script, written
from cli.backtest.terms import Terms
from cli.stack.keys import DEMO_STORE
from cli.stack.processes import Stopped, until_asked_to_end
from domain.errors import InvalidInput

_PART = 5_000
_SMALLEST_PART = 400
_INTERRUPTED = 130
_CURRENT = "current"


def backtest(
    journey: Annotated[str, typer.Argument(help="Which journey customers can enter.")],
    events: Annotated[Path, typer.Option(help="Segment calls, one JSON object a line, or CSV; plain or gzipped.")],
    plan: Annotated[Path | None, typer.Option(help="The plan to try, as JSON; else the current one.")] = None,
    against: Annotated[
        str | None, typer.Option(help="Play another plan too and show the difference.", metavar="current|FILE")
    ] = None,
    triggers_only: Annotated[
        bool, typer.Option("--triggers-only", help="End each run at its first message; no cool-downs, no gaps.")
    ] = False,
    mappings: Annotated[
        list[str] | None,
        typer.Option("--map", help='For CSV: ts=HEADER, kind:buy="Order Completed", kind:ad= to leave rows out.'),
    ] = None,
    assume_consent: Annotated[
        bool | None,
        typer.Option(help="Give everybody an address and consent first. [default: for CSV, which knows of none]"),
    ] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out rows that cannot be read.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object, and nothing else.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV, and nothing else.")] = False,
    price: Annotated[float, typer.Option(min=0, help="US dollars for a million Temporal actions.")] = PRICE_PER_MILLION,
    jobs: Annotated[int, typer.Option(min=1, help="Parts played at once.")] = os.cpu_count() or 1,
    store_id: Annotated[
        str, typer.Option("--store", envvar="JOURNEYS_STORE", help="Whose plan is the current one.")
    ] = DEMO_STORE.store_id,
    data_dir: Annotated[Path, typer.Option(help="Of the stack that runs beside.")] = Path(".journeys"),
) -> None:
    """Play recorded events through the real router, journey and gate, and report what would have been sent.

    Nothing is sent, and nothing but a scratch database is touched. What is counted, and how, stands in
    docs/backtesting.md.
    """
    if json and csv:
        raise InvalidInput("csv", "and --json exclude each other")
    wanted = [_terms(journey, plan, store_id, data_dir)]
    if against is not None:
        wanted.append(_terms(journey, None if against == _CURRENT else Path(against), store_id, data_dir))
    if triggers_only:
        wanted = [Terms(terms.first_slot_only(journey, t.plan), t.source) for t in wanted]
    result, interrupted = _play(
        journey, wanted, events, Layout.told(mappings or ()), assume_consent, skip_bad, triggers_only, price, jobs
    )
    if json:
        typer.echo(display.as_json(result))
    elif csv:
        typer.echo(display.as_csv(result), nl=False)
    else:
        display.show(result, Console())
    if interrupted:
        raise typer.Exit(_INTERRUPTED)


def _terms(journey: str, path: Path | None, store_id: str, data_dir: Path) -> Terms:
    return terms.current(journey, store_id, data_dir) if path is None else terms.told(journey, path)


def _play(
    journey: str,
    wanted: list[Terms],
    events: Path,
    layout: Layout,
    assume_consent: bool | None,
    skip_bad: bool,
    triggers_only: bool,
    price: float,
    jobs: int,
) -> tuple[Result, bool]:
    """Read and play; what was known when somebody asked us to end is a result as well."""
    script, performances, interrupted = Script(), [Performance(Tally(), complete=False)] * len(wanted), False
    try:
        with until_asked_to_end(), _progress() as progress:
            recorded = calls(events, layout, terms.needs(journey))
            task = progress.add_task("reading", total=None)
            script = written(
                recorded,
                consent=assume_consent,
                skip_bad=skip_bad,
                on_progress=lambda count: progress.update(task, completed=count),
            )
            progress.update(task, description="playing", completed=0, total=len(script.entries) * len(wanted))
            if script.entries and script.last is not None:
                parts = script.parts(_PART, at_least=min(jobs, ceil(len(script.entries) / _SMALLEST_PART)))
                script.entries = []
                performances, interrupted = crew.perform(
                    journey,
                    [t.plan for t in wanted],
                    parts,
                    script.last,
                    jobs,
                    lambda count: progress.update(task, completed=count),
                )
            else:
                performances = [Performance(Tally(), complete=True)] * len(wanted)
    except Stopped:
        interrupted = True
    reports = [
        _report(journey, t, script, performance, triggers_only, price)
        for t, performance in zip(wanted, performances, strict=True)
    ]
    result = Result.model_validate(reports[0].model_dump())
    if len(reports) > 1:
        change = difference(reports[0], performances[0].tally, reports[1], performances[1].tally, script.labels)
        result = result.model_copy(update={"against": reports[1], "difference": change})
    return result, interrupted


def _report(
    journey: str, its: Terms, script: Script, performance: Performance, triggers_only: bool, price: float
) -> Report:
    return Report(
        journey=journey,
        plan=its.plan.model_dump(mode="json"),
        plan_source=its.source,
        triggers_only=triggers_only,
        complete=performance.complete,
        events=script.events,
        customers=script.customers,
        first=script.first and script.first.isoformat(),
        last=script.last and script.last.isoformat(),
        skipped=script.skipped,
        price_per_million_actions=price,
    ).with_tally(performance.tally)


@contextmanager
def _progress() -> Iterator[Progress]:
    """Show how far we are, on standard error, to whoever watches."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield progress
