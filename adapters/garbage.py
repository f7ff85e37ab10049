"""The garbage collector of a process that holds many modules."""

import gc


def look_less_often() -> None:
    """Have the collector look at new objects less often, best before the imports: what a module makes stays."""
    gc.set_threshold(10_000, 20, 20)


def spare_what_stays() -> None:
    """Have the collector leave alone what lives as long as the process, and look at the rest less often.

    Going through all modules again and again took more than the requests themselves (docs/performance.md).
    """
    gc.collect()
    gc.freeze()
    look_less_often()
