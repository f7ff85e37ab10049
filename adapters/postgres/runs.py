"""Runs as Postgres knows them: begun and ended in the transaction that applies the fact."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb
from sqlalchemy import Select, Text, Update, any_, func, literal, select, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.postgres import pauses
from adapters.postgres.at_once import asked_at_once
from adapters.postgres.statements import built_once, one_of
from adapters.postgres.tables import messages, runs
from domain.commands import Command, EndRun, NewRun, RestartRun, SignalRun, StartRun
from domain.delivery import Result
from domain.runs import Outcome, RunState

_WENT_OUT = [Result.SENT.value, "sending", Result.UNKNOWN.value]
ALL_STEPS_DONE = "all steps done"
"""Why a run is over that nothing ended before its time."""

_NEW = upsert(runs).on_conflict_do_nothing(index_elements=[runs.c.store_id, runs.c.run_id]).returning(runs.c.run_id)


def states(rows: Iterable[Any]) -> list[RunState]:
    """Return what runs are like, of what `under_way` finds."""
    return [RunState.model_validate(row, from_attributes=True) for row in rows]


@built_once
def under_way(store_id: str, customer_ids: list[UUID], now: datetime) -> Select[Any]:
    """Find the runs under way of customers, oldest first."""
    sent = (
        select(func.count())
        .where(
            messages.c.store_id == runs.c.store_id,
            messages.c.run_id == runs.c.run_id,
            messages.c.state == any_(literal(_WENT_OUT, ARRAY(Text))),
        )
        .scalar_subquery()
    )
    return (
        select(runs, sent.label("sent"))
        .where(runs.c.store_id == store_id, one_of(runs.c.customer_id, customer_ids))
        .where(runs.c.ended_at.is_(None), runs.c.expires_at + pauses.prolonged(now) > now)
        .order_by(runs.c.begun_at, runs.c.run_id)
    )


async def write_down(
    connection: AsyncConnection, store_id: str, commands: Sequence[Command], now: datetime
) -> list[Command]:
    """Make the runs' rows what the commands will make of the runs.

    Returns:
        The commands that still have to be carried out: a run that has begun before does not begin again.
    """
    owed: list[Command] = []
    for command in commands:
        match command:
            case StartRun(run=run):
                if not await _begin(connection, store_id, run, now):
                    continue
            case RestartRun(run_id=run_id, ends=outcome, run=run):
                await end(connection, store_id, run_id, outcome, "entered again", now)
                if not await _begin(connection, store_id, run, now):
                    continue
            case SignalRun(run_id=run_id, ends=outcome, fact=fact) if outcome is not None:
                await end(connection, store_id, run_id, outcome, fact.label, now)
            case EndRun(run_id=run_id, outcome=outcome):
                await end(connection, store_id, run_id, outcome, "another identity has a run of its own", now)
        owed.append(command)
    return owed


async def end(
    connection: AsyncConnection, store_id: str, run_id: UUID, outcome: Outcome, because: str, now: datetime
) -> None:
    """Close a run's row; the first outcome stays."""
    await connection.execute(*_end(store_id, run_id, outcome, because, now))


@built_once
def _end(store_id: str, run_id: UUID, outcome: str, because: str, now: datetime) -> Update:
    here = (runs.c.store_id == store_id, runs.c.run_id == run_id, runs.c.ended_at.is_(None))
    return update(runs).where(*here).values(ended_at=now, outcome=outcome, because=because)


async def end_gone(connection: AsyncConnection, store_id: str, command: Command, now: datetime) -> None:
    """Close the row of a run that Temporal says is over (an operator ended it)."""
    if isinstance(command, SignalRun | EndRun):
        await end(connection, store_id, command.run_id, Outcome.TERMINATED, "Temporal says it is over", now)


async def _begin(connection: AsyncConnection, store_id: str, run: NewRun, now: datetime) -> bool:
    row: dict[str, Any] = {
        "store_id": store_id,
        "begun_at": now,
        **run.model_dump(include={"run_id", "workflow_id", "journey", "customer_id", "product_id", "order_id"}),
        **run.model_dump(include={"plan_version", "since", "expires_at", "trigger_event", "began_by", "exits"}),
    }
    # A run that was never closed here (terminated in Temporal) gives its workflow id to its successor.
    stale = _expire(store_id, run.workflow_id, run.run_id, now)
    _, made = await asked_at_once(connection, stale, (_NEW, row | {"exits": Jsonb(list(run.exits))}))
    if made:
        return True
    known = select(runs.c.ended_at).where(runs.c.store_id == store_id, runs.c.run_id == run.run_id)
    return (await connection.execute(known)).scalar_one() is None


@built_once
def _expire(store_id: str, workflow_id: str, successor: UUID, now: datetime) -> Update:
    stale = (runs.c.workflow_id == workflow_id, runs.c.run_id != successor, runs.c.ended_at.is_(None))
    change = update(runs).where(runs.c.store_id == store_id, *stale)
    return change.values(ended_at=now, outcome=Outcome.EXPIRED, because="never closed")
