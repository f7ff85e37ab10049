"""The commands about one run, on real runs; those that reach Temporal as processes of their own."""

import asyncio
import json
import sys
from typing import Any

import pytest

from cli.main import app
from testing import TimeSkippingShop

MUG = {"product_id": "mug", "name": "Blue mug", "price": 12.5, "quantity": 1, "currency": "EUR"}


class Terminal:
    """Runs `journeys` beside a shop, and tells its exit code, output and error output.

    What reaches Temporal ends its process at once, so it gets one of its own.
    """

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    async def __call__(self, *words: str) -> tuple[int | None, str, str]:
        if words[0] == "run":
            pipe = asyncio.subprocess.PIPE
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "cli.main", *words, stdout=pipe, stderr=pipe
            )
            out, err = await asyncio.wait_for(process.communicate(), 300)
            return process.returncode, out.decode(), err.decode()
        with pytest.raises(SystemExit) as ended:
            await asyncio.to_thread(app, words)
        code = ended.value.code
        return (code if isinstance(code, int) else 0), *self._capsys.readouterr()


@pytest.fixture
def terminal(
    shop: TimeSkippingShop, database: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Terminal:
    client = shop.env.client
    for name, value in {
        "DATABASE_URL": database,
        "JOURNEYS_STORE": shop.store_id,
        "LOGNAME": "ann@home",
        "TEMPORAL_ADDRESS": client.service_client.config.target_host,
        "TEMPORAL_NAMESPACE": client.namespace,
    }.items():
        monkeypatch.setenv(name, value)
    return Terminal(capsys)


@pytest.fixture
async def run(shop: TimeSkippingShop) -> Any:
    """Ada's run, after its first reminder."""
    await shop.subscriber()
    await shop.track("Product Added", **MUG)
    await shop.skip(minutes=61)
    await shop.until_said(1)
    return (await shop.runs("cart-recovery"))[-1]


async def test_a_run_is_found_explained_hurried_and_ended_from_a_terminal(
    shop: TimeSkippingShop, terminal: Terminal, run: Any
) -> None:
    """From the customer's address to the end of the run; what was done is part of the explanation."""
    name = str(run.run_id)
    listed = await terminal("runs", "--customer", "ada@example.com")
    skipped = await terminal("run", "skip-wait", name, "--step", "reminder-2")
    await shop.until_said(2)
    again = await terminal("run", "skip-wait", name, "--step", "reminder-2")
    left = await terminal("run", "leave", run.workflow_id, "--because", "asked the shop")
    code, story, _ = await terminal("why", name)

    assert listed[0] == 0
    assert f"{name}  cart-recovery" in listed[1]
    assert skipped == (0, "skipped: before reminder-2\n", "")
    assert (again[0], again[1]) == (1, "")
    assert "does not wait for reminder-2" in again[2]
    assert left == (0, "over: left\n", "")
    assert code == 0
    for line in (
        "began: ", "reminder-1: sent, by rule consent, because: consent [", "consented=True", "reminder-2 is sent",
        "skip_wait by cli:ann_home: before reminder-2", "leave by cli:ann_home: asked the shop", "ended: left",
    ):  # fmt: skip
        assert line in story
    assert "ada@" not in story


async def test_why_as_json_is_what_the_api_answers(terminal: Terminal, run: Any) -> None:
    """One object on standard output, for programs."""
    code, out, err = await terminal("why", str(run.run_id), "--json")
    told = json.loads(out)

    assert (code, err) == (0, "")
    assert (told["run_id"], told["next"]["step"], told["decisions"][0]["rule"]) == (
        str(run.run_id), "reminder-2", "consent",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "code", "complaint"),
    [
        (["why", "no-such-run"], 1, "there is no such run"),
        (["runs"], 2, "either --customer or --journey"),
        (["runs", "--customer", "nobody"], 1, "there is no such customer"),
        (["run", "leave", "RUN", "--because", "ann@example.com"], 2, "because: must be one line"),
        (["run", "skip-wait", "RUN", "--step", "Reminder 2"], 2, "step: must be the name of a step"),
        (["run", "skip-wait", "RUN"], 1, "Temporal does not answer"),
    ],
)
async def test_what_cannot_be_done_is_told_in_a_line(
    terminal: Terminal, run: Any, monkeypatch: pytest.MonkeyPatch, words: list[str], code: int, complaint: str
) -> None:
    """No stack trace, and the exit code says whose fault it was."""
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
    ended, out, err = await terminal(*(str(run.run_id) if word == "RUN" else word for word in words))

    assert (ended, out) == (code, "")
    assert err.startswith("journeys: ")
    assert complaint in err
    assert err.count("\n") == 1
