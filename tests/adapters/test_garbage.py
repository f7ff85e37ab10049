"""How soon the memory of what a process has let go of is there again."""

import subprocess
import sys

_LIKE_A_WORKER = """
import gc, weakref
from collections import deque
from adapters.garbage import spare_what_stays

class Run:
    def __init__(self):
        self.itself = self
        self.holds = [[self] for _ in range(20)]

alive = weakref.WeakSet()
cached = deque(maxlen=1_000)
spare_what_stays()
for _ in (1, 2):
    most = 0
    for _ in range(40_000):
        run = Run()
        alive.add(run)
        cached.append(run)
        most = max(most, len(alive))
    print(most)
"""


def test_what_a_worker_lets_go_of_does_not_pile_up() -> None:
    """A run is old when the cache drops it; a hundred thousand that wait must not stay in memory for that."""
    told = subprocess.run([sys.executable, "-c", _LIKE_A_WORKER], capture_output=True, text=True, check=True)

    early, late = map(int, told.stdout.split())
    assert late <= 1.1 * early
