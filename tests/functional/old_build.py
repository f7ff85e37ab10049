"""The workflows of a first build, as test_deploys.py deploys it."""

from temporalio import workflow

CODE = "old code"


class Waiting:
    """Waits for a word, and says which code heard it."""

    def __init__(self) -> None:
        self.heard = False

    @workflow.signal
    def go_on(self) -> None:
        self.heard = True


@workflow.defn(name="short-journey")
class Short(Waiting):
    """Pinned: nothing is said about it."""

    @workflow.run
    async def run(self) -> str:
        await workflow.wait_condition(lambda: self.heard)
        return CODE


@workflow.defn(name="long-journey")
class Long(Waiting):
    """Moves to new code."""

    outlives_deploys = True

    @workflow.run
    async def run(self) -> str:
        await workflow.wait_condition(lambda: self.heard)
        return CODE


WORKFLOWS = (Short, Long)
