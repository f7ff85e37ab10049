"""The whole stack on one machine: what the user has not set is started here, in order, and stopped in reverse."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import BaseModel, ValidationError
from sqlalchemy.exc import OperationalError
from temporalio.envconfig import ClientConfig

from adapters.postgres import migrations
from adapters.settings import Settings
from cli.stack import keys, ports, services
from cli.stack.inbox import LocalInbox
from cli.stack.postgres import LocalPostgres, in_use, temporary_dir
from cli.stack.processes import Child, Program, Supervisor
from cli.stack.temporal import LocalTemporal
from domain.errors import ConfigurationError, Unavailable
from domain.message import StoreCard

INFO = "stack.json"
"""Where a running stack says how to reach it, for the commands that work beside it."""


@dataclass(frozen=True)
class Options:
    """What one can choose about a stack. A port of 0 takes any free one.

    Attributes:
        data_dir: What is kept between starts; None keeps nothing.
    """

    data_dir: Path | None = Path(".journeys")
    api_port: int = 8000
    inbox_port: int = 8025
    smtp_port: int = 1025
    temporal_port: int = 7233
    temporal_ui_port: int = 8233
    postgres_port: int = 5433

    @classmethod
    def throwaway(cls) -> Self:
        """Return the options of a stack that disturbs nobody and leaves nothing."""
        return cls(None, 0, 0, 0, 0, 0, 0)


class StackInfo(BaseModel):
    """How to reach a running stack; None is a part that is the user's own."""

    api: str
    write_key: str
    admin_key: str
    inbox: str | None
    smtp: str
    temporal_ui: str | None
    temporal_address: str
    database_url: str


class Stack:
    """A running stack, as a context manager.

    `stop`, `kill` and `start` work on its parts, by name, while it runs: `postgres`, `temporal`, `inbox`, `api`,
    `worker`, `router`. A part comes back at the same address and with its data.

    Attributes:
        info: How to reach it.
        data_dir: Where its parts keep their data, and write their logs.
    """

    info: StackInfo
    data_dir: Path

    def __init__(
        self,
        options: Options | None = None,
        settings: Settings | None = None,
        store: StoreCard = keys.DEMO_STORE,
        on_progress: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._options = options or Options()
        self._settings = settings or Settings()
        self._store = store
        self._on_progress = on_progress
        self._supervisor = Supervisor()
        self._exit = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as started:
            self._start(started)
            self._exit = started.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exit.close()

    def pid(self, name: str) -> int | None:
        """Return the process id of a part, None when it does not run."""
        return self._supervisor.parts[name].pid

    def program(self, name: str) -> Program:
        """Return how a part of ours is run, for whoever runs another one beside it."""
        part = self._supervisor.parts[name]
        assert isinstance(part, Child)  # noqa: S101 - all of ours are
        return part.program

    def start(self, name: str) -> None:
        """Start a part again and wait until it is ready."""
        self._supervisor.parts[name].start()

    def stop(self, name: str) -> None:
        """Stop a part cleanly."""
        self._supervisor.parts[name].stop()

    def kill(self, name: str) -> None:
        """End a part with SIGKILL, as a crash would."""
        self._supervisor.parts[name].kill()

    def check(self) -> None:
        """Make sure that no part ended by itself.

        Raises:
            Unavailable: Names the part and carries the end of its log.
        """
        self._supervisor.check()

    def _start(self, exit_: ExitStack) -> None:
        options, settings, kept = self._options, self._settings, self._options.data_dir is not None
        data_dir = (options.data_dir or exit_.enter_context(temporary_dir())).absolute()
        exit_.enter_context(in_use(data_dir))
        self.data_dir = data_dir

        # Everything that can be found wrong is found before anything is started.
        api_port = ports.reserve(options.api_port, "--api-port")
        postgres = None if settings.database_url else self._postgres(data_dir / "postgres")
        mail = None if settings.smtp_url else self._inbox(data_dir)
        own_temporal = ClientConfig.load_client_connect_config().get("target_host")
        engine = None if own_temporal else self._temporal(data_dir)

        if postgres and not kept:
            exit_.callback(postgres.erase)
        exit_.callback(self._supervisor.stop_all)
        others = [Child(part.program) for part in (engine, mail) if part]
        self._launch(others)
        if postgres:
            self._on_progress("starting postgres")
            self._supervisor.start(postgres)
        database_url = postgres.url if postgres else settings.database_url
        self._on_progress("migrating the database")
        migrated(database_url)
        secrets = keys.ensured(data_dir / "keys.json", database_url, self._store)
        for child in others:
            child.wait()

        connections = services.Connections(
            database_url=database_url,
            smtp_url=mail.smtp_url if mail else settings.smtp_url,
            public_url=settings.public_url if "public_url" in settings.model_fields_set else ports.url(api_port),
            api_port=api_port,
            secret_keys=settings.secret_keys.get_secret_value() or secrets.link_secret,
            temporal_address=engine.address if engine else None,
        )
        ours = [Child(program) for program in services.programs(data_dir, connections)]
        self._launch(ours)
        for child in ours:
            child.wait()
        self.info = StackInfo(
            api=ports.url(api_port),
            write_key=secrets.write_key,
            admin_key=secrets.admin_key,
            inbox=mail.url if mail else None,
            smtp=connections.smtp_url,
            temporal_ui=engine.ui if engine else None,
            temporal_address=engine.address if engine else str(own_temporal),
            database_url=database_url,
        )
        if kept:
            exit_.callback((data_dir / INFO).unlink, missing_ok=True)
            keys.write_private(data_dir / INFO, self.info.model_dump_json())

    def _launch(self, children: Sequence[Child]) -> None:
        if children:
            self._on_progress(f"starting {', '.join(child.name for child in children)}")
        self._supervisor.launch(children)

    def _postgres(self, data_dir: Path) -> LocalPostgres:
        port = ports.reserve(self._options.postgres_port, "--postgres-port")
        return LocalPostgres(data_dir, port, durable=self._options.data_dir is not None)

    def _temporal(self, data_dir: Path) -> LocalTemporal:
        port = ports.reserve(self._options.temporal_port, "--temporal-port")
        ui_port = ports.reserve(self._options.temporal_ui_port, "--temporal-ui-port")
        return LocalTemporal(data_dir, port, ui_port, durable=self._options.data_dir is not None)

    def _inbox(self, data_dir: Path) -> LocalInbox:
        smtp_port = ports.reserve(self._options.smtp_port, "--smtp-port")
        return LocalInbox(data_dir, smtp_port, ports.reserve(self._options.inbox_port, "--inbox-port"))


def running(data_dir: Path) -> StackInfo:
    """Read how to reach the stack that runs on a data directory.

    Raises:
        ConfigurationError: None runs there.
    """
    try:
        return StackInfo.model_validate_json((data_dir / INFO).read_bytes())
    except (FileNotFoundError, ValidationError):
        raise ConfigurationError(f"no stack runs on {data_dir}: start `journeys dev`, or set DATABASE_URL") from None


def migrated(database_url: str) -> None:
    """Bring a database to the newest tables.

    Raises:
        Unavailable: It does not answer.
    """
    try:
        migrations.upgrade(database_url)
    except OperationalError as problem:
        raise Unavailable(f"the database cannot be used: {problem.orig}") from problem
