"""docs/operating.md and deploy/alerts.yml hold what the code has: metrics, labels, thresholds, runbooks."""

import re
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from adapters.metrics import REGISTRY
from adapters.postgres.backlog import Backlog
from cli.operate import system_now
from tests.docs.test_documents import anchors

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "operating.md"
TEXT = PAGE.read_text(encoding="utf-8")
ALERTS = ROOT / "deploy" / "alerts.yml"
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"] for rule in group["rules"]
]

# What requirements/1 ("Alerts") and requirements/3 ("Monitoring and Alerts") set: the alert, and its threshold.
THRESHOLDS = {
    "JourneysMessagesFail": 0.05,  # /1: e-mail send failures > 5%
    "JourneysApiFails": 5,  # /1: timeout errors
    "JourneysApiTurnsAway": 0,  # /1: throttling
    "JourneysBounces": 0.05,  # /1: bounce rate > 5%
    "JourneysQueueLong": 10_000,  # /3: queue size exceeds 10,000 events
    "JourneysHandoversFail": 0.05,  # /3: sync failure rate > 5%
    "JourneysEventsLate": 5 * 60,  # /3: event processing lag > 5 minutes
    "JourneysApiSlow": 0,  # /3: API response time > 5 seconds (the bucket)
    "JourneysEventsParkedForADay": 24 * 3600,  # /3: failed events older than 24 hours
    "JourneysUnsubscribes": 0.02,  # /3: unsubscribe rate > 2%
    "JourneysEventsParked": 0,  # /3: after max retries
}


def labels() -> dict[str, set[str]]:
    """Our metrics with their labels; those that only the database knows included."""
    ours: dict[str, set[str]] = {
        metric._name: set(metric._labelnames)
        for metric in REGISTRY._collector_to_names
        if hasattr(metric, "_labelnames")
    }
    return ours | {family.name: set(family._labelnames) for family in Backlog("", system_now).describe()}


def families() -> set[str]:
    return {name for name in labels() if name.startswith("journeys_")}


def test_the_page_lists_every_metric_with_its_labels() -> None:
    """A metric that is added or renamed takes its documents along."""
    rows = re.findall(r"^\| `(journeys_\w+)` \| [^|]+ \|([^|]*)\|", TEXT, re.MULTILINE)

    assert {name: set(re.findall(r"`(\w+)`", told)) for name, told in rows} == {
        name: known for name, known in labels().items() if name in families()
    }


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_every_rule_can_be_evaluated_and_leads_to_its_runbook(rule: dict[str, Any]) -> None:
    """An alert on a metric that does not exist stays silent for ever."""
    promql_parser.parse(rule["expr"])
    known = labels()
    for name, matchers in re.findall(r"(journeys_\w+)(?:\{([^}]*)\})?", rule["expr"]):
        family = re.sub(r"_(total|count|sum|bucket)$", "", name)
        assert family in known, name
        assert set(re.findall(r"(\w+)=", matchers)) <= known[family] | {"le"}
    runbook, _, anchor = rule["annotations"]["runbook_url"].partition("#")

    assert re.fullmatch(r"\d+m", rule["for"])
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert rule["labels"]["team"] in {"administrators", "marketing"}
    assert (ROOT / runbook, anchor in anchors(PAGE)) == (PAGE, True)
    assert rule["annotations"]["summary"]


def test_the_values_that_rules_ask_for_can_occur() -> None:
    """A misspelt result would never ring."""
    samples = {(s.name, k, v) for family in REGISTRY.collect() for s in family.samples for k, v in s.labels.items()}
    by_hand = {("journeys_events_open", "state"), ("journeys_events_oldest_seconds", "state")}
    by_hand |= {("journeys_messages_oldest_seconds", "state"), ("journeys_http_request_seconds_count", "status")}
    states = {"pending", "applied", "parked", "sending", "429", "499", "500", "503", "5.0"}
    for rule in RULES:
        for name, matchers in re.findall(r"(journeys_\w+)\{([^}]*)\}", rule["expr"]):
            for label, values in re.findall(r'(\w+)=~?"([^"]+)"', matchers):
                for value in values.split("|"):
                    if (name, label) in by_hand or label == "le":
                        assert value in states
                    else:
                        assert (name, label, value) in samples


def test_every_threshold_of_the_requirements_has_its_alert() -> None:
    """With the number that stands there."""
    expressions = {rule["alert"]: rule["expr"] for rule in RULES}
    limits = {
        name: float(re.findall(r"[><]=? ([\d.]+)", expressions[name])[0]) for name in THRESHOLDS if name in expressions
    }

    assert limits == THRESHOLDS
    assert 'le="5.0"' in expressions["JourneysApiSlow"]


def test_every_rule_names_its_source_and_stands_on_the_page() -> None:
    """Who asked for it, and what to do."""
    text = ALERTS.read_text(encoding="utf-8")
    told = re.findall(r"((?:^ +#.*\n)+) +- alert: (\w+)", text, re.MULTILINE)

    assert [name for _, name in told] == [rule["alert"] for rule in RULES]
    assert all(re.search(r"requirements/\d|docs/|https://|The same", comment) for comment, _ in told)
    assert {rule["alert"] for rule in RULES} == set(re.findall(r"`(Journeys\w+)`", TEXT))
