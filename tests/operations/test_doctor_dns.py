"""What DNS says of a sender's domain, asked of a real name server."""

from datetime import UTC, datetime
from typing import Any

import pytest

from adapters.postgres.dkim_keys import KeptKey
from cli.doctor.finding import Finding, Level
from cli.doctor.sender import Sender, check_sender
from cli.stack import ports
from tests.operations.name_server import Zone, name_server

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)
KEY = KeptKey(
    domain="mugs.shop", selector="j1", algorithm="ed25519-sha256", public="cHVibGlj" * 5, created_at=NOON,
    signs_since=NOON,
)  # fmt: skip
GOOD: Zone = {
    "mugs.shop": {"TXT": ['"v=spf1 include:_spf.mailer.shop -all"', '"unrelated"'], "MX": ["10 mx.mugs.shop."]},
    "_spf.mailer.shop": {"TXT": ['"v=spf1 ip4:192.0.2.0/24 -all"']},
    "_dmarc.mugs.shop": {"TXT": ['"v=DMARC1; p=quarantine; rua=mailto:d@mugs.shop"']},
    "j1._domainkey.mugs.shop": {"TXT": [f'"{KEY.record[:30]}" "{KEY.record[30:]}"']},
}
SENDER = Sender(store_id="mugs", host="mugs.shop", returns_to="mugs.shop", keys=(KEY,))


async def found(zone: Zone, **changes: Any) -> list[Finding]:
    async with name_server(zone) as resolver:
        return await check_sender(resolver, SENDER.model_copy(update=changes))


def bad(findings: list[Finding], level: Level = Level.PROBLEM) -> list[str]:
    """What is wrong, each with something to do about it."""
    assert all(finding.fix for finding in findings if finding.level is not Level.OK)
    return [finding.said for finding in findings if finding.level is level]


async def test_a_domain_that_is_set_up_well_has_nothing_to_mend() -> None:
    """SPF, the key's record in two strings, DMARC, alignment and a server for returned mail."""
    findings = await found(GOOD)

    assert [finding.level for finding in findings] == [Level.OK] * 5
    assert "SPF and DKIM can pass" in findings[3].said


SPF = "mugs.shop", "TXT"
PROBLEMS = [
    (SPF, ['"unrelated"'], "SPF: mugs.shop does not say who may send"),
    (SPF, ['"v=spf10 -all"'], "SPF: mugs.shop does not say who may send"),
    (SPF, ['"v=spf1 -all"', '"v=spf1 mx -all"'], "SPF: mugs.shop has 2 records"),
    (SPF, ['"v=spf1 +all"'], "SPF: mugs.shop lets everybody send"),
    (SPF, ['"v=spf1 all"'], "SPF: mugs.shop lets everybody send"),
    (SPF, [f'"v=spf1 {" ".join(f"a:{n}.mugs.shop" for n in range(10))} include:_spf.mailer.shop -all"'], "11 look-ups"),
    (("_spf.mailer.shop", "TXT"), [f'"v=spf1 {" ".join(f"include:{n}.m.shop" for n in range(10))}"'], "11 look-ups"),
    (("_dmarc.mugs.shop", "TXT"), ['"v=DMARC1; p=none"', '"v=DMARC1; p=reject"'], "has 2 records"),
    (("_dmarc.mugs.shop", "TXT"), ['"something else"'], "DMARC: mugs.shop has no policy"),
    (("j1._domainkey.mugs.shop", "TXT"), ['"v=DKIM1; k=ed25519; p=b3RoZXI="'], "is of another key"),
    (("j1._domainkey.mugs.shop", "TXT"), ['"v=DKIM1; k=ed25519; p="'], "is of another key"),
    (("j1._domainkey.mugs.shop", "TXT"), [], "no record at j1._domainkey.mugs.shop"),
    (("mugs.shop", "MX"), ["0 ."], "bounces: mugs.shop takes no mail"),
    (("mugs.shop", "MX"), [], "bounces: mugs.shop takes no mail"),
]


