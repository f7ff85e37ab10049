"""The workflows of the build after old_build.py, as test_deploys.py deploys it."""

from datetime import timedelta

from temporalio import workflow

CODE = "new code"


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
    """Has one more wait in front, which a run from before must not meet."""

    outlives_deploys = True

    @workflow.run
    async def run(self) -> str:
        first = workflow.patched("a-moment-first")
        if first:
            await workflow.sleep(timedelta(milliseconds=1))
        await workflow.wait_condition(lambda: self.heard)
        return f"{CODE}, {'with' if first else 'without'} the new wait"


WORKFLOWS = (Short, Long)
