"""The `journeys` command."""
# ruff: noqa: PLC0415  (each process loads only what it runs)

import asyncio
import logging
import sys
from typing import Any

import structlog
import typer

from cli import (
    bounces,
    cost,
    deploy,
    dev,
    discounts,
    health,
    history,
    journey,
    operate,
    plan,
    privacy,
    run,
    store,
    suppression,
)
from cli.backtest.command import backtest
from cli.lint.command import lint
from cli.new.command import new
from domain.errors import InvalidInput, JourneysError


class Commands(typer.Typer):
    """The commands; what goes wrong in one is told in a line, not in a stack trace."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command that the command line asks for."""
        try:
            return super().__call__(*args, **kwargs)
        except JourneysError as problem:
            print(f"journeys: {problem}", file=sys.stderr)
            sys.exit(2 if isinstance(problem, InvalidInput) else 1)


app = Commands(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_show_locals=False)
app.command()(dev.dev)
app.command()(dev.demo)
app.command()(operate.migrate)
app.command()(health.health)
app.command()(lint)
app.command()(backtest)
app.command("cost")(cost.costs)
app.command()(new)
app.add_typer(store.store, name="store")
app.add_typer(operate.key, name="key")
app.add_typer(plan.plan, name="plan")
app.add_typer(journey.journey, name="journey")
app.add_typer(discounts.discounts, name="discounts")
app.add_typer(operate.events, name="events")
app.add_typer(suppression.suppression, name="suppression")
app.add_typer(bounces.bounces, name="bounces")
app.add_typer(bounces.provider, name="provider")
app.command()(run.runs)
app.command()(run.why)
app.add_typer(run.run, name="run")
app.add_typer(deploy.deploy, name="deploy")
app.add_typer(history.history, name="history")
app.add_typer(privacy.privacy, name="privacy")


@app.command()
def api() -> None:
    """Serve the API (settings: DATABASE_URL, JOURNEYS_*)."""
    from adapters.settings import Settings
    from api.main import run

    settings = Settings()
    _log_to_stderr(settings.log_level)
    run(settings)


@app.command()
def worker() -> None:
    """Run journeys: the Temporal worker (settings: DATABASE_URL, SMTP_URL, TEMPORAL_*, JOURNEYS_*)."""
    from adapters.settings import Settings
    from worker.main import run_worker

    settings = Settings()
    _log_to_stderr(settings.log_level)
    asyncio.run(run_worker(settings))


@app.command()
def router() -> None:
    """Turn stored events into state and journeys (settings: DATABASE_URL, TEMPORAL_*, JOURNEYS_*)."""
    from adapters.settings import Settings
    from worker.main import run_router

    settings = Settings()
    _log_to_stderr(settings.log_level)
    asyncio.run(run_router(settings))


def _log_to_stderr(level: str) -> None:
    """Log for people on a terminal, and one JSON object a line everywhere else."""
    number = logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
    logging.basicConfig(level=number, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    terminal = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([] if terminal else [structlog.processors.dict_tracebacks]),
            structlog.dev.ConsoleRenderer() if terminal else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


if __name__ == "__main__":
    app()
