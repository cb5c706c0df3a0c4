"""Questions about caller addresses: is this text an address, does it lie in one of these networks.

Only used for `EXEAT_TRUSTED_PROXIES`; what a target may be dialled at is judged in `models.egress`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

from proxy_edge.settings import Network


@lru_cache(maxsize=4096)
def _parsed(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def is_address(text: str) -> bool:
    """Whether `text` is an IPv4 or IPv6 address and nothing else."""
    return _parsed(text) is not None


def is_within(text: str, networks: Iterable[Network]) -> bool:
    """Whether `text` is an address in one of `networks`; an IPv4-mapped one counts as IPv4."""
    address = _parsed(text)
    if address is None:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return any((mapped or address) in network for network in networks)
