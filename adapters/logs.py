"""Logs: one JSON object a line, or lines for people on a terminal; those of libraries in the same form.

Ids are named fields (`store_id`, `run_id`, `message_id`, `event_id`, `workflow_id`), so that one can follow a
message through every process. No line says a name or an address: of an exception its type and place are logged, and
not what it says, since that may quote what a client sent (G8).
"""

import logging
import sys
import traceback
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog
from structlog.stdlib import ExtraAdder, ProcessorFormatter
from temporalio import activity, workflow

_CHATTY = ("httpx", "httpcore", "alembic")
"""Libraries that log, at INFO, the addresses that they ask."""


def configure(level: str, stream: TextIO = sys.stderr) -> None:
    """Log from now on, all processes and libraries alike.

    Args:
        level: `DEBUG`, `INFO`, `WARNING`, `ERROR`; anything else counts as `INFO`.
        stream: Where to.
    """
    number = logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _type_and_place,
    ]
    terminal = stream.isatty()
    renderer = structlog.dev.ConsoleRenderer() if terminal else structlog.processors.JSONRenderer(default=str)
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        ProcessorFormatter(
            foreign_pre_chain=[ExtraAdder(allow=["temporal_activity", "temporal_workflow"]), *shared],
            processors=[ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(number, logging.WARNING))
    # Temporal's ids are fields of their own, not words in the message.
    activity.logger.activity_info_on_message = False
    workflow.logger.workflow_info_on_message = False
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


def _type_and_place(_logger: Any, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Keep of an exception what it is and where it was raised."""
    error = line.pop("exc_info", None)
    line.pop("exception", None)
    if error is True:
        error = sys.exc_info()
    if isinstance(error, BaseException):
        error = (type(error), error, error.__traceback__)
    if isinstance(error, tuple) and error[0] is not None:
        line.setdefault("error", error[0].__name__)
        line["trace"] = "".join(traceback.format_tb(error[2]))
    return line
