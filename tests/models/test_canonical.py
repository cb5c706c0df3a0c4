"""The canonical request target: one form, its meaning kept, everything ambiguous refused in any encoding."""

from __future__ import annotations

import string
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.canonical import UNRESERVED, canonical_target, check_host
from models.errors import RequestMalformed

PCHAR = string.ascii_letters + string.digits + "-._~!$&'()*+,;=:@"
TARGET = st.text(PCHAR + '/%?"<>^`{|}[]02eEfF5', max_size=40).map(lambda text: b"/" + text.encode())


def accepted(target: bytes) -> tuple[bytes, bytes] | None:
    try:
        return canonical_target(target)
    except RequestMalformed:
        return None


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/", b"/", b""),
        (b"/a/b?c=d&e", b"/a/b", b"c=d&e"),
        (b"/a?", b"/a", b""),
        (b"/a?b?c", b"/a", b"b?c"),
        (b"/%41%7e%2D", b"/A~-", b""),
        (b"/a%2fb%c3%a4", b"/a%2Fb%C3%A4", b""),
        (b"/a%20b%25", b"/a%20b%25", b""),
        (b'/a"b<c>', b"/a%22b%3Cc%3E", b""),
        (b"/x?a=%2f%41+b", b"/x", b"a=%2FA+b"),
        (b"/.well-known/..a/...", b"/.well-known/..a/...", b""),
        (b"/a.b/a..", b"/a.b/a..", b""),
        (b"//a//", b"//a//", b""),
        (b"/?../..", b"/", b"../.."),
    ],
)
def test_canonical_form(target: bytes, path: bytes, query: bytes) -> None:
    """Unreserved characters are decoded, other escapes in upper case, the rest stands."""
    assert canonical_target(target) == (path, query)


@pytest.mark.parametrize(
    "target",
    [b"", b"a", b"*", b"?a", b"http://a/b", b"HTTP://a/", b"a:443", b"\\a", b"%2Fa"],
)
def test_only_the_origin_form_is_read(target: bytes) -> None:
    """Absolute, authority and asterisk form are refused."""
    assert accepted(target) is None


@pytest.mark.parametrize(
    "target",
    [
        b"/a%", b"/a%2", b"/a%zz", b"/a%2g", b"/a%%41", b"/a%u0041", b"/a?b=%", b"/a?b=%zz", b"/a?b=%4",
        b"/a\\b", b"/a%5cb", b"/a%5Cb", b"/a#b", b"/a?b#c", b"/a?b\\c", b"/a%00", b"/a%00b", b"/%2500", b"/a?b=%00",
        b"/a b", b"/a\tb", b"/a\x7f", b"/a\x80", b"/\xc3\xa4", b"/a?\xff", b"/a?b c", b"/a\x00", b"/a\r\nb",
    ],
)  # fmt: skip
def test_what_two_readers_could_read_differently_is_refused(target: bytes) -> None:
    """Bad escapes, backslash, fragment, NUL, raw blanks, controls and non-ASCII, in path and query."""
    assert accepted(target) is None


@st.composite
def encoded(draw: st.DrawFn, text: str, *, layers: int = 3) -> str:
    """`text` with any of its characters escaped, in any case, up to `layers` times over."""
    for _ in range(draw(st.integers(0, layers))):
        out = ""
        for letter in text:
            escape = f"%{ord(letter):02x}"
            out += draw(st.sampled_from([letter, escape, escape.upper()]))
        text = out
    return text


DOTS = st.sampled_from(
    [".", "..", "..;x", ".;", "..;a=b;c", ".. ", " ..", "..\t", "%c0%ae.", "%e0%80%ae.", ". "]
)
SEPARATOR = st.sampled_from(["/", "/", "/", "%2f", "%2F", "%252f", "%c0%af", "\\", "%5c"])


@given(st.data())
@settings(max_examples=400, deadline=None)
def test_dot_segments_are_refused_in_any_encoding(data: st.DataObject) -> None:
    """Escaped once or often, overlong, with parameters, behind any separator: never accepted."""
    dots = data.draw(DOTS.flatmap(encoded)).replace(" ", "%20").replace("\t", "%09")
    before, after = data.draw(SEPARATOR), data.draw(SEPARATOR | st.just(""))
    target = f"/a{before}{dots}{after}" + (data.draw(st.text("abc", max_size=3)) if after else "")
    assert accepted(target.encode()) is None


def test_escapes_too_deep_to_follow_are_refused() -> None:
    """Nobody needs them, and somewhere down there might be a dot segment."""
    assert accepted(b"/%" + b"25" * 10 + b"2e%2e") is None


@given(TARGET)
@settings(max_examples=500)
def test_the_form_is_stable_and_means_the_same(target: bytes) -> None:
    """It is its own canonical form, in the alphabet of RFC 3986, and decodes to what came."""
    form = accepted(target)
    if form is None:
        return
    path, query = form
    assert canonical_target(path + (b"?" + query if query else b"")) == form
    came_path, _, came_query = target.partition(b"?")
    assert unquote_to_bytes(path) == unquote_to_bytes(came_path)
    assert unquote_to_bytes(query) == unquote_to_bytes(came_query)
    assert not path.translate(None, (PCHAR + "/%").encode())
    for part in (path, query):
        for piece in part.split(b"%")[1:]:
            assert piece[:2] == piece[:2].upper()
            assert bytes.fromhex(piece[:2].decode()) not in [bytes([byte]) for byte in UNRESERVED]
    assert not {segment.partition(b";")[0] for segment in path.split(b"/")} & {b".", b".."}


@pytest.mark.parametrize("value", [b"a", b"a.b-c_d:8080", b"[::1]:80", b"127.0.0.1", b"xn--a", b"a%2Db"])
def test_hosts(value: bytes) -> None:
    """An authority without a user passes; whose it is does not matter, it is never used."""
    check_host(value)


@pytest.mark.parametrize(
    "value", [b"", b"a b", b"a/b", b"u@a", b"a?b", b"a#b", b"a\\b", b"\xc3\xa4", b"a\tb", b'"a"']
)
def test_bad_hosts(value: bytes) -> None:
    """What is no authority is refused (RFC 9112 section 3.2)."""
    with pytest.raises(RequestMalformed):
        check_host(value)
