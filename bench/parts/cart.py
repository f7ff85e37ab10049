"""The cart journey with three messages, from the first request to the last closed run, against a bare workflow."""

import time
from collections import Counter
from collections.abc import Sequence
from statistics import harmonic_mean

from bench import bare_workflow, calls
from bench.bare_workflow import bare_rate
from bench.result import at_most, times_baseline
from bench.runner import Run, part
from bench.stage import House, house, program, until

STEPS = ("cart-reminder", "cart-reminder-2", "cart-reminder-discount")


_TURNS = 4
"""The machine changes within minutes: ours and the bare one take turns, so that both have their share of it."""


@part("cart", "a three-message cart journey, real Postgres and mail server", minutes=8)
async def cart(run: Run) -> None:
    """Lead customers through it, in turns with as many bare workflows."""
    count = run.of(small=100, full=2_000)
    each = count // _TURNS
    async with house() as place:
        await place.only("cart-recovery")
        steps = [{"name": name, "template": name, "delay": "PT1S" if n else "PT0S"} for n, name in enumerate(STEPS)]
        await place.plan("cart-recovery", quiet="PT1S", steps=steps)
        address = place.stack.info.temporal_address
        bare, ours, cpu = list[float](), list[float](), Counter[str]()
        for turn in range(_TURNS):
            with program(place.directory, "bench.bare_workflow", address, ready=bare_workflow.READY):
                bare.append(await bare_rate(place.temporal, each))
            took, used = await _lived_through(place, [f"c{turn}x{number}" for number in range(each)])
            ours.append(each / took)
            cpu.update(used)
            run.say(f"bare: {bare[-1]:.1f} workflows/s, ours: {ours[-1]:.1f} journeys/s")
        run.found(
            "journeys of three messages", harmonic_mean(ours), "journeys/s", baseline=harmonic_mean(bare),
            goal=times_baseline(0.8),
            baseline_is="a workflow of three timers and three activities that do nothing, on the same server",
            detail={
                "mails_per_s": round(3 * harmonic_mean(ours), 1),
                "cpu_ms_per_journey": {name: round(1000 * used / count, 1) for name, used in cpu.items()},
                "turns": [[round(rate, 1) for rate in turn] for turn in zip(ours, bare, strict=True)],
            },
        )  # fmt: skip
        run.found("mails missing or too many", abs(3 * count - len(place.mails())), "mails", goal=at_most(0))


async def _lived_through(place: House, users: Sequence[str]) -> tuple[float, dict[str, float]]:
    """Send everything that the customers do; return the seconds until every run was closed, and what was used."""
    watched, before = place.processes(), len(place.mails())
    began = time.monotonic()
    await place.told([call for user in users for call in (calls.subscriber(user), calls.cart(user))])

    async def over() -> bool:
        if len(place.mails()) - before < 3 * len(users) or await place.runs_under_way():
            return False
        return not await place.running_workflows()

    await until(over)
    return time.monotonic() - began, watched.cpu_seconds()
