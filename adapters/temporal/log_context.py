"""The ids of what an activity is about, on every line that is logged while it runs."""

from typing import Any

import structlog
from temporalio import activity
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from domain import ids
from domain.delivery import Slot


class LogContext(Interceptor):
    """Bind the ids; for the `interceptors` of a worker."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002
        """Wrap an activity."""
        return _Bound(next)


class _Bound(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002
        info = activity.info()
        about: dict[str, Any] = {
            "workflow_id": info.workflow_id, "activity": info.activity_type, "attempt": info.attempt
        }  # fmt: skip
        match input.args:
            case [Slot() as slot]:
                about |= {
                    "store_id": slot.store_id, "run_id": str(slot.run_id), "step": slot.step.name,
                    "message_id": str(ids.message_id(slot.run_id, slot.step.name)),
                }  # fmt: skip
        with structlog.contextvars.bound_contextvars(**about):
            return await super().execute_activity(input)
