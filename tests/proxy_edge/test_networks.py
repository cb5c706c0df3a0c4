"""Caller addresses: what is one, and in which networks it lies."""

from __future__ import annotations

import ipaddress

import pytest

from proxy_edge.networks import is_address, is_within


@pytest.mark.parametrize("text", ["127.0.0.1", "::1", "2001:db8::1", "::ffff:10.0.0.1"])
def test_addresses(text: str) -> None:
    """IPv4 and IPv6, in any valid spelling."""
    assert is_address(text)


@pytest.mark.parametrize(
    "text", ["", "localhost", "127.0.0.1:80", "[::1]", "127.1", "10.0.0.0/8", " 10.0.0.1", "unknown"]
)
def test_what_is_no_address(text: str) -> None:
    """Ports, brackets, names and short forms that X-Forwarded-For might hold."""
    assert not is_address(text)
    assert not is_within(text, [ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0")])


@pytest.mark.parametrize(
    ("text", "network", "within"),
    [
        ("10.1.2.3", "10.0.0.0/8", True),
        ("11.1.2.3", "10.0.0.0/8", False),
        ("::ffff:10.1.2.3", "10.0.0.0/8", True),
        ("2001:db8::1", "2001:db8::/32", True),
        ("2001:db9::1", "2001:db8::/32", False),
        ("10.1.2.3", "2001:db8::/32", False),
        ("2001:db8::1", "10.0.0.0/8", False),
    ],
)
def test_networks(text: str, network: str, *, within: bool) -> None:
    """An IPv4-mapped address counts as the IPv4 one; families do not mix."""
    assert is_within(text, [ipaddress.ip_network(network)]) is within


def test_no_network_holds_anything() -> None:
    """The default of EXEAT_TRUSTED_PROXIES."""
    assert not is_within("10.0.0.1", [])
