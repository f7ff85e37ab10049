"""Log lines: one form for us and for libraries, ids as fields, and no word that an exception quotes."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from adapters import logs

ADDRESS = "ada@example.com"


class Lines:
    """What was logged, line by line."""

    def __init__(self) -> None:
        self.stream = io.StringIO()

    def __call__(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]


@pytest.fixture
def lines() -> Iterator[Lines]:
    """Log as a process does, and afterwards as before."""
    root, before = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers[:], root.level
    lines = Lines()
    logs.configure("INFO", lines.stream)
    yield lines
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**before)


def test_we_and_our_libraries_log_in_one_form(lines: Lines) -> None:
    """Level, logger, time and event; below the level nothing; what is bound to the task stands in both."""
    with structlog.contextvars.bound_contextvars(store_id="mugs", run_id="r-1"):
        structlog.get_logger("router").info("ready", task_queue="journeys")
        logging.getLogger("a.package").warning("shutting %s", "down")
        logging.getLogger("temporalio.worker").debug("polling")
    ours, theirs = lines()

    assert {"event": "ready", "level": "info", "logger": "router", "store_id": "mugs", "run_id": "r-1"}.items() <= (
        ours.items()
    )
    assert {"event": "shutting down", "level": "warning", "logger": "a.package", "run_id": "r-1"}.items() <= (
        theirs.items()
    )
    assert ours["timestamp"].endswith("Z")


def test_an_exception_is_logged_by_type_and_place(lines: Lines) -> None:
    """Its words may quote a customer; whoever logs it, with or without a message of their own."""
    for log in (structlog.get_logger("api"), logging.getLogger("temporalio.activity")):
        try:
            int(ADDRESS)
        except ValueError:
            log.exception("it failed")
    logging.getLogger("temporalio.worker").warning("it failed", exc_info=ValueError(ADDRESS))

    assert "ada" not in lines.stream.getvalue()
    assert [line["error"] for line in lines()] == ["ValueError"] * 3
    assert all("test_logs.py" in line["trace"] for line in lines()[:2])


def test_temporal_s_ids_are_fields(lines: Lines) -> None:
    """Its loggers carry them as an extra, which is not lost."""
    about = {"workflow_id": "mugs/welcome/c-1", "attempt": 2}
    logging.getLogger("temporalio.activity").warning("slow", extra={"temporal_activity": about, "other": "ada"})
    (line,) = lines()

    assert line["temporal_activity"] == about
    assert "other" not in line


def test_addresses_that_a_library_asks_are_no_news(lines: Lines) -> None:
    """Httpx would log each URL at INFO."""
    logging.getLogger("httpx").info("HTTP Request: GET https://mugs.test/ada@example.com")

    assert lines() == []
