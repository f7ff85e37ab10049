"""docs/scaling.md is arithmetic on what was measured: bench/projection.py, and nothing beside it."""

import re
from pathlib import Path

import pytest

import bench.parts  # noqa: F401  (registers them)
from bench import projection
from bench.projection import ASSUMED, MEASURED, Projection, filled, tables
from bench.runner import PARTS
from worker import lanes

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")


def test_the_tables_of_the_page_follow_from_what_was_measured() -> None:
    """A new figure in MEASURED changes the page: `python -m bench.projection --write`."""
    assert filled(PAGE) == PAGE


def test_every_figure_was_measured_by_a_command_that_exists() -> None:
    """A part of the benchmarks, or `journeys cost`."""
    for figure in MEASURED.values():
        assert figure.value > 0
        part = re.fullmatch(r"make bench PART=(\w+)( SIZE=small)?", figure.by)
        assert figure.by == "journeys cost" or (part is not None and part[1] in PARTS)
        if part is not None:
            assert figure.run.partition(":")[0] == ("small" if part[2] else "full")


def test_everything_that_is_computed_is_shown() -> None:
    """And everything that was measured or is assumed counts for something."""
    lines = {name for name, kind in vars(Projection).items() if isinstance(kind, property) and name[0] != "_"}
    source = Path(projection.__file__).read_text(encoding="utf-8")
    unused = [name for name in (*MEASURED, *ASSUMED) if f"self.{name}" not in source and f'["{name}"]' not in source]

    assert lines == set(projection._LINES)
    assert unused == []


def test_ten_times_the_customers_need_about_ten_times_as_much() -> None:
    """What is counted in wholes is rounded up, and shards are powers of two; nothing grows faster."""
    small, large = Projection(10_000_000), Projection(100_000_000)
    for name in projection._LINES:
        assert getattr(large, name) <= 10 * getattr(small, name) * 1.0001
    assert large.shards.bit_count() == 1


def test_a_page_without_a_place_for_a_table_is_refused() -> None:
    """Else the table would silently be missing."""
    with pytest.raises(ValueError, match="no place for the table 'measured'"):
        filled("nothing")
    assert set(tables()) == set(re.findall(r"<!-- (\w+) -->\n\|", PAGE))


def test_the_limits_of_the_router_are_those_of_the_code() -> None:
    """64 lanes, 8 at once: more routers would wait for each other."""
    from domain import ids

    assert ASSUMED["cell_routers"].value == ids.SHARDS / lanes.AT_ONCE
