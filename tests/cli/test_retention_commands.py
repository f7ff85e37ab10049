"""`journeys retention`, on a real database."""

import json
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from cli.main import app
from domain.errors import InvalidInput

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(database: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command on the test's database; return its exit code, output and error output."""
    monkeypatch.setenv("DATABASE_URL", database)

    def run(*words: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            app([str(word) for word in words])
        out, err = capsys.readouterr()
        return (ended.value.code if isinstance(ended.value.code, int) else 0), out, err

    return run


def test_a_policy_is_set_shown_and_enforced(run: Run, store: Any, database: str) -> None:
    """What goes is said before it goes; what plans need longer is said as well; all of it is in the audit log."""
    mine = ("--store", store.store_id)
    with psycopg.connect(database) as connection:
        connection.execute("""
            insert into events (store_id, id, message_id, type, payload, at, received_at, shard, state)
            select %s, uuidv7(make_interval(days => -n)), n, 'track', '{}', now(), now(), 1, 'routed'
              from unnest(array[10, 50, 200]) n
        """, [store.store_id])  # fmt: skip
    code, out, err = run("retention", "set", '{"events": "P30D", "messages": "P90D"}', *mine)
    assert (code, err) == (0, "")
    _, out, err = run("retention", "show", *mine)
    assert json.loads(out) == {
        "events": "P30D", "views": "P90D", "messages": "P90D", "decisions": "P1Y", "audit": None,
        "consent_ip": "anonymised",
    }  # fmt: skip
    run("plan", "set", "cart-recovery", '{"cool_down": "P100D"}', *mine)
    assert (
        "messages are kept 107 days as it is: cool_down of cart-recovery looks back so far"
        in run("retention", "show", *mine)[2]
    )

    assert json.loads(run("retention", "run", "--dry-run", "--json")[1])["rows"] == {"mugs": {"events": 2}}
    assert "mugs: 2 events" in run("retention", "run")[1]
    assert "nothing was old enough" in run("retention", "run")[1]
    with psycopg.connect(database) as connection:
        assert connection.execute("select message_id from events").fetchall() == [("10",)]
        actions = connection.execute("select action from audit where by like 'cli:%' order by at").fetchall()
    assert [action for (action,) in actions] == ["retention_set", "plan_set", "retention"]


@pytest.mark.parametrize("policy", ['{"messages": "P59D"}', '{"views": "P1D"}', '{"consents": "P1D"}', "[]", "@none"])
def test_a_policy_that_may_not_be_is_refused(run: Run, store: Any, policy: str) -> None:
    """Exit code 2, with the field and the rule."""
    code, _, err = run("retention", "set", policy, "--store", store.store_id)

    assert code == InvalidInput.status_code // 200
    assert err.startswith("journeys: ")
