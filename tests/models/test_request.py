"""The canonical request: its query is decoded once, and what cannot be decoded is refused."""

from __future__ import annotations

from urllib.parse import parse_qsl, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import RequestMalformed
from models.request import CanonicalRequest, decode_component, query_pairs


@pytest.mark.parametrize(
    ("query", "pairs"),
    [
        (b"", []),
        (b"a=b", [(b"a", b"b")]),
        (b"a", [(b"a", b"")]),
        (b"a=", [(b"a", b"")]),
        (b"=b", [(b"", b"b")]),
        (b"a=b=c", [(b"a", b"b=c")]),
        (b"a=1&a=2&&b", [(b"a", b"1"), (b"a", b"2"), (b"b", b"")]),
        (b"a+b=c%2Bd+e", [(b"a b", b"c+d e")]),
        (b"a%3Db=c%26d", [(b"a=b", b"c&d")]),
        (b"a=%2525", [(b"a", b"%25")]),
        (b"a=b;c=d", [(b"a", b"b;c=d")]),
    ],
)
def test_names_and_values_are_decoded_once(query: bytes, pairs: list[tuple[bytes, bytes]]) -> None:
    """Split on `&`, percent-decoded once, `+` is a space (API.md, how rules match)."""
    assert query_pairs(query) == pairs


@pytest.mark.parametrize("text", [b"%", b"a%4", b"%zz", b"%%41", b"%u0041"])
def test_a_bad_escape_is_refused(text: bytes) -> None:
    """It is 400, never taken as it stands."""
    with pytest.raises(RequestMalformed):
        decode_component(text)


@given(st.lists(st.tuples(st.text(max_size=8), st.text(max_size=8)), max_size=6))
def test_form_encoding_comes_back(pairs: list[tuple[str, str]]) -> None:
    """What a browser or client library encodes is what a rule sees."""
    query = "&".join(f"{quote_plus(name)}={quote_plus(value)}" for name, value in pairs)
    assert query_pairs(query.encode()) == [(name.encode(), value.encode()) for name, value in pairs]
    read = parse_qsl(query, keep_blank_values=True)
    assert [(name.encode(), value.encode()) for name, value in read] == query_pairs(query.encode())


def test_pairs_are_kept() -> None:
    """Rules of four scopes ask for the same list; it is made once."""
    request = CanonicalRequest(b"GET", b"/", b"a=b", [])
    assert request.query_pairs() is request.query_pairs()
    assert request.query_pairs() == [(b"a", b"b")]
