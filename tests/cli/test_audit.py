"""Whatever an operator changes stands in the audit log: a command leaves an entry, or it changes nothing of a store."""

import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from typer.main import get_command

from cli.main import COMMANDS, app
from tests.cli.test_commands import Run, park, run

__all__ = ["park", "run"]

READS = {
    "audit", "discounts show", "events parked", "journey list", "key list", "plan show", "privacy verify", "runs",
    "store show", "suppression list", "why", "dkim list", "doctor", "retention show",
}  # fmt: skip
"""These look."""
OF_NO_STORE = {
    "backtest", "cost", "health", "history record", "history check", "lint", "migrate", "new",
    "api", "router", "worker",
}  # fmt: skip
"""These work on files, on the tables themselves, or serve."""
OF_TEMPORAL = {"deploy status", "deploy promote", "deploy drain"}
"""Builds are the installation's; Temporal keeps who changed them last."""
BY_THE_WORKER = {"journey resume", "run leave", "run skip-wait"}
"""What they ask for is written down where it is done: tests/workflows/test_pause.py and test_operated.py there."""
BY_THE_STACK = {"dev", "demo"}
"""A store and its keys are made by the same functions as here."""
TOLD_FROM_OUTSIDE = {"bounces import", "bounces serve"}
"""What mail servers say becomes events."""

RULES = '{"quiet_hours": {"email": {"start": "21:00", "end": "08:00"}}}'
SECRETS = {
    "JOURNEYS_SECRET_KEYS": "a-secret-for-tests-only",
    "JOURNEYS_MASTER_KEYS": "a-master-key-for-tests-of-32-characters",
}


def changes(tmp_path: Path, key: str, customer: str) -> list[tuple[str, tuple[Any, ...], list[str]]]:
    """Every command that changes something of a store, with the entries that it must leave."""
    (codes := tmp_path / "codes.csv").write_text("code\nSPRING-1\n")
    (addresses := tmp_path / "addresses.csv").write_text("ada@example.com\n")
    (people := tmp_path / "people.csv").write_text("email\nada@example.com\n")
    dkim = ("--domain", "mugs.test", "--selector", "s1")
    limit = ("--per-second", "5", "--burst", "50")
    store = ("--name", "Hats", "--url", "https://hats.test", "--sender-email", "a@hats.test", "--address", "1 Lane")
    return [
        ("store create", ("hats", *store), ["store_created", "sending_rules_set", "key_created", "key_created"]),
        ("store set", (RULES,), ["sending_rules_set"]),
        ("store origins", ("https://mugs.test",), ["origins_set"]),
        ("store origins", ("--any",), ["origins_set"]),
        ("store origins", (), []),
        ("store limit", limit, ["limit_set"]),
        ("store limit", ("--default",), ["limit_set"]),
        ("key create", ("api", "--scope", "read"), ["key_created"]),
        ("key limit", (key, *limit), ["limit_set"]),
        ("key rotate", (key,), ["key_rotated"]),
        ("key revoke", (key,), ["key_revoked"]),
        ("key revoke", (key,), []),
        ("plan set", ("welcome", "{}"), ["plan_set"]),
        ("journey pause", ("welcome",), ["pause"]),
        ("discounts import", (codes, "--pool", "spring"), ["discounts_imported"]),
        ("discounts supply", ("spring", "https://shop.test/"), ["provider_secret_added", "code_source_set"]),
        ("discounts supply", ("spring", "https://shop.test/", "--low", "5"), ["code_source_set"]),
        ("discounts unsupply", ("spring",), ["code_source_forgotten"]),
        ("discounts top-up", (), []),
        ("events retry", (), ["events_retried"]),
        ("events retry", (), []),
        ("suppression add", ("ada@example.com",), ["suppress"]),
        ("suppression import", (addresses,), ["suppress"]),
        ("suppression remove", ("ada@example.com",), ["unsuppress"]),
        ("provider set", ("mailgun",), ["provider_secret_added"]),
        ("provider set", ("mailgun",), []),
        ("privacy rewrap", (), ["keys_rewrapped"]),
        ("provider forget", ("mailgun",), ["provider_secrets_forgotten"]),
        ("import", (people, "--jobs", "1"), ["customers_imported"]),
        ("dkim create", (*dkim, "--kind", "ed25519"), ["dkim_key_created"]),
        ("dkim start", (*dkim, "--unchecked"), ["dkim_key_started"]),
        ("dkim forget", dkim, ["dkim_key_forgotten"]),
        ("retention set", ("{}",), ["retention_set"]),
        ("retention run", (), []),
        ("privacy export", (customer, "--output", tmp_path / "export.zip"), ["export"]),
        ("privacy erase", (customer, "--yes"), ["erase"]),
    ]


