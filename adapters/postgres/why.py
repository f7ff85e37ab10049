"""Why a customer got a message, or did not: all that led one run to where it is, and what it will do next."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import Row, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from adapters.postgres import pauses
from adapters.postgres.progress import PlansOfRuns, Progress
from adapters.postgres.tables import audit, decisions, events, messages, runs
from adapters.postgres.tenancy import as_store
from domain.errors import NotFound, Unavailable
from domain.schedule import next_step
from domain.values import Value

_RECENT = 50
ValueT = TypeVar("ValueT", bound=Value)


class Began(Value):
    """What began the run.

    Attributes:
        fact: What the event meant, in a few words.
        since: When it happened.
        decided_at: When the router decided that a run begins.
        event: Its id, type and name, as long as the event is kept.
    """

    fact: str | None
    since: datetime
    decided_at: datetime
    event: UUID | None
    event_type: str | None
    event_name: str | None


class Decision(Value):
    """One answer to a step that asked to send.

    Attributes:
        due: When the step came due.
        rule: What decided, in one word.
        until: When the run asks again, if it was put off.
        inputs: What the gate knew; empty where the provider decided.
    """

    step: str
    plan_version: int | None
    due: datetime
    decided_at: datetime
    result: str
    rule: str | None
    because: str
    until: datetime | None
    inputs: dict[str, Any]


class Message(Value):
    """What has become of a step's message by now."""

    step: str
    template: str
    state: str
    because: str | None
    claimed_at: datetime
    sending_at: datetime | None
    settled_at: datetime | None
    retry_at: datetime | None
    opened_at: datetime | None
    clicked_at: datetime | None
    converted_at: datetime | None


class Operation(Value):
    """What an operator did to the run."""

    at: datetime
    by: str
    action: str
    detail: dict[str, Any]


class Ended(Value):
    """What ended the run."""

    at: datetime
    outcome: str
    because: str | None


class Next(Value):
    """What an open run does next.

    Attributes:
        due: When its next step is due; None if that is not a matter of time.
        waits_for: What it waits for, if there is more to say than the time.
    """

    step: str
    template: str
    due: datetime | None
    waits_for: str | None


class Why(Value):
    """One run: what began it, every decision, what operators did, what ended it or what comes next.

    Attributes:
        plan_version: The version of the store's plan that it has now; 0 is the default.
        paused_since: The journey is paused: until it is resumed, nothing is sent.
        next: None for a run that is over, or has nothing left to do.
    """

    run_id: UUID
    workflow_id: str
    journey: str
    customer_id: UUID
    product_id: str | None
    order_id: str | None
    plan_version: int
    began: Began
    decisions: tuple[Decision, ...]
    messages: tuple[Message, ...]
    operations: tuple[Operation, ...]
    ended: Ended | None
    paused_since: datetime | None
    next: Next | None


class Run(Value):
    """One line of a list of runs."""

    run_id: UUID
    workflow_id: str
    journey: str
    since: datetime
    ended_at: datetime | None
    outcome: str
    because: str | None


async def find(engine: AsyncEngine, store_id: str, name: str) -> Row[Any]:
    """Find a run by its id, or the newest one of a workflow by the workflow's id (as the Temporal UI shows it).

    Raises:
        NotFound: The store has no such run.
        Unavailable: The database cannot be read now.
    """
    async with _reading(engine, store_id) as connection:
        return await _found(connection, store_id, name)


async def why(engine: AsyncEngine, store_id: str, name: str) -> Why:
    """Tell all about a run that `find` finds.

    Raises:
        NotFound: The store has no such run.
        Unavailable: The database cannot be read now.
    """
    async with _reading(engine, store_id) as connection:
        run = await _found(connection, store_id, name)
        mine = {"store_id": store_id, "run_id": run.run_id}
        decided = select(decisions).filter_by(**mine).order_by(decisions.c.decided_at, decisions.c.decision_id)
        sent = (await connection.execute(select(messages).filter_by(**mine).order_by(messages.c.claimed_at))).all()
        operated = select(audit).filter_by(store_id=store_id, subject=f"run:{run.run_id}").order_by(audit.c.at)
        told: dict[str, Any] = {
            "began": await _began(connection, run),
            "decisions": _as(Decision, (await connection.execute(decided)).all()),
            "messages": _as(Message, sent),
            "operations": _as(Operation, (await connection.execute(operated)).all()),
        }
        if run.ended_at is not None:
            ended = Ended(at=run.ended_at, outcome=run.outcome, because=run.because)
            return Why(**run._asdict(), **told, ended=ended, paused_since=None, next=None)
        paused_since = await pauses.open_since(connection, store_id, run.journey)
        coming = await _next(connection, run, sent)
        return Why(**run._asdict(), **told, ended=None, paused_since=paused_since, next=coming)


