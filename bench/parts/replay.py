"""What the tasks of a journey cost the worker, without the messages: a recorded life replayed by the worker's code."""

import time
from collections.abc import AsyncIterator

from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from adapters.temporal.plugin import PASSED_THROUGH, journeys_plugin
from bench.result import times_baseline
from bench.runner import Run, part
from cli.scratch import scratch_shops
from rehearsal.costs import walked
from rehearsal.passages import PASSAGES
from workflows.registry import WORKFLOWS

_ROUNDS = 5


@part("replay", "the tasks of a cart with three messages: what the sandbox adds to them", minutes=1)
async def replay(run: Run) -> None:
    """Replay one life many times: in our sandbox, in the SDK's own, and in none."""
    times = run.of(small=20, full=100)
    async with scratch_shops() as open_shop, open_shop() as shop:
        history = await walked(shop, PASSAGES["cart-recovery"])
    passed_through = SandboxRestrictions.default.with_passthrough_modules(*PASSED_THROUGH)
    replayers = {
        "ours": Replayer(workflows=WORKFLOWS, plugins=[journeys_plugin()]),
        "the SDK's": Replayer(
            workflows=WORKFLOWS, data_converter=pydantic_data_converter,
            workflow_runner=SandboxedWorkflowRunner(restrictions=passed_through),
        ),
        "none": Replayer(
            workflows=WORKFLOWS, plugins=[journeys_plugin()], workflow_runner=UnsandboxedWorkflowRunner()
        ),
    }  # fmt: skip
    # In turn, and the best of each: a processor that is shared is slower at one moment than at another.
    rounds = [{name: await _cost_ms(one, history, times) for name, one in replayers.items()} for _ in range(_ROUNDS)]
    best = {name: min(costs[name] for costs in rounds) for name in replayers}
    run.found(
        "lives replayed by one processor", 1000 / best["ours"], "lives/s", baseline=1000 / best["none"],
        baseline_is="the same without a sandbox", goal=times_baseline(0.75),
        detail={"ms_by_sandbox": {name: round(cost, 1) for name, cost in best.items()}},
    )  # fmt: skip


async def _cost_ms(replayer: Replayer, history: WorkflowHistory, times: int) -> float:
    """Return the processor time of one replay, in milliseconds."""
    before = time.process_time()
    await replayer.replay_workflows(_again(history, times))
    return 1000 * (time.process_time() - before) / times


async def _again(history: WorkflowHistory, times: int) -> AsyncIterator[WorkflowHistory]:
    for _ in range(times):
        yield history
