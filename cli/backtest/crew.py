"""The crew: plays the parts of a script side by side, each in a process of its own, on one scratch Postgres."""

import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psycopg

from adapters.postgres.migrations import upgrade
from cli.backtest.part import Performed, Spec
from cli.backtest.report import Tally
from cli.backtest.script import Entry
from cli.stack.postgres import DATABASE, LocalPostgres, temporary_dir
from cli.stack.processes import Child, Program, Stopped
from domain.errors import JourneysError
from domain.plans import Plan

_POLL_S = 0.1
_GRACE_S = 20.0


@dataclass(frozen=True)
class Performance:
    """One plan played with the whole script: what came of it, and whether that is all."""

    tally: Tally
    complete: bool


@dataclass
class _Player:
    """A process and its part."""

    take: int
    spec: Spec
    child: Child

    @property
    def outcome(self) -> Performed | None:
        """What came of the part; None as long as it is being played."""
        if not self.spec.result.exists():
            return None
        return Performed.model_validate_json(self.spec.result.read_text(encoding="utf-8"))

    @property
    def played(self) -> int:
        """How many calls it has played."""
        try:
            return int(self.spec.progress.read_text() or 0)
        except (OSError, ValueError):
            return 0


def perform(
    journey: str,
    plans: Sequence[Plan],
    parts: Sequence[Sequence[Entry]],
    end: datetime,
    jobs: int,
    on_progress: Callable[[int], None] = lambda _: None,
) -> tuple[list[Performance], bool]:
    """Play every part under every plan.

    Args:
        journey: The journey that customers can enter.
        plans: What to play it with; one performance for each.
        parts: The calls, by parts.
        end: When the data ends.
        jobs: How many parts are played at once.
        on_progress: Told how many calls have been played, over all plans.

    Returns:
        What came of each plan, and whether it was interrupted: then what was known by then.

    Raises:
        JourneysError: A part could not go on.
    """
    with temporary_dir() as directory, LocalPostgres.temporary() as postgres:
        upgrade(postgres.url)
        crew = _Crew(journey, plans, end, directory, postgres, on_progress)
        try:
            crew.write(parts)
            crew.play(jobs)
        except Stopped:
            crew.stop()
            return crew.performances(), True
        except BaseException:
            crew.stop()
            raise
        return crew.performances(), False


def _url(postgres: LocalPostgres, database: str) -> str:
    return f"{postgres.url.rpartition('/')[0]}/{database}"


class _Crew:
    def __init__(
        self,
        journey: str,
        plans: Sequence[Plan],
        end: datetime,
        directory: Path,
        postgres: LocalPostgres,
        on_progress: Callable[[int], None],
    ) -> None:
        self._journey, self._plans, self._end = journey, plans, end
        self._directory, self._postgres, self._on_progress = directory, postgres, on_progress
        self._waiting: deque[tuple[int, Path]] = deque()
        self._playing: list[_Player] = []
        self._outcomes: list[tuple[int, Performed]] = []
        self._through = 0

    def write(self, parts: Sequence[Sequence[Entry]]) -> None:
        """Write the parts down, for the processes that play them."""
        for number, part in enumerate(parts):
            path = self._directory / f"part-{number}.jsonl"
            with path.open("w", encoding="utf-8") as file:
                file.writelines(entry.line_of_json() for entry in part)
            self._waiting.extend((take, path) for take in range(len(self._plans)))

    def play(self, jobs: int) -> None:
        """Play part after part, so many at once.

        Raises:
            JourneysError: A part could not go on.
        """
        while self._waiting or self._playing:
            while self._waiting and len(self._playing) < jobs:
                self._launch(*self._waiting.popleft())
            time.sleep(_POLL_S)
            for player in list(self._playing):
                if player.child.pid is None:
                    self._take_off(player)
            self._on_progress(self._through + sum(player.played for player in self._playing))

    def stop(self) -> None:
        """Have the parts under way end with what is known so far."""
        deadline = time.monotonic() + _GRACE_S
        for player in self._playing:
            if (pid := player.child.pid) is not None:
                os.kill(pid, signal.SIGTERM)
        for player in self._playing:
            while player.child.pid is not None and time.monotonic() < deadline:
                time.sleep(_POLL_S)
            player.child.kill()
            if (outcome := player.outcome) is not None:
                self._outcomes.append((player.take, outcome.model_copy(update={"complete": False})))
        self._playing.clear()

    def performances(self) -> list[Performance]:
        """Add up what came of each plan."""
        found = []
        for take in range(len(self._plans)):
            mine = [outcome for number, outcome in self._outcomes if number == take]
            total = Tally()
            for outcome in mine:
                total = total.plus(outcome.tally)
            unplayed = any(number == take for number, _ in self._waiting)
            found.append(Performance(total, complete=not unplayed and all(outcome.complete for outcome in mine)))
        return found

    def _launch(self, take: int, calls: Path) -> None:
        name = f"{calls.stem}-plan-{take}"
        database = name.replace("-", "_")
        with psycopg.connect(_url(self._postgres, "postgres"), autocommit=True) as connection:
            connection.execute(f"create database {database} template {DATABASE}")
        spec = Spec(
            database_url=_url(self._postgres, database),
            journey=self._journey,
            plan=self._plans[take].model_dump(mode="json"),
            calls=calls,
            end=self._end,
            progress=self._directory / f"{name}.progress",
            result=self._directory / f"{name}.result",
        )
        path = self._directory / f"{name}.spec"
        path.write_text(spec.model_dump_json(), encoding="utf-8")
        program = Program(
            name=name,
            argv=[sys.executable, "-P", "-m", "cli.backtest.part", path],  # -P: not from the directory we are in
            env=os.environ,
            log=self._directory / f"{name}.log",
            ready="",
            orphan_signal=signal.SIGTERM,
        )
        player = _Player(take, spec, Child(program))
        self._playing.append(player)
        player.child.launch()

    def _take_off(self, player: _Player) -> None:
        outcome = player.outcome
        if outcome is None:
            player.child.check()
        self._playing.remove(player)
        if outcome is None or outcome.error is not None:
            raise JourneysError(f"the backtest cannot go on: {outcome.error if outcome else 'a part ended unheard'}")
        self._outcomes.append((player.take, outcome))
        self._through += player.played
        database = player.child.name.replace("-", "_")
        with psycopg.connect(_url(self._postgres, "postgres"), autocommit=True) as connection:
            connection.execute(f"drop database {database} with (force)")
