"""The target resource and the reading of its base URL."""

from __future__ import annotations

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from models.resources import BaseURL, Target, parse_base_url, problems


def read(**fields):
    wire = {"targetId": "t", "clientId": "c", "targetName": "T", "targetRegion": "local",
            "targetBaseURL": "https://api.example.com"}  # fmt: skip
    return Target.model_validate({**wire, **fields}, by_alias=True, by_name=False)


def faults(**fields):
    with pytest.raises(ValidationError) as caught:
        read(**fields)
    return [(".".join(map(str, location)), message) for location, message in problems(Target, caught.value)]


def test_defaults_are_those_of_the_contract():
    """Every optional field of API.md, by its plain name."""
    target = read()
    assert (target.timeout_ms, target.connections, target.scrub) == (30000, 256, "full")
    assert (target.cookies, target.path_strict, target.ca, target.test_path) == (False, True, None, None)
    assert (target.default_rule_effect, target.rules) == ("allow", ())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://api.example.com", BaseURL("https", "api.example.com", 443, "", "api.example.com")),
        ("HTTPS://API.Example.COM/", BaseURL("https", "api.example.com", 443, "", "api.example.com")),
        ("http://a:80/v1/", BaseURL("http", "a", 80, "/v1", "a")),
        ("https://a:80/v1", BaseURL("https", "a", 80, "/v1", "a:80")),
        ("http://127.0.0.1:7790", BaseURL("http", "127.0.0.1", 7790, "", "127.0.0.1:7790")),
        ("http://[::1]:8080/x", BaseURL("http", "::1", 8080, "/x", "[::1]:8080")),
        ("https://[2001:DB8:0:0::1]", BaseURL("https", "2001:db8::1", 443, "", "[2001:db8::1]")),
        (
            "https://xn--bcher-kva.example",
            BaseURL("https", "xn--bcher-kva.example", 443, "", "xn--bcher-kva.example"),
        ),
        ("http://my_service:3000", BaseURL("http", "my_service", 3000, "", "my_service:3000")),
        ("http://a/%7euser/%c3%a9", BaseURL("http", "a", 80, "/~user/%C3%A9", "a")),
    ],
)
def test_a_base_url_is_taken_apart(text, expected):
    """Scheme and host in lower case, the default port left out of the authority, the path canonical."""
    assert parse_base_url(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must be an http"),
        ("api.example.com", "must be an http"),
        ("ftp://a", "must be an http"),
        ("https:/a", "must be an http"),
        ("https://a?x=1", "query"),
        ("https://a/?", "query"),
        ("https://a/#", "fragment"),
        ("https://user:pw@a", "user or password"),
        ("https://user@a/", "user or password"),
        ("https://", "must name a host"),
        ("https://:443", "must name a host"),
        ("https://bücher.example", "xn--"),
        ("https://a b", "blanks"),
        ("https://a\n", "blanks"),
        ("https://a\t.example", "blanks"),
        ("https://a\\b", "backslash"),
        ("https://a:", "port"),
        ("https://a:0", "port"),
        ("https://a:65536", "port"),
        ("https://a:http", "cannot be read"),
        ("https://a:1:2", "cannot be read"),
        ("https://::1", "cannot be read"),
        ("https://[::1", "cannot be read"),
        ("https://[::1]x", "cannot be read"),
        ("https://[fe80::1%25eth0]", "IPv6"),
        ("https://[fe80::1%eth0]", "IPv6"),
        ("https://[1.2.3.4]", "IPv6"),
        ("https://[]", "IPv6"),
        ("https://a..b", "host name"),
        ("https://.a", "host name"),
        ("https://a.", "host name"),
        ("https://-a", "host name"),
        ("https://a%2eb", "host name"),
        ("https://" + "a" * 64, "host name"),
        ("https://" + "a." * 127 + "ab", "host name"),
        ("https://2130706433", "IPv4"),
        ("https://127.1", "IPv4"),
        ("https://0x7f.0.0.1", "IPv4"),
        ("https://0x7f000001", "IPv4"),
        ("https://0177.0.0.1", "IPv4"),
        ("https://1.2.3.256", "IPv4"),
        ("https://a/..", "dot segment"),
        ("https://a/v1/%2e%2e/", "dot segment"),
        ("https://a/v1/.;x", "dot segment"),
        ("https://a/%zz", "bad escape"),
        ("https://a/%", "bad escape"),
        ("https://a/%00", "NUL"),
        ("https://a//v1", "empty segment"),
        ("https://a/v1//", "empty segment"),
        ("https://a//", "empty segment"),
        ("https://a/" + "x" * 2048, "characters long"),
    ],
)
def test_an_ambiguous_base_url_is_refused(text, message):
    """Everything that two readers could read differently, with the reason."""
    with pytest.raises(ValueError, match=message):
        parse_base_url(text)
    [(field, _)] = faults(targetBaseURL=text)
    assert field == "targetBaseURL"


