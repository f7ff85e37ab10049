"""Every input that ever broke a target, and seeds of each kind: none breaks it again."""

from pathlib import Path

import pytest

from tests.fuzz.targets import CORPUS, TARGETS

REMEMBERED = [(path.parent.name, path) for path in sorted(CORPUS.glob("*/*"))]


@pytest.mark.parametrize(("target", "path"), REMEMBERED, ids=[f"{name}/{path.name}" for name, path in REMEMBERED])
def test_what_was_once_found_breaks_nothing_now(target: str, path: Path) -> None:
    """The corpus, input by input."""
    TARGETS[target](path.read_bytes())


def test_each_target_has_a_corpus() -> None:
    """And no corpus is without a target."""
    assert {name for name, _ in REMEMBERED} == set(TARGETS)
