"""The terms of a backtest: which journey, under which plan, and what `--triggers-only` makes of it."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from sqlalchemy.exc import InterfaceError, OperationalError, ProgrammingError

from adapters.postgres import plans
from adapters.postgres.engine import create_engine
from adapters.postgres.tenancy import as_store
from adapters.settings import Settings
from cli.backtest.recording import Needs
from cli.stack import local
from domain.errors import ConfigurationError, InvalidPlan, Unavailable
from domain.plans import Plan, is_follow_up, validated
from domain.snapshot import PinnedPlan

_LOWERING = ("gap", "cool_down", "again")
"""What lowers the number of messages, but not of the occasions for one."""
_BLIND = frozenset({"welcome", "cart-recovery", "post-purchase", "win-back"})


@dataclass(frozen=True)
class Terms:
    """A plan and where it comes from."""

    plan: Plan
    source: str


def needs(journey: str) -> Needs:
    """Say what a journey needs of a recording; of one that we do not know, everything."""
    looks = journey not in _BLIND and journey != "back-in-stock"
    return Needs(looks=looks, catalogue=journey not in _BLIND and not is_follow_up(journey))


def told(journey: str, path: Path) -> Terms:
    """Read a plan from a file; what it leaves out is as in the default.

    Raises:
        InvalidPlan: Says what is wrong with it.
    """
    try:
        settings = TypeAdapter(dict[str, Any]).validate_json(path.read_bytes())
    except OSError as problem:
        raise InvalidPlan("plan", f"{path}: {problem.strerror}") from problem
    except ValidationError as problem:
        raise InvalidPlan("plan", f'{path}: must be a JSON object, such as {{"quiet": "PT2H"}}') from problem
    return Terms(validated(journey, settings), path.name)


def current(journey: str, store_id: str, data_dir: Path) -> Terms:
    """Read the plan that a store has now: in the database of DATABASE_URL or of the stack beside us, else the default.

    Raises:
        InvalidPlan: There is no such journey, or no such follow-up of the store.
        Unavailable: The database does not answer.
    """
    if not is_follow_up(journey):
        validated(journey, {})  # says which journeys there are
    url = Settings().database_url
    try:
        url = url or local.running(data_dir).database_url
    except ConfigurationError:
        return _default(journey, "default")
    try:
        pinned = asyncio.run(_stored(url, store_id)).get(journey)
    except (OperationalError, InterfaceError, ProgrammingError) as problem:
        raise Unavailable(f"the current plan cannot be read: {problem.orig}") from problem
    if pinned is None:
        return _default(journey, f"default, as {store_id} has no other")
    return Terms(pinned.plan, f"version {pinned.version} of {store_id}")


def _default(journey: str, source: str) -> Terms:
    if is_follow_up(journey):
        raise InvalidPlan("journey", f"{journey} has no plan here; give it one with --plan FILE")
    return Terms(validated(journey, {}), source)


async def _stored(url: str, store_id: str) -> dict[str, PinnedPlan]:
    engine = create_engine(Settings(database_url=url).sqlalchemy_url, pool_size=1)
    try:
        async with as_store(engine, store_id) as connection:
            return await plans.current(connection, store_id)
    finally:
        await engine.dispose()


def first_slot_only(journey: str, plan: Plan) -> Plan:
    """Cut a plan down to its first message, with nothing that would keep a run from beginning: a plan, not a rule."""
    settings: dict[str, Any] = plan.model_dump(mode="json")
    off = {name: "PT0S" for name in _LOWERING if settings.get(name) is not None}
    return validated(journey, settings | off | {"steps": settings["steps"][:1]})