@given(st.text(alphabet=st.characters(codec="utf-8") | st.sampled_from("/:@[]%.?#\\0a"), max_size=60))
def test_any_base_url_that_is_accepted_reads_the_same_again(rest):
    """The canonical text of a base URL is a fixed point, and its host holds no delimiter."""
    try:
        base = parse_base_url("http://" + rest)
    except ValueError:
        return
    assert parse_base_url(str(base)) == base
    assert not set(base.host) & set("/@[]%?#\\ ")
    assert base.path == "" or (base.path.startswith("/") and not base.path.endswith("/"))


@pytest.mark.parametrize("value", [5, None, True, ["http://a"]])
def test_a_base_url_is_text(value):
    """Another type is a problem of the field, not a crash."""
    assert faults(targetBaseURL=value) == [("targetBaseURL", "must be a string")]


def test_a_base_url_is_given_back_as_text():
    """A dump has the canonical text under the wire name."""
    assert read(targetBaseURL="HTTPS://A:443/").model_dump(by_alias=True)["targetBaseURL"] == "https://a"


def test_a_ca_must_be_certificates():
    """PEM that the TLS library cannot load is refused when it is written, not when it is used."""
    authority = trustme.CA()
    pem = authority.cert_pem.bytes().decode()
    assert read(targetCA=pem).ca == pem
    assert (
        faults(targetCA="-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")[0][0] == "targetCA"
    )
    assert faults(targetCA="nothing")[0][0] == "targetCA"
    assert faults(targetCA="é")[0][0] == "targetCA"
    assert faults(targetCA="")[0][0] == "targetCA"


def test_a_private_key_in_the_ca_is_refused_without_echo():
    """A bundle that holds a key does not belong into policy."""
    pem = trustme.CA().private_key_pem.bytes().decode()
    [(field, message)] = faults(targetCA=pem)
    assert (field, message) == ("targetCA", "must hold certificates only, never a private key")


@pytest.mark.parametrize("value", ["health", "/a#b", "/../a", "/a b", "/%zz", "/é", "/\udcff"])
def test_a_test_path_is_canonical(value):
    """It is sent as it stands."""
    assert faults(targetTestPath=value)[0][0] == "targetTestPath"
    assert read(targetTestPath="/health?full=1").test_path == "/health?full=1"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("targetTimeoutMs", 0),
        ("targetTimeoutMs", 3_600_001),
        ("targetTimeoutMs", "30000"),
        ("targetConnections", 0),
        ("targetScrub", "none"),
        ("targetCookies", "no"),
        ("targetPathStrict", 1),
        ("targetDefaultRuleEffect", "Allow"),
        ("targetRegion", "a b"),
    ],
)
def test_values_out_of_bounds_name_their_field(field, value):
    """Nothing is converted or clipped."""
    assert faults(**{field: value})[0][0] == field
