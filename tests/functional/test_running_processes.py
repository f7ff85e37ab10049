"""How the processes of the running stack are set up, as far as it can be seen from outside."""

import re
from pathlib import Path

import pytest

from adapters import large_pages
from tests.functional.conftest import House
from tests.linux import MOVES_INTO_LARGE_PAGES

pytestmark = pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="no /proc to look into")


def told(house: House, process: str, what: str) -> str:
    """What Linux says of the memory of a process."""
    return Path(f"/proc/{house.stack.pid(process)}/{what}").read_text(encoding="utf-8")


@pytest.mark.parametrize("process", ["api", "worker", "router"])
async def test_a_process_runs_on_uvloop(house: House, process: str) -> None:
    """It is loaded by whoever runs on it (docs/adr/0044-large-pages-and-uvloop.md)."""
    assert "/uvloop/loop." in told(house, process, "maps")


@pytest.mark.skipif(not MOVES_INTO_LARGE_PAGES, reason="this Linux moves nothing into large pages")
async def test_a_workers_memory_lies_in_large_pages(house: House) -> None:
    """What it has loaded by its start fills dozens of them."""
    found = re.search(r"^AnonHugePages: +(\d+) kB$", told(house, "worker", "smaps_rollup"), re.MULTILINE)

    assert found is not None
    assert int(found[1]) * 1024 >= 10 * large_pages.size()
