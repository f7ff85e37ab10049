"""Retention: the one workflow of the daily schedule, which has the policies of all stores enforced and reports."""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from activities.retention import EnforceRetention
    from domain.retention import Report

_RETRY = RetryPolicy(initial_interval=timedelta(seconds=5), maximum_interval=timedelta(minutes=5))


@workflow.defn(name="retention")
class Retention:
    """Forget what was kept for long enough."""

    @workflow.run
    async def run(self) -> Report:
        """Enforce it once; what is not done when the day is over is done the next day."""
        report = await workflow.execute_activity_method(
            EnforceRetention.enforce, summary="every store", retry_policy=_RETRY,
            schedule_to_close_timeout=timedelta(hours=22), heartbeat_timeout=timedelta(minutes=2),
        )  # fmt: skip
        workflow.set_current_details("\n".join(f"- {line}" for line in report.lines()))
        return report
