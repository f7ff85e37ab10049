"""A short chaos run on the real stack; `make chaos` is the long one (docs/chaos.md)."""

from chaos.faults import KINDS, drawn
from chaos.run import Scale, run

SCALE = Scale(seed=4, rounds=len(KINDS), customers=45, pace=0.25)


async def test_nothing_is_lost_doubled_or_late_whatever_is_killed() -> None:
    """Every fault once, while customers live: G1, G3 and G4 over the whole stack."""
    said: list[str] = []
    report = await run(SCALE, said.append)

    verdict = report.verdict
    assert (verdict.lost, verdict.doubled, verdict.late) == ([], [], []), "\n".join(said)
    assert set(report.left.values()) == {0}, "\n".join(said)
    assert set(report.faults) == set(KINDS)
    assert verdict.events >= 3 * SCALE.customers
    assert verdict.mails + verdict.unknown >= verdict.due >= 2 * SCALE.customers


def test_the_same_seed_draws_the_same_faults_and_every_kind_before_one_comes_again() -> None:
    """A run can be told to somebody else by its seed."""
    faults = drawn(7, 3 * len(KINDS))

    assert faults == drawn(7, 3 * len(KINDS))
    assert faults != drawn(8, 3 * len(KINDS))
    for turn in range(3):
        assert {fault.kind for fault in faults[turn * len(KINDS) :][: len(KINDS)]} == set(KINDS)
