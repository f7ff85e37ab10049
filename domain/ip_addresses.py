"""IP addresses: shortened before they are stored, so that what is kept names a network and no household.

IPv4 loses its last octet (requirements/2 §6.2.1, `anonymize_ip`), IPv6 its last 80 bits; the source's own function
forgets IPv6. Both are what Google Analytics called IP masking (support.google.com/analytics/answer/2763052).
"""

import ipaddress
import re
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from domain.vocabulary import Habits, folded

_ENDINGS = ("ip", "ips", "ipv4", "ipv6")
_PARTS = ("ipaddr", "ipv4", "ipv6", "forwarded", "remoteaddr", "remotehost")
"""How names end, and what is in them, in letters and digits alone: `clientIp`, `ip_address`, `X-Forwarded-For`.

A name such as `zip` is taken for one as well, which does no harm: only what can be read as an address is changed.
"""
_ONE_OF_MANY = re.compile(r"[^\s,;\"=]+")
_BYTE = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_PLAIN = re.compile(rf"({_BYTE}\.{_BYTE}\.{_BYTE}\.){_BYTE}", re.ASCII)
"""IPv4 as nearly everybody writes it."""
_WITH_PORT = re.compile(r"\[(?P<six>[^\]]+)\](?P<six_port>:\d+)?|(?P<four>\d+\.\d+\.\d+\.\d+)(?P<four_port>:\d+)")


def _named_so(name: str) -> bool:
    plain = folded(name)
    return plain.endswith(_ENDINGS) or any(part in plain for part in _PARTS)


_says_address = Habits(_named_so)
"""Whether a name says that an address stands under it."""


def anonymised(address: str) -> str:
    """Shorten an address; what is none stays as it is.

    An IPv4 address that an IPv6 one carries in the bits that stay (mapped, 6to4) is shortened as well.
    """
    if (plain := _PLAIN.fullmatch(address)) is not None:
        return f"{plain[1]}0"
    try:
        parsed = ipaddress.ip_address(address.strip())
    except ValueError:
        return address
    return str(_shortened(parsed))


def without_addresses(payload: Any, name: str = "") -> Any:
    """Shorten every address in JSON that stands under a name that says so, at any depth.

    Other numbers with dots (versions, sizes) are left alone, so it is the name that tells: `context.ip`,
    `ip_address`, `browserIp`, `X-Forwarded-For`. A text may hold several, and ports.
    """
    # What need not be changed is not copied: most of what comes in.
    if isinstance(payload, dict):
        changed = {}
        for key, value in payload.items():
            if isinstance(value, str):
                if _says_address[key]:
                    changed[key] = _each_shortened(value)
            elif isinstance(value, (dict, list)) and (short := without_addresses(value, key)) is not value:
                changed[key] = short
        return payload | changed if changed else payload
    if isinstance(payload, list):
        parts = [without_addresses(value, name) for value in payload]
        same = all(part is value for part, value in zip(parts, payload, strict=True))
        return payload if same else parts
    if isinstance(payload, str) and name and _says_address[name]:
        return _each_shortened(payload)
    return payload


def written(address: str) -> str:
    """Write an address as everybody does.

    Raises:
        ValueError: It is none.
    """
    return address if _PLAIN.fullmatch(address) else str(ipaddress.ip_address(address))


def _each_shortened(text: str) -> str:
    """Shorten the addresses in a text, which nearly always is one."""
    if (plain := _PLAIN.fullmatch(text)) is not None:
        return f"{plain[1]}0"
    return _ONE_OF_MANY.sub(lambda found: _one(found[0]), text)


def _one(text: str) -> str:
    match = _WITH_PORT.fullmatch(text)
    if match is None:
        return anonymised(text)
    if match["six"] is not None:
        return f"[{anonymised(match['six'])}]{match['six_port'] or ''}"
    return f"{anonymised(match['four'])}{match['four_port']}"


def _shortened(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    if isinstance(address, IPv4Address):
        return IPv4Address(int(address) >> 8 << 8)
    if address.ipv4_mapped is not None:
        return _shortened(address.ipv4_mapped)
    kept = int(address) >> 80 << 80
    if address.sixtofour is not None:  # 2002:AABB:CCDD::/48 is the IPv4 address AA.BB.CC.DD
        kept = int(address) >> 88 << 88
    return IPv6Address(kept)
