"""An activity of hours tells how far it is, and hands over when its worker is told to end."""

from typing import Any

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.heartbeats import progress


def test_progress_is_told_and_nothing_else_while_the_worker_goes_on() -> None:
    """The details are what the next attempt would find."""
    environment, beats = ActivityEnvironment(), []
    environment.on_heartbeat = lambda *details: beats.append(details)
    environment.run(progress, {"done": 50})

    assert beats == [({"done": 50},)]


def test_a_worker_that_is_told_to_end_does_not_wait_for_hours() -> None:
    """What was reached is told first; the failure is one that is tried again, elsewhere."""
    environment = ActivityEnvironment()
    beats: list[Any] = []
    environment.on_heartbeat = lambda *details: beats.append(details)
    environment.worker_shutdown()
    with pytest.raises(ApplicationError) as handed_over:
        environment.run(progress, {"done": 50})

    assert beats == [({"done": 50},)]
    assert not handed_over.value.non_retryable
