"""The garbage collector of a process that holds many modules."""

import gc

YOUNG = 10_000
"""Objects that are made before the collector looks at them for the first time."""
UNDER_WAY = 100_000
"""The same where a thousand requests wait at a time: what they hold would be looked at again and again, in vain.

So much garbage may pile up before it is found, so this is for a process whose requests make none that has to be found
(`tests/api/test_what_requests_hold.py`).
"""


def look_less_often() -> None:
    """Have the collector look at new objects less often, best before the imports: what a module makes stays."""
    gc.set_threshold(YOUNG, 20, 20)


def never_look() -> None:
    """Have the collector do nothing, in a process that makes no cycles and ends with its work."""
    gc.disable()


def spare_what_stays(young: int = YOUNG) -> None:
    """Have the collector leave alone what lives as long as the process, and look at the rest less often.

    Going through all modules again and again took more than the requests themselves (docs/performance.md). What is left
    is small, so all of it is looked at often: a run that the worker lets go of, when a thousand others have gone on
    since, is old by then, and would be kept until tens of thousands more have gone the same way.

    Args:
        young: Objects that are made before it looks at them.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(young, 5, 3)
