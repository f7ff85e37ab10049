"""The cart journey with three messages, from the first request to the last closed run, against a bare workflow."""

import time

from bench import bare_workflow, calls
from bench.bare_workflow import bare_rate
from bench.result import at_most, times_baseline
from bench.runner import Run, part
from bench.stage import House, house, program, until

STEPS = ("cart-reminder", "cart-reminder-2", "cart-reminder-discount")


@part("cart", "a three-message cart journey, real Postgres and mail server", minutes=8)
async def cart(run: Run) -> None:
    """Lead customers through it between two halves of the bare workflow."""
    count = run.of(small=100, full=2_000)
    async with house() as place:
        await place.only("cart-recovery")
        steps = [{"name": name, "template": name, "delay": "PT1S" if n else "PT0S"} for n, name in enumerate(STEPS)]
        await place.plan("cart-recovery", quiet="PT1S", steps=steps)
        address = place.stack.info.temporal_address
        with program(place.directory, "bench.bare_workflow", address, ready=bare_workflow.READY):
            before = await bare_rate(place.temporal, count // 2)
        run.say(f"bare: {before:.1f} workflows/s")
        took, cpu = await _lived_through(place, count)
        with program(place.directory, "bench.bare_workflow", address, ready=bare_workflow.READY):
            after = await bare_rate(place.temporal, count // 2)
        run.say(f"bare: {after:.1f} workflows/s")
        bare = count / (count / 2 / before + count / 2 / after)
        run.found(
            "journeys of three messages", count / took, "journeys/s", baseline=bare, goal=times_baseline(0.8),
            baseline_is="a workflow of three timers and three activities that do nothing, on the same server",
            detail={
                "mails_per_s": round(3 * count / took, 1), "seconds": round(took, 1),
                "cpu_ms_per_journey": {name: round(1000 * used / count, 1) for name, used in cpu.items()},
                "bare_before": round(before, 1), "bare_after": round(after, 1),
            },
        )  # fmt: skip
        run.found("mails missing or too many", abs(3 * count - len(place.mails())), "mails", goal=at_most(0))


async def _lived_through(place: House, count: int) -> tuple[float, dict[str, float]]:
    """Send everything that the customers do; return the seconds until every run was closed, and what was used."""
    watched = place.processes()
    began = time.monotonic()
    users = [f"c{number}" for number in range(count)]
    await place.told([call for user in users for call in (calls.subscriber(user), calls.cart(user))])

    async def over() -> bool:
        if len(place.mails()) < 3 * count or await place.runs_under_way():
            return False
        return not await place.running_workflows()

    await until(over)
    return time.monotonic() - began, watched.cpu_seconds()
