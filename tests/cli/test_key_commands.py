"""Keys from the terminal: made with scopes, listed with their state, rotated with an overlap."""

import json
from typing import Any

import pytest

from tests.cli.test_commands import Run, run

__all__ = ["run"]


def test_a_rotated_key_is_listed_as_ending_beside_its_successor(run: Run, store: Any) -> None:
    """For programs and for people, and never with the secret."""
    made = run("key", "create", "api", "--scope", "read", "--scope", "write", "--name", "shop", "--store", "mugs")
    old = json.loads(made[1])
    new = json.loads(run("key", "rotate", old["id"], "--overlap", "PT6H", "--store", "mugs")[1])
    run("key", "limit", new["id"], "--per-second", "2", "--burst", "20", "--store", "mugs")

    assert (old["scopes"], old["key"][:4], new["replaces"]) == (["read", "write"], "api_", old["id"])
    listed = {key["key_id"]: key for key in json.loads(run("key", "list", "--json", "--store", "mugs")[1])}
    told = [listed[one] for one in (old["id"], new["id"])]
    assert [(key["state"], key["replaced_by"]) for key in told] == [("ending", new["id"]), ("active", None)]
    assert [key["limit"] for key in told] == [None, {"per_second": 2.0, "burst": 20}]
    lines = run("key", "list", "--store", "mugs")[1]
    assert ("ending until" in lines, old["key"] in lines, new["key"] in lines) == (True, False, False)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("create", "api"), "needs at least one scope"),
        (("create", "write", "--scope", "admin"), "a write key is public"),
        (("create", "write", "--name", "for ada@example.com"), "name"),
        (("rotate", "0197a1f2-0000-7c0f-9a3e-2f1f6f6f7a10", "--overlap", "soon"), "overlap"),
        (("rotate", "0197a1f2-0000-7c0f-9a3e-2f1f6f6f7a10", "--overlap", "P91D"), "overlap"),
        (("limit", "0197a1f2-0000-7c0f-9a3e-2f1f6f6f7a10", "--burst", "5"), "--per-second and --burst"),
    ],
)
def test_what_breaks_a_rule_is_refused_in_a_line(run: Run, store: Any, words: tuple[str, ...], complaint: str) -> None:
    """The line names the rule; nothing is made."""
    before = run("key", "list", "--json", "--store", "mugs")[1]
    code, out, err = run("key", *words, "--store", "mugs")

    assert (code, out, err.count("\n")) == (2, "", 1)
    assert complaint in err
    assert run("key", "list", "--json", "--store", "mugs")[1] == before


def test_origins_are_shown_as_browsers_write_them(run: Run, store: Any) -> None:
    """And taken away again by a word of its own, so that a forgotten argument opens nothing."""
    assert run("store", "origins", "--store", "mugs")[1] == "any page\n"
    assert run("store", "origins", "https://Mugs.test/", "--store", "mugs")[1] == "https://mugs.test\n"
    assert run("store", "origins", "mugs.test", "--store", "mugs")[0] == 2
    assert run("store", "origins", "https://mugs.test", "--any", "--store", "mugs")[0] == 2
    assert run("store", "origins", "--store", "mugs")[1] == "https://mugs.test\n"
    assert run("store", "origins", "--any", "--store", "mugs")[1] == "any page\n"
    assert run("store", "origins", "--store", "hats")[0] == 1
