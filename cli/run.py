"""`journeys runs`, `journeys why`, `journeys run`: find one run, ask why it wrote or did not, hurry it or end it."""

import sys
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from pydantic import TypeAdapter, ValidationError
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.postgres import reports
from adapters.postgres import why as explanations
from adapters.temporal.operator import RunOperator
from cli.operate import DataDir, StoreId, by_whom, on_database, system_now
from cli.stack.keys import DEMO_STORE
from cli.temporal import connector, leave_with
from domain.errors import InvalidInput
from domain.operations import Reason
from domain.plans import StepName

run = typer.Typer(help="Act on one run.", no_args_is_help=True)

RunName = Annotated[
    str, typer.Argument(help="Its run_id, or its Workflow ID as the Temporal UI shows it.", metavar="RUN")
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON value instead of text.")]
_DATA_DIR = Path(".journeys")
_NOT_SAID = {"ask", "waited_from", "requires", "pauses"}
"""Inputs that `why` leaves to --json."""


def why(
    run: RunName, as_json: AsJson = False, store_id: StoreId = DEMO_STORE.store_id, data_dir: DataDir = _DATA_DIR
) -> None:
    """Tell why a customer got a message, or did not: all that led one run to where it is, and what comes next."""
    told = on_database(lambda engine: explanations.why(engine, store_id, run), data_dir)
    if as_json:
        print(told.model_dump_json(indent=2))
    else:
        print("\n".join(_story(told)))


def runs(
    customer: Annotated[str | None, typer.Option(help="Our id, the shop's, a browser's, or an address.")] = None,
    journey: Annotated[str | None, typer.Option(help="Its newest runs.")] = None,
    as_json: AsJson = False,
    store_id: StoreId = DEMO_STORE.store_id,
    data_dir: DataDir = _DATA_DIR,
) -> None:
    """List the runs of a customer, or the newest of a journey."""
    if (customer is None) == (journey is None):
        raise InvalidInput("runs", "takes either --customer or --journey")

    async def read(engine: AsyncEngine) -> tuple[explanations.Run, ...]:
        if journey is not None:
            return await explanations.recent(engine, store_id, journey)
        _, passages = await reports.journeys_of(engine, store_id, customer or "")
        return tuple(explanations.Run.model_validate(passage, from_attributes=True) for passage in passages)

    found = on_database(read, data_dir)
    if as_json:
        print(TypeAdapter(tuple[explanations.Run, ...]).dump_json(found, indent=2).decode())
    for line in () if as_json else found:
        print(f"{line.run_id}  {line.journey}  since {_at(line.since)}  {line.outcome}")
    if not found:
        print("no such runs", file=sys.stderr)


@run.command("skip-wait")
def skip_wait(
    run: RunName,
    step: Annotated[str | None, typer.Option(help="The step whose wait is meant; so it is safe to ask again.")] = None,
    store_id: StoreId = DEMO_STORE.store_id,
    data_dir: DataDir = _DATA_DIR,
) -> None:
    """End the wait that a run is in; the gate still decides about the message."""
    try:
        TypeAdapter(StepName | None).validate_python(step)
    except ValidationError as problem:
        raise InvalidInput("step", "must be the name of a step, such as reminder-2") from problem

    async def act(operator: RunOperator) -> str:
        return f"skipped: {(await operator.skip_wait(store_id, run, by_whom(), step)).skipped}"

    _operate(act, data_dir)


@run.command("leave")
def leave(
    run: RunName,
    because: Annotated[str, typer.Option(help="One line without an address; it is kept in the audit log.")],
    store_id: StoreId = DEMO_STORE.store_id,
    data_dir: DataDir = _DATA_DIR,
) -> None:
    """Take the customer out of a run; nothing more is sent by it."""
    try:
        TypeAdapter(Reason).validate_python(because)
    except ValidationError as problem:
        raise InvalidInput("because", "must be one line of up to 200 characters, without an @") from problem

    async def act(operator: RunOperator) -> str:
        return f"over: {(await operator.leave(store_id, run, by_whom(), because)).outcome}"

    _operate(act, data_dir)


def _operate(act: Callable[[RunOperator], Awaitable[str]], data_dir: Path) -> NoReturn:
    """Act on a run of the environment's Temporal, or that of the stack beside, and exit."""

    async def on_engine(engine: AsyncEngine) -> str:
        return await act(RunOperator(engine, connector(data_dir, engine), system_now))

    def tell() -> int:
        print(on_database(on_engine, data_dir))
        return 0

    leave_with(tell)


def _story(told: explanations.Why) -> Iterator[str]:
    yield f"{told.journey}, plan {told.plan_version}: run {told.run_id}"
    yield f"{told.workflow_id} of customer {told.customer_id}"
    yield from (f"{_at(moment)}  {what}" for moment, what in sorted(_happened(told), key=lambda line: line[0]))
    if told.paused_since:
        yield f"the journey has been paused since {_at(told.paused_since)}"
    if told.next:
        when = "" if told.next.due is None else f" at {_at(told.next.due)}"
        yield f"next: {told.next.step}{when}" + (f"; waits: {told.next.waits_for}" if told.next.waits_for else "")


def _happened(told: explanations.Why) -> Iterator[tuple[datetime, str]]:
    event = " ".join(word for word in (told.began.event_type, told.began.event_name) if word)
    yield told.began.decided_at, f"began: {told.began.fact or 'nobody wrote down why'}" + (event and f" ({event})")
    for decision in told.decisions:
        until = f" until {_at(decision.until)}" if decision.until else ""
        rule = f"by rule {decision.rule}, " if decision.rule else ""
        because = f"{rule}because: {decision.because}{_known(decision.inputs)}"
        yield decision.decided_at, f"{decision.step}: {decision.result}{until}, {because}"
    for message in told.messages:
        for moment, what in (
            (message.settled_at if message.sending_at else None, f"is {message.state}"),
            (message.opened_at, "was opened"),
            (message.clicked_at, "was clicked"),
            (message.converted_at, "led to an order"),
        ):
            if moment is not None:
                yield moment, f"{message.step} {what}"
    for done in told.operations:
        yield done.at, f"{done.action} by {done.by}: {done.detail.get('detail', '')}"
    if told.ended:
        yield told.ended.at, f"ended: {told.ended.outcome}, because: {told.ended.because}"


def _known(inputs: dict[str, Any]) -> str:
    said = [f"{name}={value}" for name, value in inputs.items() if name not in _NOT_SAID and value is not None]
    return f" [{', '.join(said)}]" if said else ""


def _at(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
