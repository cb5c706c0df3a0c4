"""Which network addresses a tenant's URL may lead to: the table of forbidden ranges and its judgement.

Pure values and functions; resolving and dialling live in `proxy_edge/dialler.py`. Nothing here may ask
`ipaddress` whether an address is private or global: those answers differ between Python's patch versions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Final

from models.errors import ConfigurationError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# IANA's special-purpose registries for IPv4 and IPv6 (RFC 6890 and successors), also the entries marked
# globally reachable that no API lives at, and the addresses at which clouds answer for the machine itself.
_RANGES: Final[dict[str, str]] = {
    "unspecified": "0.0.0.0/8 ::/128",
    "private": "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16",
    "cgn": "100.64.0.0/10",
    "loopback": "127.0.0.0/8 ::1/128",
    "link-local": "169.254.0.0/16 fe80::/10",
    "documentation": "192.0.2.0/24 198.51.100.0/24 203.0.113.0/24 2001:db8::/32 3fff::/20",
    "benchmarking": "198.18.0.0/15 2001:2::/48",
    "multicast": "224.0.0.0/4 ff00::/8",
    "broadcast": "255.255.255.255/32",
    # Protocol assignments, AS112, AMT, class E; in IPv6 also the returned 6bone block.
    "reserved": (
        "192.0.0.0/24 192.31.196.0/24 192.52.193.0/24 192.175.48.0/24 240.0.0.0/4 "
        "2001::/23 2620:4f:8000::/48 3ffe::/16"
    ),
    "6to4": "192.88.99.0/24 2002::/16",  # RFC 7526: the relay anycast, and RFC 3056
    "teredo": "2001::/32",  # RFC 4380
    "orchid": "2001:10::/28 2001:20::/28",  # RFC 4843, RFC 7343
    "nat64": "64:ff9b::/96 64:ff9b:1::/48",  # RFC 6052, RFC 8215
    "discard": "100::/64 100:0:0:1::/64",  # RFC 6666, RFC 9780
    "unique-local": "fc00::/7",
    "site-local": "fec0::/10",
    "ipv4-compatible": "::/96",  # RFC 4291 2.5.5.1
    "ipv4-mapped": "::ffff:0:0/96",  # RFC 4291 2.5.5.2
    "ipv4-translated": "::ffff:0:0:0/96",  # RFC 2765
    "metadata": (
        "169.254.169.254/32 fe80::a9fe:a9fe/128 "  # AWS, GCP, Azure, Oracle, OpenStack, DigitalOcean, Hetzner
        "169.254.169.253/32 169.254.169.123/32 169.254.170.2/32 169.254.170.23/32 "  # AWS resolver, time, tasks
        "fd00:ec2::254/128 fd00:ec2::253/128 fd00:ec2::123/128 fd00:ec2::23/128 "  # AWS
        "fd20:ce::254/128 168.63.129.16/32 fd00:c1::a9fe:a9fe/128 192.0.0.192/32 "  # GCP, Azure, Oracle twice
        "100.100.100.200/32 169.254.0.23/32 169.254.42.42/32 fd00:42::42/128"  # Alibaba, Tencent, Scaleway
    ),
}
FORBIDDEN: Final[tuple[tuple[Network, str], ...]] = tuple(
    sorted(
        ((ip_network(text), reason) for reason, texts in _RANGES.items() for text in texts.split()),
        key=lambda entry: -entry[0].prefixlen,
    )
)
"""Every forbidden range with its reason code, longest prefix first: the first match is the reason."""

_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")
_MAPPED: Final = IPv6Network("::ffff:0:0/96")
_LOW_32: Final = tuple(  # the IPv4 address is the last 32 bits (NAT64 in its /96 forms)
    IPv6Network(text)
    for text in ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48")
)
_SIX_TO_FOUR: Final = IPv6Network("2002::/16")
_TEREDO: Final = IPv6Network("2001::/32")
_ISATAP: Final = frozenset({0x00005EFE, 0x02005EFE})  # RFC 5214 6.1: upper half of the interface id

_QUAD: Final = re.compile(r"(?:(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])(?:\.(?!\Z)|\Z)){4}")
_NUMERIC: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_PORT: Final = re.compile(r"[1-9][0-9]{0,4}")
_ALLOW_FIELD: Final = "EXEAT_EGRESS_ALLOW"


def literal(text: str) -> Address | None:
    """The address that `text` spells, without brackets; None for names, scope ids and every sloppy form.

    IPv4 only as four decimal numbers without leading zeros, IPv6 as in RFC 4291 2.2.
    """
    if _QUAD.fullmatch(text):
        return IPv4Address(text)
    if ":" not in text or "%" in text or not text.isascii():
        return None
    try:
        return IPv6Address(text)
    except ValueError:
        return None


def spelled(address: Address) -> str:
    """The one spelling of an address, the same on every Python (3.13 writes mapped ones differently)."""
    if isinstance(address, IPv6Address) and address in _MAPPED:
        low = int(address) & 0xFFFFFFFF
        return f"::ffff:{low >> 16:x}:{low & 0xFFFF:x}"
    return str(address)


def normalise_host(host: str, *, field: str = "host") -> str:
    """The one form of a URL's host: a lower-case name, four decimal numbers, or IPv6 without brackets.

    Raises ConfigurationError (naming `field`, never quoting the host) for whatever a resolver might read
    in another way: short, octal, hex and padded IPv4 (WHATWG URL 3.5: a last label that is a number),
    scope ids, escapes, letters outside ASCII, empty labels. One trailing dot of a name is removed.
    """

    def refusal(why: str) -> ConfigurationError:
        return ConfigurationError(f"is not a usable host: {why}", field=field)

    if not host.isascii():
        raise refusal("international names are written in their xn-- form")
    if host.startswith("[") or ":" in host:
        inner = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        address = literal(inner)
        if not isinstance(address, IPv6Address):
            raise refusal("what holds a bracket or a colon must be an IPv6 address without a scope")
        return spelled(address)
    name = host.lower()
    last = name.removesuffix(".").rpartition(".")[2]
    if _NUMERIC.fullmatch(last):
        # Strictly as written, trailing dot included: the resolver must never get to interpret a number.
        if literal(name) is None:
            raise refusal("an IPv4 address is four decimal numbers without leading zeros")
        return name
    name = name.removesuffix(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        raise refusal("a name is made of labels of 1 to 63 letters, digits, hyphens and underscores")
    return name


def range_reason(address: Address) -> str | None:
    """The reason code of the narrowest forbidden range that holds the address; None when it is public."""
    for network, reason in FORBIDDEN:
        if address in network:
            return reason
    if isinstance(address, IPv6Address):
        if address not in _GLOBAL_UNICAST:
            return "reserved"
        if (int(address) >> 32) & 0xFFFFFFFF in _ISATAP:
            return "isatap"
    return None


def embedded(address: Address) -> Iterator[IPv4Address]:
    """The IPv4 addresses that an IPv6 address carries and that a translator or tunnel would send to."""
    if isinstance(address, IPv4Address):
        return
    value = int(address)
    if value <= 1:  # `::` and `::1` are themselves, not compatible forms of 0.0.0.0 and 0.0.0.1
        return
    low = value & 0xFFFFFFFF
    if (value >> 32) & 0xFFFFFFFF in _ISATAP or any(address in network for network in _LOW_32):
        yield IPv4Address(low)
    elif address in _SIX_TO_FOUR:
        yield IPv4Address(value >> 80 & 0xFFFFFFFF)
    elif address in _TEREDO:  # server, and the client with its bits inverted (RFC 4380 4)
        yield IPv4Address(value >> 64 & 0xFFFFFFFF)
        yield IPv4Address(low ^ 0xFFFFFFFF)


@dataclass(frozen=True, slots=True)
class EgressAllow:
    """What EXEAT_EGRESS_ALLOW opens although forbidden (API.md section 1).

    networks: every port of these addresses; sockets: one address and port; names: one host and port,
    whatever it resolves to. A metadata address opens only by an entry that is that one address.
    """

    networks: tuple[Network, ...] = ()
    sockets: frozenset[tuple[Address, int]] = frozenset()
    names: frozenset[tuple[str, int]] = frozenset()

    @classmethod
    def parse(cls, text: str) -> EgressAllow:
        """Reads a comma list of networks, addresses and host:port; IPv6 with a port is `[v6]:port`.

        Blank entries open nothing and are skipped. Raises ConfigurationError quoting a bad entry.
        """
        networks: list[Network] = []
        sockets: set[tuple[Address, int]] = set()
        names: set[tuple[str, int]] = set()
        for entry in filter(None, (part.strip() for part in text.split(","))):
            if "/" in entry or literal(entry) is not None:
                networks.append(_network(entry))
                continue
            host, port = _host_port(entry)
            address = literal(host)
            if address is None:
                names.add((host, port))
            else:
                sockets.add((address, port))
        return cls(tuple(networks), frozenset(sockets), frozenset(names))

    def opens(self, host: str, port: int, address: Address, reason: str) -> bool:
        """Whether an entry opens this address, forbidden for `reason`, to a target at host and port."""
        if (address, port) in self.sockets:
            return True
        if reason == "metadata":
            return any(net.prefixlen == net.max_prefixlen and address in net for net in self.networks)
        if any(address in net for net in self.networks):
            return True
        return (host.lower().removesuffix("."), port) in self.names


class EgressPolicy:
    """The judgement of one process: the table, what the operator opened, and where we listen ourselves.

    own: (address, port) of every listening socket of ours; such a port is refused on these addresses, on
    loopback and on the unspecified address, whatever is allowed. The machine's other addresses are known
    only to the operating system: whoever dials asks it for `own_ports`.
    """

    __slots__ = ("_own", "allow", "own_ports")

    def __init__(self, allow: EgressAllow | None = None, own: Iterable[tuple[str, int]] = ()) -> None:
        self.allow = EgressAllow() if allow is None else allow
        self._own: frozenset[tuple[Address, int]] = frozenset(
            (_own_address(address), port) for address, port in own
        )
        self.own_ports = frozenset(port for _, port in self._own)

    def judge(self, host: str, port: int, address: str) -> str | None:
        """None when `address`, to which `host` resolved, may be dialled at `port`; else a reason code.

        Codes are those of the table, and `own`, `isatap`, `malformed` (not an address) and `scoped` (a
        zone id). A carried IPv4 address must pass by itself, however its carrier was opened.
        """
        if "%" in address:
            return "scoped"
        parsed = literal(address)
        if parsed is None:
            return "malformed"
        faces = (parsed, *embedded(parsed))
        if port in self.own_ports and any(self._is_own(face, port) for face in faces):
            return "own"
        for face in faces:
            reason = range_reason(face)
            if reason is not None and not self.allow.opens(host, port, face, reason):
                return reason
        return None

    def _is_own(self, address: Address, port: int) -> bool:
        # A connection to 0.0.0.0 or :: arrives at loopback on Linux.
        return (address, port) in self._own or range_reason(address) in {"loopback", "unspecified"}


def _own_address(text: str) -> Address:
    address = literal(text)
    if address is None:
        raise ConfigurationError(f"{text!r} is not an address that a socket can listen on", field="own")
    return address


def _refused(entry: str, why: str) -> ConfigurationError:
    return ConfigurationError(f"{entry!r} {why}", field=_ALLOW_FIELD)


def _network(entry: str) -> Network:
    base, slash, length = entry.partition("/")
    address = literal(base)
    if address is None or (slash and not (length.isascii() and length.isdigit())):
        raise _refused(entry, "is not a network; write 10.1.0.0/16, fd00:1::/32 or a single address")
    try:
        network: Network = ip_network((address, int(length) if slash else address.max_prefixlen))
    except ValueError as error:
        raise _refused(entry, "is not a network: its length is too long or bits are set behind it") from error
    return network


def _host_port(entry: str) -> tuple[str, int]:
    host, colon, port = entry.rpartition(":")
    if not colon or not _PORT.fullmatch(port) or int(port) > 65535:
        raise _refused(entry, "is neither a network nor host:port with a port of 1 to 65535")
    if ":" in host and not host.startswith("["):
        raise _refused(entry, "has an IPv6 address with a port; write [address]:port")
    try:
        return normalise_host(host), int(port)
    except ConfigurationError as error:
        raise _refused(entry, f"cannot be used: the host {error.message}") from error
