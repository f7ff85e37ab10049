"""The `journeys` command."""
# ruff: noqa: PLC0415  (each process loads only what it runs)

import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from types import FrameType
from typing import TYPE_CHECKING, Any

import structlog
import typer
from typer.core import TyperGroup
from typer.main import get_command, get_group

from adapters import garbage
from domain.errors import InvalidInput, JourneysError

if TYPE_CHECKING:
    from adapters.settings import Settings

COMMANDS: Mapping[str, str] = {
    "dev": "cli.dev:dev",
    "demo": "cli.dev:demo",
    "migrate": "cli.operate:migrate",
    "health": "cli.health:health",
    "doctor": "cli.doctor.command:doctor",
    "lint": "cli.lint.command:lint",
    "backtest": "cli.backtest.command:backtest",
    "cost": "cli.cost:costs",
    "new": "cli.new.command:new",
    "store": "cli.store:store",
    "key": "cli.key:key",
    "audit": "cli.audit:audit",
    "plan": "cli.plan:plan",
    "journey": "cli.journey:journey",
    "discounts": "cli.discounts:discounts",
    "events": "cli.operate:events",
    "import": "cli.importing.command:import_customers",
    "suppression": "cli.suppression:suppression",
    "bounces": "cli.bounces:bounces",
    "provider": "cli.bounces:provider",
    "runs": "cli.run:runs",
    "why": "cli.run:why",
    "run": "cli.run:run",
    "deploy": "cli.deploy:deploy",
    "dkim": "cli.dkim:dkim",
    "history": "cli.history:history",
    "privacy": "cli.privacy:privacy",
    "retention": "cli.retention:retention",
}
"""Where each command is. Its module is loaded when it is asked for: all of them together take seconds."""


class Commands(TyperGroup):
    """The commands, each loaded by itself; Typer's own click is private, hence `Any`."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Name all commands, in the order of the help."""
        return [*COMMANDS, *super().list_commands(ctx)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Load one command; None if there is none of this name."""
        if cmd_name not in COMMANDS:
            return super().get_command(ctx, cmd_name)
        module, _, name = COMMANDS[cmd_name].partition(":")
        found = getattr(import_module(module), name)
        if isinstance(found, typer.Typer):
            loaded: Any = get_group(found)
        else:
            alone = typer.Typer(add_completion=False, pretty_exceptions_show_locals=False)
            alone.command(cmd_name)(found)
            loaded = get_command(alone)
        loaded.name = cmd_name
        return loaded


class Program(typer.Typer):
    """The program; what goes wrong in a command is told in a line, not in a stack trace."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command that the command line asks for; what it answers is not mixed with what it logs."""
        garbage.look_less_often()
        structlog.configure(logger_factory=structlog.stdlib.LoggerFactory())
        try:
            return super().__call__(*args, **kwargs)
        except JourneysError as problem:
            print(f"journeys: {problem}", file=sys.stderr)
            sys.exit(2 if isinstance(problem, InvalidInput) else 1)


app = Program(
    cls=Commands, help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_show_locals=False
)


@app.command()
def api() -> None:
    """Serve the API (settings: DATABASE_URL, JOURNEYS_*)."""
    from api.main import run

    with _process("api", young=garbage.UNDER_WAY) as settings:
        run(settings)


@app.command()
def worker() -> None:
    """Run journeys: the Temporal worker (settings: DATABASE_URL, SMTP_URL, TEMPORAL_*, JOURNEYS_*)."""
    from adapters import large_pages
    from cli import event_loop
    from worker.main import run_worker

    with _process("worker") as settings:
        large_pages.move_in()
        event_loop.run(run_worker(settings))


@app.command()
def router() -> None:
    """Turn stored events into state and journeys (settings: DATABASE_URL, TEMPORAL_*, JOURNEYS_*)."""
    from cli import event_loop
    from worker.main import run_router

    with _process("router") as settings:
        event_loop.run(run_router(settings))


@contextmanager
def _process(name: str, young: int = garbage.YOUNG) -> "Iterator[Settings]":
    """Be one of the processes that run for long: they log, and are traced if the environment wants it."""
    from adapters import logs, tracing
    from adapters.settings import Settings

    signal.signal(signal.SIGTERM, _leave)
    settings = Settings()
    logs.configure(settings.log_level)
    garbage.spare_what_stays(young)
    with tracing.traced(name):
        yield settings


def _leave(_number: int, _frame: FrameType | None) -> None:
    """End like any other program that is done, whenever SIGTERM comes.

    By default the signal would end the process on the spot, and as the first process of a container it would not even
    do that. This counts until a process has handlers of its own, and again when uvicorn, after its last request, raises
    the signal anew: traces that wait are still sent then.
    """
    sys.exit(0)


if __name__ == "__main__":
    app()
