"""Whether a run is at rest: it waits for the time or an event, and a worker has nothing to do for it."""

import re
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

_SCHEDULED = re.compile(r"EVENT_TYPE_(WORKFLOW|ACTIVITY)_TASK_SCHEDULED")
_DONE = re.compile(r"EVENT_TYPE_(WORKFLOW|ACTIVITY)_TASK_(COMPLETED|FAILED|TIMED_OUT|CANCELED)")
_ENDED = re.compile(r"EVENT_TYPE_WORKFLOW_EXECUTION_(COMPLETED|FAILED|TIMED_OUT|CANCELED|TERMINATED|CONTINUED_AS_NEW)")


async def busy(run: WorkflowHandle[Any, Any]) -> bool:
    """Say whether a run has a workflow task or an activity to do; one that has ended, or never began, has none.

    Read from one history: the time-skipping server describes no pending workflow task, and between two questions
    a run can go from the one to the other.
    """
    try:
        history = await run.fetch_history()
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return False
        raise
    doing: set[int] = set()
    for event in history.events:
        name = EventType.Name(event.event_type)
        if _ENDED.fullmatch(name):
            return False
        if _SCHEDULED.fullmatch(name):
            doing.add(event.event_id)
        elif _DONE.fullmatch(name):
            doing.discard(getattr(event, str(event.WhichOneof("attributes"))).scheduled_event_id)
    return bool(doing)