async def state(engine: AsyncEngine, store_id: str, run_id: UUID) -> str:
    """Name the state that a run is in: the same until it decides about a message again.

    Raises:
        Unavailable: The database cannot be read now.
    """
    query = select(messages.c.step, messages.c.state, messages.c.claimed_at, messages.c.retry_at)
    async with _reading(engine, store_id) as connection:
        rows = await connection.execute(query.filter_by(store_id=store_id, run_id=run_id).order_by(messages.c.step))
        return repr([tuple(map(str, row)) for row in rows])


async def recent(engine: AsyncEngine, store_id: str, journey: str) -> tuple[Run, ...]:
    """Return the newest runs of a journey.

    Raises:
        Unavailable: The database cannot be read now.
    """
    query = select(runs).filter_by(store_id=store_id, journey=journey).order_by(runs.c.begun_at.desc())
    async with _reading(engine, store_id) as connection:
        return _as(Run, (await connection.execute(query.limit(_RECENT))).all())


async def _found(connection: AsyncConnection, store_id: str, name: str) -> Row[Any]:
    name = name.replace("\0", "")
    try:
        which = runs.c.run_id == UUID(name)
    except ValueError:
        which = runs.c.workflow_id == name
    newest = select(runs).where(runs.c.store_id == store_id, which).order_by(runs.c.begun_at.desc()).limit(1)
    row = (await connection.execute(newest)).one_or_none()
    if row is None:
        raise NotFound("there is no such run; name it by its run_id, or by the Workflow ID that the Temporal UI shows")
    return row


async def _began(connection: AsyncConnection, run: Row[Any]) -> Began:
    query = select(events.c.type, events.c.name).filter_by(store_id=run.store_id, id=run.trigger_event)
    event = (await connection.execute(query)).one_or_none()
    return Began(
        fact=run.began_by,
        since=run.since,
        decided_at=run.begun_at,
        event=run.trigger_event,
        event_type=event and event.type,
        event_name=event and event.name,
    )


async def _next(connection: AsyncConnection, run: Row[Any], sent: Sequence[Row[Any]]) -> Next | None:
    plan = await PlansOfRuns(connection, run.store_id, run.journey).of(run)
    progress = Progress(plan, [row._asdict() for row in sent])
    newest = sent[-1] if sent else None
    if newest is not None and progress.sending:
        return Next(step=newest.step, template=newest.template, due=newest.claimed_at, waits_for="the mail server")
    step = next_step(plan, progress.done)
    if step is None:
        return None
    # It may be over already, if no worker runs; the plan's own word is what explains that.
    paused = await pauses.of_journey(connection, run.store_id, run.journey)
    due = progress.next_message(run, run.begun_at, paused)
    waits_for = "an event, not a time" if progress.waits_for_event else None
    if newest is not None and newest.step == step.name and not progress.waits_for_event:
        waits_for = newest.because
    return Next(step=step.name, template=step.template, due=due, waits_for=waits_for)


def _as(kind: type[ValueT], rows: Sequence[Row[Any]]) -> tuple[ValueT, ...]:
    return tuple(kind.model_validate(row, from_attributes=True) for row in rows)


@contextlib.asynccontextmanager
async def _reading(engine: AsyncEngine, store_id: str) -> AsyncIterator[AsyncConnection]:
    """Read everything as of one moment: a run goes on while we look."""
    at_one_moment = engine.execution_options(isolation_level="REPEATABLE READ")
    try:
        async with as_store(at_one_moment, store_id) as connection:
            yield connection
    except (SQLAlchemyError, OSError) as problem:
        raise Unavailable("the database cannot be read now") from problem
