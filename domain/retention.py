"""Retention: how long a store keeps what, and what its guarantees need for longer.

A period is a promise to customers, and a danger to rules that look back: a cap that forgets what was sent lets too much
out. So each rule says here what it looks back on, a policy below that is refused, and a plan that looks back further
than the policy is obeyed (docs/retention.md).
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import ConfigDict, Field, ValidationError

from domain.errors import InvalidInput
from domain.follow_ups import CountIs, of_the_past
from domain.plans import SLACK, BrowseAbandonmentPlan, FollowUpPlan, Plan
from domain.sending_rules import SendingRules
from domain.values import Value

_DAY = timedelta(days=1)
_LONGEST = 3660 * _DAY

Period = Annotated[timedelta, Field(ge=_DAY, le=_LONGEST)]


class Kind(StrEnum):
    """What is kept for a time, in the order in which it is forgotten."""

    EVENTS = "events"
    VIEWS = "views"
    HAPPENINGS = "happenings"
    DECISIONS = "decisions"
    MESSAGES = "messages"
    RUNS = "runs"
    AUDIT = "audit"


_TOGETHER_WITH = {Kind.HAPPENINGS: Kind.EVENTS, Kind.RUNS: Kind.MESSAGES}
"""Kinds that a policy does not name: they go with what they belong to."""


ON_WHAT_WAS_SENT = ("gap", "cool_down", "again")
"""Settings of plans that look back on what a customer was sent; `again: null` looks at the runs, whose newest stays."""


class RetentionPolicy(Value):
    """How long a store keeps what. Durations are ISO 8601 in JSON (`"P90D"`); null: for good.

    Attributes:
        events: Events as received, and what follow-ups count; by whole weeks, so up to seven days longer.
        views: Looks at products.
        messages: The ledger, and the runs that its messages belong to, after they are over.
        decisions: Why a message was sent or not, after its run is over.
        audit: What operators did.
        consent_ip: `full`: the address from which consent was given or withdrawn is kept whole, as evidence.
            Every other address is always shortened (domain/ip_addresses.py).
    """

    model_config = ConfigDict(extra="forbid")

    # A client repeats an event for days at most; 400 days are the longest wait that a plan can have.
    events: Annotated[timedelta, Field(ge=7 * _DAY, le=400 * _DAY)] = 90 * _DAY
    views: Period | None = 90 * _DAY
    # An unsubscribe link has to work for 60 days after the message (CASL s. 11(2); CAN-SPAM: 30, 15 USC 7704(a)(3)).
    messages: Annotated[timedelta, Field(ge=60 * _DAY, le=_LONGEST)] | None = 730 * _DAY
    decisions: Period | None = 365 * _DAY
    audit: Annotated[timedelta, Field(ge=365 * _DAY, le=_LONGEST)] | None = None
    consent_ip: Literal["anonymised", "full"] = "anonymised"


class Need(Value):
    """How long something has to be kept (None: for good), and for whose sake."""

    period: timedelta | None
    because: str


class Needs(Value):
    """What a store's plans and rules look back on.

    Attributes:
        kinds: By kind; one that is not here nobody needs.
        happenings: By the name of the event.
    """

    kinds: Mapping[Kind, Need] = Field(default_factory=dict)
    happenings: Mapping[str, Need] = Field(default_factory=dict)


def needs(plans: Iterable[tuple[str, Plan]], rules: SendingRules) -> Needs:
    """Say how far a store's rules look back.

    Args:
        plans: With their journeys' names: those of now, and those that runs under way began with.
        rules: The store's.
    """
    kinds: dict[Kind, Need] = {}
    happenings: dict[str, Need] = {}

    def need(known: dict[Any, Need], key: Any, period: timedelta | None, because: str) -> None:
        before = known.get(key)
        longer = before is None or (before.period is not None and (period is None or period > before.period))
        if longer:
            known[key] = Need(period=period, because=because)

    for cap in rules.caps:
        need(kinds, Kind.MESSAGES, cap.window + SLACK, f"a cap of {cap.limit} messages")
    for journey, plan in plans:
        for name in ON_WHAT_WAS_SENT:
            if isinstance(back := getattr(plan, name, None), timedelta):
                need(kinds, Kind.MESSAGES, back + SLACK, f"{name} of {journey}")
        match plan:
            case BrowseAbandonmentPlan():
                back = plan.window + plan.quiet + plan.lateness
                need(kinds, Kind.VIEWS, back, f"window, quiet and lateness of {journey}")
            case FollowUpPlan():
                late = f"lateness of {journey}"
                for event in plan.mentions:
                    need(happenings, event, plan.lateness, late)
                for past in of_the_past(plan.conditions):
                    back_to = None if past.within is None else past.within + plan.lateness
                    need(happenings, past.event, back_to, f"{past.event} in a condition of {journey}")
                    if isinstance(past, CountIs):
                        need(kinds, Kind.EVENTS, plan.lateness, late)
    return Needs(kinds=kinds, happenings=happenings)


def validated(settings: dict[str, Any], needed: Needs) -> RetentionPolicy:
    """Check a policy that a store wants to set; what it leaves out is as by default.

    Raises:
        InvalidInput: Names the field and the rule that it breaks.
    """
    try:
        policy = RetentionPolicy.model_validate(settings)
    except ValidationError as problem:
        first = problem.errors()[0]
        raise InvalidInput(".".join(str(part) for part in first["loc"]) or "policy", first["msg"]) from problem
    for kind, need in needed.kinds.items():
        wanted: timedelta | None = getattr(policy, kind)
        if wanted is not None and (need.period is None or wanted < need.period):
            raise InvalidInput(kind, f"must be at least {_days(need.period)}: {need.because} looks back so far")
    return policy


class Terms(Value):
    """A store's policy, and what its rules need.

    Attributes:
        policy: As the store set it, else the default.
    """

    policy: RetentionPolicy
    needed: Needs = Needs()

    def period(self, kind: Kind) -> timedelta | None:
        """Return how long the store keeps something now: as its policy says, or longer if its rules need it."""
        kind = _TOGETHER_WITH.get(kind, kind)
        said: timedelta | None = getattr(self.policy, kind)
        need = self.needed.kinds.get(kind)
        if said is None or need is None:
            return said
        return None if need.period is None else max(said, need.period)

    def before(self, kind: Kind, now: datetime) -> datetime | None:
        """Return the moment before which something is forgotten; None: nothing is."""
        period = self.period(kind)
        return None if period is None else now - period


class Week(Value):
    """The table that the events of a week are in.

    Attributes:
        since: The ids in it are not smaller,
        until: and smaller than this.
    """

    name: str
    since: UUID
    until: UUID


class Report(Value):
    """What retention has done.

    Attributes:
        made: Weeks of events that were prepared.
        dropped: Weeks of events that went as a whole.
        kept: Weeks that should have gone, and why they did not.
        rows: Rows that went one by one, by store and table; of a dry run: that would go.
    """

    made: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    kept: Mapping[str, str] = Field(default_factory=dict)
    rows: Mapping[str, Mapping[str, int]] = Field(default_factory=dict)

    def and_rows(self, store_id: str, table: str, count: int) -> "Report":
        """Add rows that went."""
        if not count:
            return self
        mine = dict(self.rows.get(store_id, {}))
        mine[table] = mine.get(table, 0) + count
        return self.model_copy(update={"rows": {**self.rows, store_id: mine}})

    def lines(self) -> list[str]:
        """Say it in lines of text, as the Temporal UI and the terminal show them."""
        said = [f"dropped {name}" for name in self.dropped]
        said += [f"kept {name}: {why}" for name, why in self.kept.items()]
        said += [f"prepared {name}" for name in self.made]
        for store_id, tables in sorted(self.rows.items()):
            said.append(f"{store_id}: {', '.join(f'{count} {table}' for table, count in tables.items())}")
        return said or ["nothing was old enough"]


def _days(period: timedelta | None) -> str:
    if period is None:
        return "null"
    return f"P{-(-period // _DAY)}D"
