"""The time zones to choose from: one for each place of the IANA list, by region, called as people call it."""

import unicodedata
from collections.abc import Callable
from functools import cache
from importlib.resources import files

from babel.core import Locale

from api.html.languages import noted

_REGIONS = {
    "Africa": noted("Africa"),
    "America": noted("America"),
    "Antarctica": noted("Antarctica"),
    "Arctic": noted("Arctic"),
    "Asia": noted("Asia"),
    "Atlantic": noted("Atlantic Ocean"),
    "Australia": noted("Australia"),
    "Europe": noted("Europe"),
    "Indian": noted("Indian Ocean"),
    "Pacific": noted("Pacific Ocean"),
}

Zone = tuple[str, str]
"""IANA name, and the name of the place."""


def by_region(language: str, translated: Callable[[str], str]) -> list[tuple[str, list[Zone]]]:
    """Return the zones of each region, both in the order of a language.

    Args:
        language: Of the places' names.
        translated: Makes it of the regions' names.
    """
    regions = [(translated(name), _places(region, language)) for region, name in _REGIONS.items()]
    return sorted(regions, key=lambda region: _alphabetic(region[0]))


def place(zone: str, language: str) -> str:
    """Name the place that stands for a zone."""
    known = Locale.parse(language).time_zones.get(zone, {}).get("city")
    return known or ", ".join(part.replace("_", " ") for part in reversed(zone.split("/")[1:])) or zone


@cache
def _places(region: str, language: str) -> list[Zone]:
    named = [(zone, place(zone, language)) for zone in _zones() if zone.startswith(f"{region}/")]
    return sorted(named, key=lambda zone: _alphabetic(zone[1]))


@cache
def _zones() -> tuple[str, ...]:
    # tzdata also has the names of the past (`Asia/Calcutta`); this table has one name for each place.
    table = (files("tzdata") / "zoneinfo" / "zone.tab").read_text(encoding="utf-8")
    return tuple(line.split("\t")[2].strip() for line in table.splitlines() if not line.startswith("#"))


def _alphabetic(name: str) -> str:
    return unicodedata.normalize("NFKD", name).casefold()
