"""`journeys dkim`, on a real database."""

import re

import pytest

from tests.cli.test_bounce_commands import Run, run

__all__ = ["run"]

HERE = ("--domain", "mugs.test", "--selector", "j1")


def test_a_key_is_made_published_started_and_forgotten(run: Run) -> None:
    """What is printed is a line for a zone file, in strings of at most 255 characters (RFC 1035 §3.3.14)."""
    code, made, hint = run("dkim", "create", *HERE)
    strings = re.findall(r'"([^"]*)"', made)

    assert code == 0
    assert re.match(r'j1\._domainkey\.mugs\.test\. IN TXT "v=DKIM1; k=rsa; p=', made)
    assert [len(text) <= 255 for text in strings] == [True, True]
    assert "journeys dkim start --store mugs --domain mugs.test --selector j1" in hint
    assert "does not sign" in run("dkim", "list")[1]
    assert run("dkim", "start", *HERE, "--unchecked")[0] == 0
    _, listed, _ = run("dkim", "list")
    assert "signs since" in listed
    assert made in listed
    assert run("dkim", "forget", *HERE)[0] == 0
    assert run("dkim", "list")[1] == ""


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("create", "--domain", "mugs", "--selector", "j1"), 2, "domain"),
        (("create", "--domain", "mügs.test", "--selector", "j1"), 2, "xn--"),
        (("create", "--domain", "mugs.test", "--selector", "j_1"), 2, "selector"),
        (("create", *HERE, "--store", "nobody"), 1, "no store 'nobody'"),
        (("start", *HERE), 1, "no key 'j1' for mugs.test"),
        (("forget", *HERE), 1, "no key 'j1' for mugs.test"),
    ],
)
def test_what_cannot_be_is_told_in_a_line(run: Run, words: tuple[str, ...], code: int, said: str) -> None:
    """Before anything is changed."""
    left, _, error = run("dkim", *words)

    assert left == code
    assert said in error
