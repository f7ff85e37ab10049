"""The checkout: where the journeys' source lies. What writes code needs one; an installed package is not enough."""

from pathlib import Path

from domain.errors import ConfigurationError

_MARKS = ("pyproject.toml", "workflows/registry.py", "domain/plans/__init__.py", "tests/workflows")


def checkout(start: Path | None = None) -> Path:
    """Return the root of the checkout that a directory is in (default: the current one).

    Raises:
        ConfigurationError: It is in none.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if all((folder / mark).exists() for mark in _MARKS):
            return folder
    raise ConfigurationError(f"{here} is not in a checkout of Journeys: journeys live in its repository; go there")


def histories(root: Path) -> Path:
    """Return where a checkout keeps its recorded histories."""
    return root / "tests" / "workflows" / "histories"
