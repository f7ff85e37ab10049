"""Large pages: what a process holds by its start lies in pages of 2 MB, where Linux can move it there.

A processor remembers where a few thousand pages lie. A worker's memory fills tens of thousands of 4 kB, and it goes
through much of it for each message: to look a page up again can take as long as several reads of memory
(docs/adr/0044-large-pages-and-uvloop.md).

Source: madvise(2), MADV_COLLAPSE, since Linux 6.1; mincore(2).
"""

import ctypes
import mmap
from collections.abc import Iterator
from pathlib import Path

_SIZE = Path("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size")
"""Where Linux says how large a large page is; no such file where it has none."""
_MAPPED = Path("/proc/self/maps")
_COLLAPSE = 25
"""MADV_COLLAPSE of <linux/mman.h>, which `mmap` has no name for. It moves what is there, and changes nothing of it."""
_IN_USE = 0.5
"""A piece of memory of which less is in use stays as it is: the rest would be filled with zeros, and be ours."""


def move_in() -> int:
    """Move the memory of this process into large pages, as far as it is in use; return how many there are now.

    It takes a quarter of a second for a worker. What is allocated later is where it would have been.
    """
    whole = size()
    if not whole:
        return 0
    libc = ctypes.CDLL(None)
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
    pages = ctypes.create_string_buffer(whole // mmap.PAGESIZE)

    def in_use(piece: int) -> bool:
        return libc.mincore(piece, whole, pages) == 0 and sum(byte & 1 for byte in pages.raw) >= _IN_USE * len(pages)

    return sum(in_use(piece) and libc.madvise(piece, whole, _COLLAPSE) == 0 for piece in _pieces(whole))


def size() -> int:
    """Return the size of a large page in bytes; 0 where there are none."""
    return int(_SIZE.read_text(encoding="ascii")) if _SIZE.exists() else 0


def _pieces(whole: int) -> Iterator[int]:
    """Tell where each whole piece of our own memory begins that a large page could take: of heap, not of files."""
    for line in _MAPPED.read_text(encoding="utf-8").splitlines():
        span, rights, _, _, file, *name = line.split(maxsplit=5)
        if file == "0" and rights.startswith("rw") and (not name or name[0] == "[heap]"):
            start, end = (int(address, 16) for address in span.split("-"))
            yield from range(-(-start // whole) * whole, end - whole + 1, whole)
