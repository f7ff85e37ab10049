"""`journeys dev` and `journeys demo`: everything on one machine, from one command, until Ctrl-C."""

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from cli.stack.local import Options, Stack, StackInfo
from cli.stack.processes import Stopped, until_asked_to_end

DataDir = Annotated[Path, typer.Option(help="Keeps what must survive the next start.")]
_PORT = {"min": 0, "max": 65535}
ApiPort = Annotated[int, typer.Option(help="0 takes any free port, as for the others.", **_PORT)]
InboxPort = Annotated[int, typer.Option(help="The inbox in the browser.", **_PORT)]
SmtpPort = Annotated[int, typer.Option(help="The inbox for mail servers.", **_PORT)]
TemporalPort = Annotated[int, typer.Option(help="Temporal for workers and clients.", **_PORT)]
TemporalUiPort = Annotated[int, typer.Option(help="Temporal in the browser.", **_PORT)]
PostgresPort = Annotated[int, typer.Option(help="The database.", **_PORT)]

_DEFAULT = Options()
_stderr = Console(stderr=True)


def dev(
    json: Annotated[bool, typer.Option("--json", help="Print one line of JSON when ready, and nothing else.")] = False,
    api_port: ApiPort = _DEFAULT.api_port,
    inbox_port: InboxPort = _DEFAULT.inbox_port,
    smtp_port: SmtpPort = _DEFAULT.smtp_port,
    temporal_port: TemporalPort = _DEFAULT.temporal_port,
    temporal_ui_port: TemporalUiPort = _DEFAULT.temporal_ui_port,
    postgres_port: PostgresPort = _DEFAULT.postgres_port,
    data_dir: DataDir = Path(".journeys"),
) -> None:
    """Run the whole stack on this machine until Ctrl-C; what it holds is kept for the next start.

    Each part can be your own: set DATABASE_URL, TEMPORAL_ADDRESS (or a Temporal profile) or SMTP_URL, and only the
    rest is started.
    """
    options = Options(data_dir, api_port, inbox_port, smtp_port, temporal_port, temporal_ui_port, postgres_port)
    try:
        with until_asked_to_end(), Stack(options, on_progress=_progress) as stack:
            if json:
                typer.echo(stack.info.model_dump_json())
            else:
                Console().print(overview(stack.info))
                _stderr.print("Ready. Ctrl-C stops everything.")
            while True:
                stack.check()
                time.sleep(0.5)
    except Stopped:
        _stderr.print("Stopped.")


def demo(
    once: Annotated[
        bool, typer.Option("--once", help="End when the replay is through; exit 1 if it fell short.")
    ] = False,
    api_port: ApiPort = _DEFAULT.api_port,
    inbox_port: InboxPort = _DEFAULT.inbox_port,
    smtp_port: SmtpPort = _DEFAULT.smtp_port,
    temporal_port: TemporalPort = _DEFAULT.temporal_port,
    temporal_ui_port: TemporalUiPort = _DEFAULT.temporal_ui_port,
    postgres_port: PostgresPort = _DEFAULT.postgres_port,
) -> None:
    """Run the stack, replay sixty days of a real shop through it, and stay up until Ctrl-C. Nothing is kept."""
    from cli.demo import run  # noqa: PLC0415  (only the demo needs it)

    options = Options(None, api_port, inbox_port, smtp_port, temporal_port, temporal_ui_port, postgres_port)
    raise typer.Exit(run(options, once))


def overview(info: StackInfo) -> Table:
    """Show how to reach a stack."""
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    rows = {
        "API": f"{info.api}/docs",
        "Inbox": info.inbox,
        "Temporal UI": info.temporal_ui,
        "Write key": info.write_key,
        "Admin key": info.admin_key,
        "Database": info.database_url,
        "Temporal": info.temporal_address,
        "SMTP": info.smtp,
    }
    for name, value in rows.items():
        if value:
            table.add_row(name, value)
    return table


def _progress(step: str) -> None:
    _stderr.print(f"[dim]{step} …[/dim]")
