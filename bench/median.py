"""The median: what a part measured in most of its runs, for a machine that changes from one minute to the next."""

from collections.abc import Sequence
from typing import Any

Row = dict[str, Any]


def median(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Make one record of several runs of a part.

    Each line is that of its middle run: by its ratio where it has one, of an even number the worse of the two. What
    must not happen at all counts by its worst run.

    Args:
        records: Of the same part and size, in the order of their runs.
    """
    if len(records) == 1:
        return records[0]
    names = dict.fromkeys(row["name"] for record in records for row in record["results"])
    rows = [[row for record in records for row in record["results"] if row["name"] == name] for name in names]
    broken = {why: record[why] for record in records for why in ("failed", "stopped", "skipped") if why in record}
    seconds = sum(record["seconds"] for record in records)
    return records[-1] | broken | {"seconds": seconds, "results": [_middle(of_one) for of_one in rows]}


def _middle(rows: list[Row]) -> Row:
    ordered = sorted(rows, key=_reached, reverse=_falls_short_above(rows[0]))
    never = rows[0]["bound"] == 0
    row = ordered[0] if never else ordered[(len(ordered) - 1) // 2]
    return row | {"runs": [_reached(each) for each in rows]}


def _reached(row: Row) -> float:
    ratio: float | None = row["ratio"]
    return row["measured"] if ratio is None else ratio


def _falls_short_above(row: Row) -> bool:
    """Tell whether more is worse, as the goal says."""
    return str(row["goal"]).startswith(("≤", "<"))
