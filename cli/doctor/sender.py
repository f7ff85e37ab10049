"""The sender's domain in DNS: may we send for it (SPF), is our signature known (DKIM), does it say so (DMARC)?

Gmail and Yahoo ask all three of whoever sends 5,000 mails a day (https://support.google.com/a/answer/81126). DMARC
wants one of the other two to be *aligned*: for the domain that the reader sees in From, or one related to it.
"""

import re
from collections.abc import Sequence

from dns.asyncresolver import Resolver
from dns.exception import DNSException
from dns.name import LabelTooLong, NameTooLong
from dns.resolver import NXDOMAIN, NoAnswer

from adapters.postgres.dkim_keys import KeptKey
from cli.doctor.finding import Finding, ok, problem, warning
from domain.errors import Unavailable
from domain.values import Value

_RESERVED = re.compile(r"(?:^|\.)(?:example(?:\.(?:com|net|org))?|test|invalid|localhost|local)$")
"""Names that stand for nobody (RFC 2606, RFC 6761, RFC 6762)."""
_MAX_LOOKUPS = 10  # RFC 7208 §4.6.4
_COSTS_A_LOOKUP = re.compile(r"[+?~-]?(?:include:|a(?:[:/]|$)|mx(?:[:/]|$)|ptr|exists:)|redirect=")


class Sender(Value):
    """Whose mail is looked at.

    Attributes:
        host: The domain that the reader sees in From.
        returns_to: The domain of the return path; SPF is about that one.
        keys: The store's own DKIM keys.
        selectors: Of those who sign for the store instead.
    """

    store_id: str
    host: str
    returns_to: str
    keys: tuple[KeptKey, ...] = ()
    selectors: tuple[str, ...] = ()


async def check_sender(resolver: Resolver, sender: Sender) -> list[Finding]:
    """Check what DNS says of a sender's domain."""
    name = f"dns {sender.store_id}"
    if _RESERVED.search(sender.host):
        return [
            warning(
                name,
                f"{sender.host} is a name for examples (RFC 2606), which no reader's server believes",
                "give the store a sender of a domain that you own",
            )
        ]
    try:
        dmarc, policy_domain = await _dmarc(resolver, sender, name)
        spf = await _spf(resolver, sender, name)
        dkim = await _dkim(resolver, sender, name)
        back = await _mail_exchanger(resolver, sender, name)
        aligned = _alignment(sender, name, policy_domain, spf_good=spf.level != "problem", dkim=dkim)
    except Unavailable as why:
        return [warning(name, f"{sender.host}: {why}", "ask again from a machine whose DNS works: journeys doctor")]
    return [spf, *dkim, *dmarc, *aligned, *back]


async def texts(resolver: Resolver, name: str) -> list[str]:
    """Return the TXT records of a name, each joined (RFC 7208 §3.3); none if there is no such name.

    Raises:
        Unavailable: DNS does not answer.
    """
    try:
        answer = await resolver.resolve(name, "TXT", search=False)
    except (NXDOMAIN, NoAnswer, LabelTooLong, NameTooLong):
        return []
    except DNSException as error:
        raise Unavailable(f"DNS could not be asked: {type(error).__name__}") from error
    return [b"".join(found.strings).decode("utf-8", "replace") for found in answer]


async def amiss(resolver: Resolver, key: KeptKey) -> str | None:
    """Say what is wrong with the record of a key of ours; None if readers' servers find it.

    Raises:
        Unavailable: DNS does not answer.
    """
    records = [text for text in await texts(resolver, key.name) if "p=" in text]
    if not records:
        return f"no record at {key.name}"
    if len(records) > 1:
        return f"{len(records)} records at {key.name}, of which readers' servers take any"
    if _tag(records[0], "p") != key.public:
        return f"the record at {key.name} is of another key"
    return None


async def _own_key(resolver: Resolver, key: KeptKey, sender: Sender, check: str) -> Finding:
    why = await amiss(resolver, key)
    if why is not None:
        worse = problem if key.signs_since else warning
        return worse(check, f"DKIM: {why}", f"publish as its one TXT record: {key.record}")
    if not key.signs_since:
        start = f"journeys dkim start --store {sender.store_id} --domain {key.domain} --selector {key.selector}"
        return warning(check, f"DKIM: {key.name} is published, and its key does not sign yet", start)
    return ok(check, f"DKIM: mail is signed ({key.algorithm}), and {key.name} has the key")


async def _spf(resolver: Resolver, sender: Sender, check: str) -> Finding:
    host = sender.returns_to
    found = [text for text in await texts(resolver, host) if re.match(r"v=spf1(?: |$)", text, re.IGNORECASE)]
    if not found:
        fix = f'publish at {host} as TXT: "v=spf1 include:YOUR-MAIL-PROVIDER -all" (RFC 7208)'
        return problem(check, f"SPF: {host} does not say who may send for it", fix)
    if len(found) > 1:
        return problem(check, f"SPF: {host} has {len(found)} records, so none counts", "join them (RFC 7208 §4.5)")
    terms = found[0].split()[1:]
    if any(term.lower() in {"all", "+all"} for term in terms):
        return problem(check, f"SPF: {host} lets everybody send for it (+all)", "end the record with -all or ~all")
    lookups = await _lookups(resolver, terms, {host})
    if lookups > _MAX_LOOKUPS:
        fix = "leave out what is not used; a reader's server gives up after 10 (RFC 7208 §4.6.4)"
        return problem(check, f"SPF: {host} takes {lookups} look-ups, so it does not count", fix)
    if not any(re.fullmatch(r"[?~-]all", term.lower()) or term.lower().startswith("redirect=") for term in terms):
        return warning(check, f"SPF: {host} says nothing of everybody else", "end the record with -all or ~all")
    return ok(check, f"SPF: {host}: {found[0]}")


