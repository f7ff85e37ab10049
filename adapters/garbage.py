"""The garbage collector of a process that holds many modules."""

import gc

_YOUNG = 10_000
"""Objects that are made before the collector looks at them for the first time."""


def look_less_often() -> None:
    """Have the collector look at new objects less often, best before the imports: what a module makes stays."""
    gc.set_threshold(_YOUNG, 20, 20)


def never_look() -> None:
    """Have the collector do nothing, in a process that makes no cycles and ends with its work."""
    gc.disable()


def spare_what_stays() -> None:
    """Have the collector leave alone what lives as long as the process, and look at the rest less often.

    Going through all modules again and again took more than the requests themselves (docs/performance.md). What is left
    is small, so all of it is looked at often: a run that the worker lets go of, when a thousand others have gone on
    since, is old by then, and would be kept until tens of thousands more have gone the same way.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, 5, 3)
