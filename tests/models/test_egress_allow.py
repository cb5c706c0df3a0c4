"""EXEAT_EGRESS_ALLOW: what an entry opens, which entries are refused, and what stays closed whatever is allowed."""

from __future__ import annotations

import pytest

from models.egress import EgressAllow, EgressPolicy
from models.errors import ConfigurationError


@pytest.mark.parametrize(
    ("allow", "host", "port", "address", "reason"),
    [
        ("10.0.0.0/8", "a.example", 1, "10.9.8.7", None),
        ("10.0.0.0/8", "a.example", 65535, "10.9.8.7", None),
        ("10.0.0.0/8", "a.example", 443, "11.0.0.1", None),
        ("10.0.0.0/8", "a.example", 443, "192.168.0.1", "private"),
        ("10.0.0.1", "a.example", 443, "10.0.0.1", None),
        ("10.0.0.1", "a.example", 443, "10.0.0.2", "private"),
        ("10.0.0.1:8443", "a.example", 8443, "10.0.0.1", None),
        ("10.0.0.1:8443", "a.example", 443, "10.0.0.1", "private"),
        ("fd00:1::/32", "a.example", 443, "fd00:1::5", None),
        ("FD00:1::5", "a.example", 443, "fd00:1::5", None),
        ("[fd00:1::5]:8443", "a.example", 8443, "fd00:1:0::5", None),
        ("[fd00:1::5]:8443", "a.example", 443, "fd00:1::5", "unique-local"),
        ("intra.example:443", "Intra.Example", 443, "10.0.0.1", None),
        ("Intra.Example.:443", "intra.example", 443, "127.0.0.1", None),
        ("intra.example:443", "intra.example.", 443, "fd00::1", None),
        ("intra.example:443", "intra.example", 80, "10.0.0.1", "private"),
        ("intra.example:443", "sub.intra.example", 443, "10.0.0.1", "private"),
        ("intra.example:443", "intra.example.evil.example", 443, "10.0.0.1", "private"),
        ("intra.example:443", "intra.example", 443, "169.254.169.254", "metadata"),
        ("169.254.0.0/16", "a.example", 80, "169.254.1.1", None),
        ("169.254.0.0/16", "a.example", 80, "169.254.169.254", "metadata"),
        ("0.0.0.0/0,::/0", "a.example", 80, "100.100.100.200", "metadata"),
        ("0.0.0.0/0,::/0", "a.example", 80, "fd00:ec2::254", "metadata"),
        ("0.0.0.0/0,::/0", "a.example", 80, "10.0.0.1", None),
        ("169.254.169.254", "a.example", 80, "169.254.169.254", None),
        ("169.254.169.254:80", "a.example", 80, "169.254.169.254", None),
        ("169.254.169.254:80", "a.example", 81, "169.254.169.254", "metadata"),
        ("fd00:ec2::254/128", "a.example", 80, "fd00:ec2::254", None),
        ("10.0.0.0/8", "a.example", 443, "::ffff:10.0.0.1", "ipv4-mapped"),
        ("64:ff9b::/96", "a.example", 443, "64:ff9b::8.8.8.8", None),
        ("64:ff9b::/96", "a.example", 443, "64:ff9b::10.0.0.1", "private"),
        ("64:ff9b::/96,10.0.0.0/8", "a.example", 443, "64:ff9b::10.0.0.1", None),
        ("2001::/32", "a.example", 443, "2001:0:808:808:0:0:f5ff:fffe", "private"),
        ("2001::/32", "a.example", 443, "2001:0:a00:1:0:0:f7f7:f7f7", "private"),
        ("fe80::/10", "a.example", 443, "fe80::1", None),
        ("fe80::/10", "a.example", 443, "fe80::1%eth0", "scoped"),
        (" 10.0.0.1 , ,a.example:80,", "a.example", 80, "192.168.1.1", None),
        ("", "a.example", 443, "10.0.0.1", "private"),
    ],
)
def test_an_entry_opens_what_it_names_and_nothing_else(
    allow: str, host: str, port: int, address: str, reason: str | None
) -> None:
    """Networks open every port, host:port that spelling and port, and neither reaches any further."""
    assert EgressPolicy(EgressAllow.parse(allow)).judge(host, port, address) == reason


@pytest.mark.parametrize(
    "entry",
    [
        "example.com",
        "localhost",
        "example.com:",
        "example.com:0",
        "example.com:65536",
        "example.com:080",
        "example.com:+80",
        "example.com:\uff18\uff10",
        "example.com:http",
        ":443",
        "*.example.com:443",
        "http://example.com:443",
        "user@example.com:443",
        "10.0.0.1/8",
        "10.0.0.0/33",
        "10.0.0.0/",
        "10.0.0.0/255.0.0.0",
        "10.0.0.0/-1",
        "10.0.0.0/8:443",
        "10.0.0/8",
        "010.0.0.1",
        "010.0.0.1:80",
        "127.1:80",
        "0x7f.1:80",
        "fd00::1/32",
        "fd00::/129",
        "[fd00::1]",
        "[fd00::1]:",
        "[fd00::1",
        "[10.0.0.1]:80",
        "fe80::1%eth0",
        "[fe80::1%eth0]:80",
        "fe80::%1/64",
        "1:2:3:4:5:6:7:8:443",
        "10.0.0.1 10.0.0.2",
    ],
)
def test_a_bad_entry_is_named(entry: str) -> None:
    """An unusable entry is a configuration error that quotes it and names the setting."""
    with pytest.raises(ConfigurationError) as caught:
        EgressAllow.parse(f"10.0.0.0/8,{entry}")
    assert caught.value.field == "EXEAT_EGRESS_ALLOW"
    assert repr(entry) in str(caught.value)
