"""The table of forbidden ranges, host spellings and EXEAT_EGRESS_ALLOW, from outside."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.egress import FORBIDDEN, EgressAllow, EgressPolicy, literal, normalise_host, spelled
from models.errors import ConfigurationError

STRICT = EgressPolicy()
CARRIERS = "::/96,::ffff:0:0/96,::ffff:0:0:0/96,64:ff9b::/96,64:ff9b:1::/48,2002::/16,2001::/32"

ADDRESSES = [
    ("8.8.8.8", None),
    ("1.1.1.1", None),
    ("93.184.216.34", None),
    ("9.255.255.255", None),
    ("11.0.0.0", None),
    ("100.63.255.255", None),
    ("100.128.0.0", None),
    ("126.255.255.255", None),
    ("128.0.0.0", None),
    ("168.63.129.15", None),
    ("169.253.255.255", None),
    ("169.255.0.0", None),
    ("172.15.255.255", None),
    ("172.32.0.0", None),
    ("192.167.255.255", None),
    ("192.169.0.0", None),
    ("198.17.255.255", None),
    ("198.20.0.0", None),
    ("223.255.255.255", None),
    ("2606:4700:4700::1111", None),
    ("2a00:1450:4001:830::200e", None),
    ("2003::1", None),
    ("0.0.0.0", "unspecified"),
    ("0.1.2.3", "unspecified"),
    ("10.0.0.0", "private"),
    ("10.255.255.255", "private"),
    ("172.16.0.1", "private"),
    ("172.31.255.255", "private"),
    ("192.168.0.1", "private"),
    ("192.168.255.255", "private"),
    ("100.64.0.0", "cgn"),
    ("100.127.255.255", "cgn"),
    ("100.100.100.200", "metadata"),
    ("127.0.0.1", "loopback"),
    ("127.255.255.254", "loopback"),
    ("169.254.0.1", "link-local"),
    ("169.254.255.255", "link-local"),
    ("169.254.169.254", "metadata"),
    ("169.254.169.253", "metadata"),
    ("169.254.169.123", "metadata"),
    ("169.254.170.2", "metadata"),
    ("169.254.170.23", "metadata"),
    ("169.254.0.23", "metadata"),
    ("169.254.42.42", "metadata"),
    ("168.63.129.16", "metadata"),
    ("192.0.0.192", "metadata"),
    ("192.0.0.1", "reserved"),
    ("192.0.0.170", "reserved"),
    ("192.0.2.1", "documentation"),
    ("198.51.100.7", "documentation"),
    ("203.0.113.255", "documentation"),
    ("192.31.196.1", "reserved"),
    ("192.52.193.1", "reserved"),
    ("192.175.48.1", "reserved"),
    ("192.88.99.1", "6to4"),
    ("198.18.0.1", "benchmarking"),
    ("198.19.255.255", "benchmarking"),
    ("224.0.0.1", "multicast"),
    ("239.255.255.255", "multicast"),
    ("240.0.0.1", "reserved"),
    ("255.255.255.254", "reserved"),
    ("255.255.255.255", "broadcast"),
    ("::", "unspecified"),
    ("0:0:0:0:0:0:0:0", "unspecified"),
    ("::1", "loopback"),
    ("0000:0000:0000:0000:0000:0000:0000:0001", "loopback"),
    ("::2", "ipv4-compatible"),
    ("::127.0.0.1", "ipv4-compatible"),
    ("::8.8.8.8", "ipv4-compatible"),
    ("::ffff:127.0.0.1", "ipv4-mapped"),
    ("::ffff:7f00:1", "ipv4-mapped"),
    ("::FFFF:7F00:0001", "ipv4-mapped"),
    ("0:0:0:0:0:ffff:169.254.169.254", "ipv4-mapped"),
    ("::ffff:8.8.8.8", "ipv4-mapped"),
    ("::ffff:0:10.0.0.1", "ipv4-translated"),
    ("64:ff9b::10.0.0.1", "nat64"),
    ("64:ff9b::8.8.8.8", "nat64"),
    ("64:ff9b:1::a00:1", "nat64"),
    ("100::1", "discard"),
    ("100:0:0:1::1", "discard"),
    ("2001::1", "teredo"),
    ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "teredo"),
    ("2001:1::1", "reserved"),
    ("2001:2::1", "benchmarking"),
    ("2001:3::1", "reserved"),
    ("2001:10::1", "orchid"),
    ("2001:20::1", "orchid"),
    ("2001:30::1", "reserved"),
    ("2001:1ff:ffff::1", "reserved"),
    ("2001:200::1", None),
    ("2001:db8::1", "documentation"),
    ("3fff:fff::1", "documentation"),
    ("3fff:1000::1", None),
    ("3ffe::1", "reserved"),
    ("2620:4f:8000::1", "reserved"),
    ("2002:7f00:1::", "6to4"),
    ("2002:808:808::1", "6to4"),
    ("4000::1", "reserved"),
    ("5f00::1", "reserved"),
    ("1::1", "reserved"),
    ("fc00::1", "unique-local"),
    ("fdff:ffff::1", "unique-local"),
    ("fd00:ec2::254", "metadata"),
    ("fd00:0ec2:0:0:0:0:0:254", "metadata"),
    ("fd00:ec2::23", "metadata"),
    ("fd20:ce::254", "metadata"),
    ("fd00:c1::a9fe:a9fe", "metadata"),
    ("fd00:42::42", "metadata"),
    ("fe80::a9fe:a9fe", "metadata"),
    ("fe80::1", "link-local"),
    ("febf::1", "link-local"),
    ("fec0::1", "site-local"),
    ("feff::1", "site-local"),
    ("ff02::1", "multicast"),
    ("ff0e::1", "multicast"),
    ("2606:4700::5efe:10.0.0.1", "isatap"),
    ("2606:4700::200:5efe:808:808", "isatap"),
    ("fe80::1%eth0", "scoped"),
    ("fe80::1%25eth0", "scoped"),
    ("2606:4700::1%1", "scoped"),
    ("ff02::1%lo", "scoped"),
    ("", "malformed"),
    ("localhost", "malformed"),
    ("127.1", "malformed"),
    ("0177.0.0.1", "malformed"),
    ("08.8.8.8", "malformed"),
    ("8.8.8.08", "malformed"),
    ("2130706433", "malformed"),
    ("0x7f000001", "malformed"),
    ("8.8.8", "malformed"),
    ("8.8.8.8.8", "malformed"),
    ("8.8.8.256", "malformed"),
    ("8.8.8.8.", "malformed"),
    ("8.8.8.8\n", "malformed"),
    (" 8.8.8.8", "malformed"),
    ("\uff18.8.8.8", "malformed"),
    ("\u0668.8.8.8", "malformed"),
    ("[::1]", "malformed"),
    (":::1", "malformed"),
    ("::ffff:127.0.0.01", "malformed"),
    ("8.8.8.8/32", "malformed"),
]

HOSTS = [
    ("api.example.com", "api.example.com"),
    ("API.Example.COM", "api.example.com"),
    ("api.example.com.", "api.example.com"),
    ("localhost", "localhost"),
    ("LOCALHOST.", "localhost"),
    ("my_service", "my_service"),
    ("xn--bcher-kva.example", "xn--bcher-kva.example"),
    ("127-0-0-1.example.com", "127-0-0-1.example.com"),
    ("1.2.3.4.example", "1.2.3.4.example"),
    ("1.2.3.4a", "1.2.3.4a"),
    ("0xg.example", "0xg.example"),
    ("8.8.8.8", "8.8.8.8"),
    ("127.0.0.1", "127.0.0.1"),
    ("[::1]", "::1"),
    ("::1", "::1"),
    ("[0:0:0:0:0:0:0:1]", "::1"),
    ("[2606:4700::00AB]", "2606:4700::ab"),
    ("[::FFFF:127.0.0.1]", "::ffff:7f00:1"),
    ("a" * 63 + ".example", "a" * 63 + ".example"),
    ("", None),
    (".", None),
    ("..", None),
    (".example.com", None),
    ("example..com", None),
    ("example.com..", None),
    ("0177.0.0.1", None),
    ("0177.0.0.01", None),
    ("127.0.0.01", None),
    ("127.000.000.001", None),
    ("2130706433", None),
    ("017700000001", None),
    ("0x7f000001", None),
    ("0X7F000001", None),
    ("0x7f.1", None),
    ("0x7f.0x0.0x0.0x1", None),
    ("127.0.0.0x1", None),
    ("127.0x1", None),
    ("127.1", None),
    ("127.0.1", None),
    ("127.0.0.1.", None),
    ("127.0.0.1.1", None),
    ("127.0.0.256", None),
    ("0", None),
    ("0.", None),
    ("0x", None),
    ("0x.", None),
    ("1", None),
    ("example.1", None),
    ("example.0x7f", None),
    ("4294967297", None),
    ("[127.0.0.1]", None),
    ("[::1", None),
    ("::1]", None),
    ("[]", None),
    ("[::1].", None),
    ("[[::1]]", None),
    ("[fe80::1%eth0]", None),
    ("[fe80::1%25eth0]", None),
    ("fe80::1%1", None),
    ("[v1.fe80]", None),
    ("[::ffff:127.0.0.01]", None),
    ("[localhost]", None),
    ("example.com]", None),
    ("example.com:443", None),
    ("127.0.0.1:80", None),
    ("127%2e0%2e0%2e1", None),
    ("%31%32%37.0.0.1", None),
    ("localhost%00", None),
    ("127.0.0.1 ", None),
    (" 127.0.0.1", None),
    ("127.0.0.1\n", None),
    ("example.com\n", None),
    ("example.com\x00", None),
    ("127.0.0.1 x", None),
    ("user@example.com", None),
    ("example.com/x", None),
    ("example.com\\x", None),
    ("example.com#x", None),
    ("example.com?x", None),
    ("-example.com", None),
    ("example-.com", None),
    ("*.example.com", None),
    ("bücher.example", None),
    ("\uff11\uff12\uff17.0.0.1", None),
    ("①②⑦.0.0.1", None),
    ("127。0。0。1", None),
    ("\u0661\u0662\u0667.0.0.1", None),
    ("\u212a.example", None),  # the Kelvin sign lower-cases to k
    ("a" * 64 + ".example", None),
    (".".join(["a" * 50] * 6), None),
]


@pytest.mark.parametrize(("address", "reason"), ADDRESSES)
def test_every_address_has_its_reason(address: str, reason: str | None) -> None:
    """An address is public or refused for exactly the reason that the table states."""
    assert STRICT.judge("target.example", 443, address) == reason


@pytest.mark.parametrize(("host", "form"), HOSTS)
def test_a_host_has_one_form_or_none(host: str, form: str | None) -> None:
    """A spelling is brought into the one form or refused without being quoted."""
    if form is not None:
        assert normalise_host(host) == form
        assert normalise_host(form) == form
        return
    with pytest.raises(ConfigurationError) as caught:
        normalise_host(host, field="targetBaseURL")
    assert caught.value.field == "targetBaseURL"
    assert len(host) < 4 or host not in str(caught.value)


@pytest.mark.parametrize(
    ("port", "address", "reason"),
    [
        (7701, "127.0.0.1", "own"),
        (7701, "127.9.9.9", "own"),
        (7701, "0.0.0.0", "own"),
        (7701, "::", "own"),
        (7701, "::1", "own"),
        (7701, "10.1.2.3", "own"),
        (7701, "::ffff:127.0.0.1", "own"),
        (7701, "64:ff9b::10.1.2.3", "own"),
        (7701, "2002:0a01:0203::1", "own"),
        (7701, "::127.0.0.1", "own"),
        (7702, "127.0.0.1", "own"),
        (7703, "127.0.0.1", None),
        (7702, "fd00::7", "own"),
        (7701, "fd00::7", None),
        (7702, "10.1.2.3", None),
        (7701, "8.8.8.8", None),
    ],
)
def test_our_own_sockets_stay_closed_whatever_is_allowed(port: int, address: str, reason: str | None) -> None:
    """Our own ports are refused on loopback and our addresses, in every form, by every kind of entry."""
    own = [("10.1.2.3", 7701), ("fd00::7", 7702)]
    open_wide = EgressAllow.parse(f"0.0.0.0/0,::/0,a.example:7701,127.0.0.1:7701,[::1]:7701,{CARRIERS}")
    assert EgressPolicy(open_wide, own).judge("a.example", port, address) == reason


def test_a_socket_of_ours_must_have_an_address() -> None:
    """A listening socket that is given by name could not be compared, so it is refused."""
    with pytest.raises(ConfigurationError):
        EgressPolicy(own=[("localhost", 7701)])


def _near(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> st.SearchStrategy[int]:
    top = 2**network.max_prefixlen - 1
    first, last = int(network.network_address), int(network.broadcast_address)
    edges = [value for value in (first - 1, first, last, last + 1) if 0 <= value <= top]
    return st.one_of(st.sampled_from(edges), st.integers(first, last))


V4 = [network for network, _ in FORBIDDEN if network.version == 4]
V6 = [network for network, _ in FORBIDDEN if network.version == 6]
forbidden_v4 = st.sampled_from(V4).flatmap(
    lambda network: st.integers(int(network.network_address), int(network.broadcast_address))
)
any_v4 = st.one_of(st.sampled_from(V4).flatmap(_near), st.integers(0, 2**32 - 1)).map(ipaddress.IPv4Address)
any_v6 = st.one_of(st.sampled_from(V6).flatmap(_near), st.integers(0, 2**128 - 1)).map(ipaddress.IPv6Address)


def _embeddings(v4: int, filler: int) -> list[int]:
    return [
        v4,
        0xFFFF << 32 | v4,
        0xFFFF << 48 | v4,
        0x64_FF9B << 96 | v4,
        0x64_FF9B_0001 << 80 | filler << 32 | v4,
        0x2002 << 112 | v4 << 80 | filler,
        0x2001 << 112 | v4 << 64 | filler,
        0x2001 << 112 | 0x08080808 << 64 | filler << 32 | v4 ^ 0xFFFFFFFF,
        0x2606_4700 << 96 | filler << 64 | 0x5EFE << 32 | v4,
        0x2606_4700 << 96 | filler << 64 | 0x0200_5EFE << 32 | v4,
    ]


@given(forbidden_v4, st.integers(0, 2**32 - 1))
def test_no_embedding_launders_a_forbidden_address(v4: int, filler: int) -> None:
    """Mapped, translated, NAT64, 6to4, Teredo, ISATAP: refused also where their carrier is opened."""
    carriers_open = EgressPolicy(EgressAllow.parse(f"{CARRIERS},2606:4700::/32"))
    for value in _embeddings(v4, filler):
        address = str(ipaddress.IPv6Address(value))
        assert STRICT.judge("a.example", 443, address) is not None
        assert value <= 1 or carriers_open.judge("a.example", 443, address) is not None


@given(st.one_of(any_v4, any_v6))
def test_the_table_is_never_laxer_than_the_standard_library(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    """Whatever this Python holds for not global is refused by our table as well."""
    if not address.is_global:
        assert STRICT.judge("a.example", 443, str(address)) is not None


@given(st.one_of(any_v4, any_v6))
def test_an_address_has_one_spelling(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    """Spelling and reading again gives the same address, and a host in that spelling stays as it is."""
    text = spelled(address)
    assert literal(text) == address
    assert literal(address.exploded) == address
    assert normalise_host(text) == text
    assert normalise_host(address.exploded) == text


@given(st.text(max_size=40))
def test_any_text_is_a_stable_form_or_refused(text: str) -> None:
    """Normalising any text either fails as a configuration error or gives a fixed point."""
    try:
        form = normalise_host(text)
    except ConfigurationError:
        return
    assert normalise_host(form) == form
    assert form == form.lower()
