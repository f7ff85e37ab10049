"""What a process holds lies in large pages, where Linux can move it there."""

import subprocess
import sys
from pathlib import Path

import pytest

from adapters import large_pages
from tests.linux import MOVES_INTO_LARGE_PAGES

_IN_LARGE_PAGES = """
import hashlib, mmap, re, sys
from pathlib import Path
from adapters import large_pages

MB = 1 << 20

def large() -> int:
    rollup = Path("/proc/self/smaps_rollup").read_text()
    return int(re.search(r"AnonHugePages: +(\\d+) kB", rollup)[1]) >> 10

held = bytearray(32 * MB)
held[::512] = bytes(number % 251 for number in range(len(held[::512])))
before, said = large(), hashlib.sha256(held).digest()

sparse = mmap.mmap(-1, 64 * MB, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for at in range(0, 64 * MB, 2 * MB):
    sparse[at] = 1

moved = large_pages.move_in()
print(before, large(), 2 * moved)
assert hashlib.sha256(held).digest() == said
assert sum(sparse[::2 * MB]) == 32
"""


@pytest.mark.skipif(not MOVES_INTO_LARGE_PAGES, reason="this Linux moves nothing into large pages")
def test_memory_in_use_is_moved_unchanged_and_what_is_hardly_used_stays() -> None:
    """A piece of which little is in use would be filled with zeros, and count as ours."""
    told = subprocess.run([sys.executable, "-c", _IN_LARGE_PAGES], capture_output=True, text=True, check=True)

    before, after, moved = map(int, told.stdout.split())
    assert before < 10
    assert 30 <= after < 64  # the 32 MB, less where they begin and end, and the heap besides
    assert after == moved


def test_where_there_are_no_large_pages_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another system than Linux, or one without them."""
    monkeypatch.setattr(large_pages, "_SIZE", Path("/nowhere"))

    assert large_pages.move_in() == 0
