"""The time inside an activity, where the server moves its clock instead of waiting."""

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import replace
from datetime import datetime
from typing import Any

from temporalio import activity, workflow
from temporalio.api.common.v1 import Payload
from temporalio.worker import (
    ActivityInboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
    StartLocalActivityInput,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)  # fmt: skip

_HEADER = "time-of-the-run"
_time_of_the_run: ContextVar[datetime | None] = ContextVar("time_of_the_run", default=None)


def business_time() -> datetime:
    """Tell the server's time to an activity.

    A queued attempt was scheduled by the server. Of a local one the server knows nothing, and its worker has another
    clock: what counts is the time of the run that asks for it.
    """
    return _time_of_the_run.get() or activity.info().current_attempt_scheduled_time


class RunsClock(Interceptor):
    """Has local activities know the time of their run."""

    def workflow_interceptor_class(
        self,
        input: WorkflowInterceptorClassInput,  # noqa: A002, ARG002 - so the SDK calls it
    ) -> type[WorkflowInboundInterceptor]:
        """Have each run tell its time to its local activities."""
        return _Run

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002
        """Have each attempt know what it was told."""
        return _Attempt(next)


class _Run(WorkflowInboundInterceptor):
    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        super().init(_Telling(outbound))


class _Telling(WorkflowOutboundInterceptor):
    def start_local_activity(self, input: StartLocalActivityInput) -> workflow.ActivityHandle[Any]:  # noqa: A002
        now = Payload(data=workflow.now().isoformat().encode())
        return super().start_local_activity(replace(input, headers={**input.headers, _HEADER: now}))


class _Attempt(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002
        _time_of_the_run.set(_read(input.headers))
        return await super().execute_activity(input)


def _read(headers: Mapping[str, Payload]) -> datetime | None:
    told = headers.get(_HEADER)
    return None if told is None else datetime.fromisoformat(told.data.decode())