async def _lookups(resolver: Resolver, terms: Sequence[str], seen: set[str]) -> int:
    """Count the look-ups that a record costs, those of what it includes among them."""
    count = 0
    for term in terms:
        if not _COSTS_A_LOOKUP.match(term.lower()):
            continue
        count += 1
        match = re.match(r"[+?~-]?(?:include:|redirect=)([^%/]+)$", term, re.IGNORECASE)
        if match is None or match[1].lower() in seen or count > _MAX_LOOKUPS:
            continue
        seen.add(match[1].lower())
        for text in await texts(resolver, match[1]):
            if text.lower().startswith("v=spf1"):
                count += await _lookups(resolver, text.split()[1:], seen)
    return count


async def _dkim(resolver: Resolver, sender: Sender, check: str) -> list[Finding]:
    found = [await _own_key(resolver, key, sender, check) for key in sender.keys]
    for selector in sender.selectors:
        name = f"{selector}._domainkey.{sender.host}"
        keys = [text for text in await texts(resolver, name) if _tag(text, "p")]
        fix = f"take the record from whoever signs, and publish it at {name}"
        found.append(ok(check, f"DKIM: {name} has a key") if keys else problem(check, f"DKIM: no key at {name}", fix))
    if not found:
        fix = "if your mail provider signs: journeys doctor --selector ITS-SELECTOR; else: journeys dkim create"
        found.append(warning(check, f"DKIM: Journeys does not sign for {sender.host}, and no selector was named", fix))
    return found


async def _dmarc(resolver: Resolver, sender: Sender, check: str) -> tuple[list[Finding], str | None]:
    """Find the policy of a domain, or of the nearest one above it that has one."""
    labels = sender.host.split(".")
    for depth in range(len(labels) - 1):
        domain = ".".join(labels[depth:])
        found = [text for text in await texts(resolver, f"_dmarc.{domain}") if text.startswith("v=DMARC1")]
        if len(found) > 1:
            several = f"DMARC: _dmarc.{domain} has {len(found)} records, so none counts"
            return [problem(check, several, "leave one")], domain
        if found:
            policy = _tag(found[0], "p") or "none"
            if policy == "none":
                only = f"DMARC: _dmarc.{domain} only watches (p=none)"
                fix = "once its reports show no mail of yours that fails: p=quarantine, then p=reject"
                return [warning(check, only, fix)], domain
            return [ok(check, f"DMARC: _dmarc.{domain}: {found[0]}")], domain
    fix = f'publish at _dmarc.{sender.host} as TXT: "v=DMARC1; p=none; rua=mailto:dmarc@{sender.host}" (RFC 7489)'
    return [problem(check, f"DMARC: {sender.host} has no policy; Gmail and Yahoo refuse bulk mail without", fix)], None


def _alignment(
    sender: Sender, check: str, policy_domain: str | None, *, spf_good: bool, dkim: Sequence[Finding]
) -> list[Finding]:
    """Say whether one of the two passes for the domain in From; related are domains under one policy."""
    if policy_domain is None:
        return []
    related = sender.returns_to == sender.host or _below(sender.returns_to, policy_domain)
    by_key = any(key.signs_since for key in sender.keys) or bool(sender.selectors)
    by_key = by_key and not any(finding.level == "problem" for finding in dkim)
    ways = [way for way, good in (("SPF", related and spf_good), ("DKIM", by_key)) if good]
    if ways:
        return [ok(check, f"alignment: {' and '.join(ways)} can pass for {sender.host}, which is all that DMARC asks")]
    why = "" if related else f": mail comes back to {sender.returns_to}, which is not under {policy_domain}"
    fix = f"sign with a key of {sender.host} (journeys dkim create), or let mail come back to a domain below it"
    return [problem(check, f"alignment: neither SPF nor DKIM passes for {sender.host}{why}", fix)]


async def _mail_exchanger(resolver: Resolver, sender: Sender, check: str) -> list[Finding]:
    """Ask whether returned mail finds a server."""
    host = sender.returns_to
    try:
        for kind in ("MX", "A", "AAAA"):
            try:
                answer = await resolver.resolve(host, kind, search=False)
            except NoAnswer:
                continue
            if kind == "MX" and any(str(record.exchange) == "." for record in answer):
                break  # a null MX: it takes no mail (RFC 7505)
            return [ok(check, f"bounces: {host} takes returned mail")]
    except NXDOMAIN:
        pass
    except DNSException as error:
        raise Unavailable(f"DNS could not be asked: {type(error).__name__}") from error
    fix = f"publish an MX record at {host}, or set JOURNEYS_BOUNCE_ADDRESS (docs/bounces.md)"
    return [problem(check, f"bounces: {host} takes no mail, so what cannot be delivered is never heard of", fix)]


def _below(host: str, domain: str) -> bool:
    return host == domain or host.endswith(f".{domain}")


def _tag(record: str, name: str) -> str | None:
    """Read a tag of a record (RFC 6376 §3.2)."""
    for part in record.split(";"):
        tag, _, value = part.partition("=")
        if tag.strip() == name:
            return re.sub(r"\s+", "", value)
    return None