def commands() -> Iterator[str]:
    """Every command there is."""
    program: Any = get_command(app)
    for name in (*COMMANDS, *program.commands):
        command = program.get_command(None, name)
        nested = getattr(command, "commands", None)
        yield from [name] if nested is None else (f"{name} {inner}" for inner in nested)


def test_each_command_changes_nothing_or_is_tried_here(tmp_path: Path) -> None:
    """A command that is added has to say which."""
    tried = {name for name, *_ in changes(tmp_path, "", "")}
    untried = READS | OF_NO_STORE | OF_TEMPORAL | BY_THE_WORKER | BY_THE_STACK | TOLD_FROM_OUTSIDE

    assert tried & untried == set()
    assert set(commands()) == tried | untried


def test_each_change_leaves_its_entry(
    run: Run, store: Any, park: Callable[[str], Any], database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With who did it, once, and without an address or a secret (G8); what changes nothing leaves none."""
    monkeypatch.setattr("os._exit", sys.exit)  # as commands end that use Temporal
    park("mugs")
    customer = str(uuid4())
    with psycopg.connect(database) as connection:
        connection.execute(
            "insert into customers (store_id, customer_id, email, created_at) values ('mugs', %s, 'bob@x.test', now())",
            [customer],
        )
    key = json.loads(run("key", "create", "write", "--store", "mugs")[1])["id"]

    def audited() -> list[tuple[str, str, str]]:
        with psycopg.connect(database) as connection:
            return connection.execute("select by, action, subject || detail from audit").fetchall()

    seen = audited()
    for name, words, expected in changes(tmp_path, key, customer):
        for setting, value in SECRETS.items():
            # A secret that is kept before there is a master key is what `rewrap` seals.
            monkeypatch.setenv(setting, value) if name.startswith("privacy") else monkeypatch.delenv(setting, False)
        monkeypatch.setattr("sys.stdin", io.StringIO("a-secret-of-mailgun\n"))
        with_store = () if name in {"store create", "privacy rewrap", "retention run"} else ("--store", "mugs")
        code, _, err = run(*name.split(), *words, *with_store)
        entries = audited()
        new = [entry for entry in entries if entry not in seen]
        stores = 2 if name == "privacy rewrap" else 1  # a master key is every store's
        assert sorted(action for _, action, _ in new) == sorted(expected * stores), (name, code, err)
        assert all(by.startswith("cli:") for by, *_ in new), name
        seen = entries

    told = str(seen)
    for secret in ("ada@example.com", "bob@x.test", "a-secret-of-mailgun", *SECRETS.values()):
        assert secret not in told


def test_the_audit_log_is_shown_newest_first_and_filtered(run: Run, store: Any) -> None:
    """For people in lines, for programs as JSON; nothing of another store (G7)."""
    run("journey", "pause", "welcome", "--store", "mugs")
    run("key", "create", "write", "--store", "mugs")

    lines = run("audit", "--store", "mugs")[1].splitlines()
    assert [line.split("  ")[2] for line in lines[:2]] == ["key_created", "pause"]
    listed = json.loads(run("audit", "--json", "--action", "pause", "--store", "mugs")[1])
    assert [(entry["action"], entry["subject"]) for entry in listed] == [("pause", "journey:welcome")]
    assert run("audit", "--subject", "journey:none", "--store", "mugs")[1] == ""
    assert run("audit", "--store", "hats")[0] == 1