@pytest.mark.parametrize(("place", "records", "said"), PROBLEMS)
async def test_each_record_that_harms_is_a_problem(place: tuple[str, str], records: list[str], said: str) -> None:
    """And only that one is."""
    name, kind = place
    findings = await found({**GOOD, name: {**GOOD[name], kind: records}})

    assert len(bad(findings)) == 1
    assert said in bad(findings)[0]


@pytest.mark.parametrize(
    ("place", "records", "said"),
    [
        (SPF, ['"v=spf1 mx"'], "says nothing of everybody else"),
        (("_dmarc.mugs.shop", "TXT"), ['"v=DMARC1; p=none"'], "only watches"),
    ],
)
async def test_what_works_and_could_be_better_is_a_warning(
    place: tuple[str, str], records: list[str], said: str
) -> None:
    """It does not fail a deployment."""
    name, kind = place
    findings = await found({**GOOD, name: {**GOOD[name], kind: records}})

    assert bad(findings) == []
    assert said in bad(findings, Level.WARNING)[0]


async def test_a_key_that_waits_for_its_record_is_no_problem_and_one_that_could_start_says_how() -> None:
    """It does not sign yet, so nobody misses it."""
    waiting = KEY.model_copy(update={"signs_since": None})
    missing = await found({**GOOD, "j1._domainkey.mugs.shop": {}}, keys=(waiting,))
    there = await found(GOOD, keys=(waiting,))

    assert bad(missing) == bad(there) == []
    assert any(finding.fix == f"publish as its one TXT record: {KEY.record}" for finding in missing)
    start = "journeys dkim start --store mugs --domain mugs.shop --selector j1"
    assert any(finding.fix == start for finding in there)


async def test_alignment_wants_one_of_the_two_to_pass_for_what_the_reader_sees() -> None:
    """Returned mail to a foreign domain passes SPF for that one only; a signature makes up for it."""
    foreign = {**GOOD, "bounces.mailer.shop": {"TXT": ['"v=spf1 mx -all"'], "MX": ["10 mx.mailer.shop."]}}
    below = {**GOOD, "bounces.mugs.shop": {"TXT": ['"v=spf1 mx -all"'], "MX": ["10 mx.mugs.shop."]}}

    assert bad(await found(foreign, returns_to="bounces.mailer.shop")) == []
    (unaligned,) = bad(await found(foreign, returns_to="bounces.mailer.shop", keys=()))
    assert "neither SPF nor DKIM passes for mugs.shop" in unaligned
    assert bad(await found(below, returns_to="bounces.mugs.shop", keys=())) == []


async def test_the_policy_of_a_domain_above_holds_for_a_host_below() -> None:
    """RFC 7489 §6.6.3: news.mugs.shop asks _dmarc.news.mugs.shop, then _dmarc.mugs.shop."""
    zone = {**GOOD, "news.mugs.shop": GOOD["mugs.shop"]}
    findings = await found(zone, host="news.mugs.shop", returns_to="mugs.shop")

    assert bad(findings) == []
    assert any(finding.said.startswith("DMARC: _dmarc.mugs.shop: v=DMARC1") for finding in findings)


async def test_the_selector_of_whoever_signs_instead_is_looked_up() -> None:
    """Most shops let their mail provider sign."""
    theirs = {**GOOD, "mailer1._domainkey.mugs.shop": {"TXT": ['"k=rsa; p=TUlJQg=="']}}

    assert bad(await found(theirs, keys=(), selectors=("mailer1",))) == []
    assert "no key at mailer2._domainkey" in bad(await found(theirs, keys=(), selectors=("mailer2",)))[0]


async def test_without_an_answer_nothing_is_claimed() -> None:
    """A machine without network learns that nothing is known, and not that all records are missing."""
    async with name_server({}) as resolver:
        resolver.port, resolver.lifetime = ports.free(), 0.2
        (finding,) = await check_sender(resolver, SENDER)

    assert finding.level is Level.WARNING
    assert "could not be asked" in finding.said


async def test_a_name_for_examples_is_not_looked_up() -> None:
    """The demo store works offline."""
    (finding,) = await found({}, host="shop.example")

    assert (finding.level, "RFC 2606" in finding.said) == (Level.WARNING, True)
