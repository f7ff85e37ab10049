"""The garbage collector of a process that runs for long and holds many modules."""

import gc


def spare_what_stays() -> None:
    """Have the collector leave alone what lives as long as the process, and look at the rest less often.

    Going through all modules again and again took more than the requests themselves (docs/performance.md).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
