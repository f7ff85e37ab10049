"""Shortened addresses: which network, and never which household."""

import ipaddress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.ip_addresses import anonymised, without_addresses

ADDRESSES = st.ip_addresses().map(str)
NAMES = ("ip", "IP", "ip_address", "ipAddress", "clientIp", "requestIP", "browser_ip", "X-Real-IP", "X-Forwarded-For",
         "REMOTE_ADDR", "ipv4", "ipV6Address", "userIps", "lastLoginIp")  # fmt: skip


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_loses_its_last_octet(address: IPv4Address) -> None:
    """As requirements/2 §6.2.1 has it: its /24 is all that is left."""
    assert anonymised(str(address)) == str(IPv4Network((address, 24), strict=False).network_address)


@given(st.ip_addresses(v=6))
def test_an_ipv6_address_loses_its_last_80_bits(address: IPv6Address) -> None:
    """Its /48 is all that is left, or less; one that carries an IPv4 address there keeps no more of it than a /24."""
    short = ipaddress.ip_address(anonymised(str(address)))
    if address.ipv4_mapped is not None:
        assert str(short) == anonymised(str(address.ipv4_mapped))
    elif address.sixtofour is not None:
        assert isinstance(short, IPv6Address)
        assert str(short.sixtofour) == anonymised(str(address.sixtofour))
        assert int(short) & ((1 << 80) - 1) == 0
    else:
        assert short == IPv6Network((address, 48), strict=False).network_address


@given(ADDRESSES)
def test_shortening_twice_changes_nothing(address: str) -> None:
    """A repeated event, or one that a client has shortened, comes out the same."""
    assert anonymised(anonymised(address)) == anonymised(address)


@pytest.mark.parametrize(
    ("address", "short"),
    [
        ("203.0.113.77", "203.0.113.0"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1::"),
        ("::ffff:203.0.113.77", "203.0.113.0"),
        ("2002:cb00:714d::1", "2002:cb00:7100::"),
        ("fe80::1%eth0", "fe80::"),
        ("testclient", "testclient"),
    ],
)
def test_an_address_of_each_kind(address: str, short: str) -> None:
    """Worked by hand."""
    assert anonymised(address) == short


@given(st.sampled_from(NAMES), ADDRESSES, ADDRESSES)
def test_no_address_stays_whole_under_a_name_that_says_what_it_is(name: str, one: str, other: str) -> None:
    """At any depth, alone, in a list, with a port, or several in one text as proxies write them."""
    port = f"[{one}]:443" if ":" in one else f"{one}:443"
    payload = {"context": {name: one}, "properties": {"a": [{name: [one, other]}]}, name: f"{one}, {port};for={other}"}
    told = without_addresses(payload)
    short, shorter = anonymised(one), anonymised(other)
    with_port = f"[{short}]:443" if ":" in one else f"{short}:443"

    assert told["context"][name] == short
    assert told["properties"]["a"][0][name] == [short, shorter]
    assert told[name] == f"{short}, {with_port};for={shorter}"


def test_what_only_looks_like_an_address_is_left_alone() -> None:
    """Versions and sizes have dots, too; and what is no text stays what it is."""
    payload = {"context": {"app": {"version": "1.2.3.4"}, "ip": None}, "sku": "10.1.2.3", "tip": 3, "zip": "12345"}

    assert without_addresses(payload) == payload
