"""A welcome that somebody changed in a hurry: it waits before it does anything, and running journeys did not."""

from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.plans import WelcomePlan
    from domain.runs import Entry, Outcome
    from workflows.welcome import Welcome


@workflow.defn(name="welcome")
class HastyWelcome(Welcome):
    """Welcome, broken on purpose."""

    @workflow.run
    async def run(self, entry: Entry[WelcomePlan]) -> Outcome:
        """Wait first, without asking whether this run began before the change."""
        await workflow.sleep(timedelta(hours=1), summary="a little")
        return await super().run(entry)


@workflow.defn(name="welcome")
class PatchedWelcome(Welcome):
    """The same change, put behind a patch: runs under way keep the old commands."""

    @workflow.run
    async def run(self, entry: Entry[WelcomePlan]) -> Outcome:
        """Wait first, but only in runs that began after the change."""
        if workflow.patched("wait-first"):
            await workflow.sleep(timedelta(hours=1), summary="a little")
        return await super().run(entry)
