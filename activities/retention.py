"""Enforce retention: prepare the weeks to come, drop those that are over, and delete row by row what else is too old.

Every step is a short transaction that may be repeated, so after a crash all that matters is what to report; the
heartbeat carries it.
"""

from collections.abc import Callable, Sequence
from datetime import datetime

from temporalio import activity

from activities.failures import as_application_errors
from activities.heartbeats import progress
from domain.operations import Operator
from domain.ports import Clock, Retention
from domain.retention import Kind, Report, RetentionPolicy, Terms, Week

Progress = Callable[[Report], None]
UNFINISHED = "events of it are not finished; see `journeys events parked`"
_BY: Operator = "worker:retention"


class EnforceRetention:
    """Enforce it, as the schedule asks."""

    def __init__(self, retention: Retention, clock: Clock) -> None:
        self._retention = retention
        self._clock = clock

    @activity.defn(name="enforce-retention")
    async def enforce(self) -> Report:
        """Enforce the policies of all stores once.

        Raises:
            ApplicationError: Retryable: the database is down or busy.
        """
        info = activity.info()
        before = Report.model_validate(info.heartbeat_details[0]) if info.heartbeat_details else Report()
        with as_application_errors():
            return await enforced(
                self._retention, self._clock(), info.workflow_run_id or info.activity_id, _BY, before,
                lambda report: progress(report.model_dump(mode="json")),
            )  # fmt: skip


async def enforced(
    retention: Retention, now: datetime, key: str, by: Operator, report: Report, tell: Progress
) -> Report:
    """Enforce retention.

    Args:
        retention: The database.
        now: What periods are counted back from.
        key: Names this time for the audit logs.
        by: Who asked for it.
        report: What an attempt before this one has done.
        tell: Hears of every batch.
    """
    for monday in await retention.missing_weeks(now):
        report = report.model_copy(update={"made": (*report.made, await retention.make_week(monday))})
        tell(report)
    terms = {store_id: await retention.terms(store_id) for store_id in await retention.stores()}
    for week in await _over(retention, terms, now):
        if not await retention.unfinished(week):
            after = None
            while (after := await retention.forget_keys(week, after)) is not None:
                tell(report)
            if await retention.drop(week):
                report = report.model_copy(update={"dropped": (*report.dropped, week.name)})
                tell(report)
                continue
        report = report.model_copy(update={"kept": {**report.kept, week.name: UNFINISHED}})
    for store_id, mine in terms.items():
        for kind in Kind:
            while count := await retention.forget(store_id, kind, mine, now):
                report = report.and_rows(store_id, kind, count)
                tell(report)
    await retention.write_down(report, [*terms], key, by, now)
    return report


async def foreseen(retention: Retention, now: datetime) -> Report:
    """Say what `enforced` would do now, and do nothing."""
    terms = {store_id: await retention.terms(store_id) for store_id in await retention.stores()}
    over = await _over(retention, terms, now)
    kept = {week.name: UNFINISHED for week in over if await retention.unfinished(week)}
    gone = [week for week in over if week.name not in kept]
    made = tuple(f"the week of {monday:%Y-%m-%d}" for monday in await retention.missing_weeks(now))
    report = Report(made=made, dropped=tuple(week.name for week in gone), kept=kept)
    for store_id, mine in terms.items():
        for kind in Kind:
            report = report.and_rows(store_id, kind, await retention.count(store_id, kind, mine, now, gone))
    return report


async def _over(retention: Retention, terms: dict[str, Terms], now: datetime) -> Sequence[Week]:
    """Return the weeks that no store needs any more: they share its tables, so the longest period counts."""
    default = RetentionPolicy().events
    longest = max((mine.period(Kind.EVENTS) or default for mine in terms.values()), default=default)
    return await retention.weeks_before(now - longest)
