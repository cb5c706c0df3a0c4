"""Strict reading: JSON, query parameters, and the headers that matter."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_api import bodies
from models.errors import Invalid, NotJson

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), VALUES))
def test_any_object_is_read_as_it_is(value: dict[str, Any]) -> None:
    """Whatever standard JSON writes comes back."""
    assert bodies.read_object(json.dumps(value, ensure_ascii=False).encode()) == value


@given(st.binary(max_size=60))
def test_any_bytes_are_an_object_or_refused(raw: bytes) -> None:
    """Nothing but NotJson, or Invalid for JSON of another type, is ever raised."""
    with contextlib.suppress(NotJson, Invalid):
        assert isinstance(bodies.read_object(raw), dict)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b'{"a":1,"a":1}', "has a field twice"),
        (b'{"a":{"b":1,"b":2}}', "has a field twice"),
        (b'{"a":Infinity}', "no numbers"),
        (b'{"a":-1e400}', "too large"),
        (b'{"\\udfff":1}', "surrogate"),
        (b'{"a":' + b"[" * 32 + b"]" * 32 + b"}", "nested deeper"),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, "nested deeper"),
        (b"\x80", "not UTF-8"),
    ],
)
def test_what_is_refused_is_said_without_repeating_it(raw: bytes, words: str) -> None:
    """Each kind has its words."""
    with pytest.raises(NotJson) as caught:
        bodies.read_object(raw)
    assert words in caught.value.public


def test_no_body_is_an_empty_object_only_where_that_is_meant() -> None:
    """`empty` says so."""
    assert bodies.read_object(b" \r\n", empty=True) == {}
    with pytest.raises(NotJson):
        bodies.read_object(b"")


def test_query_parameters_are_known_single_and_utf8() -> None:
    """Blanks and empty values are values."""
    assert bodies.read_query("limit=5&cursor=a+b%20c&x=", ["limit", "cursor", "x"]) == {
        "limit": "5",
        "cursor": "a b c",
        "x": "",
    }
    with pytest.raises(Invalid) as unknown:
        bodies.read_query("limt=5&%00%3Cb=1", ["limit"])
    assert unknown.value.errors == (
        ("limt", "unknown parameter; did you mean limit?"),
        ("?", "unknown parameter"),
    )
    with pytest.raises(Invalid) as twice:
        bodies.read_query("a=1&b=1&a=2", ["a", "b"])
    assert twice.value.errors == (("a", "is given twice"),)
    with pytest.raises(NotJson):
        bodies.read_query("a=%ff", ["a"])


@pytest.mark.parametrize(
    ("value", "revision"),
    [(None, None), ("*", None), ("5", 5), ('"5"', 5), (" 12 ", 12), ('W/"5"', -1), ("0", 0)],
)
def test_if_match_is_one_revision(value: str | None, revision: int | None) -> None:
    """Bare or quoted; a weak tag matches nothing."""
    assert bodies.read_if_match(value) == revision


@pytest.mark.parametrize("value", ["", "five", '"5', '"5", "6"', "-1", "5.0", "1" * 19])
def test_other_if_match_is_refused(value: str) -> None:
    """By the header's name."""
    with pytest.raises(Invalid) as refused:
        bodies.read_if_match(value)
    assert refused.value.errors[0][0] == "If-Match"


@given(st.text(min_size=1))
def test_a_cursor_comes_back(position: str) -> None:
    """Whatever text it holds; and any text at all is ours or refused."""
    if position.isprintable():
        assert bodies.read_cursor(bodies.cursor_of(position)) == position
    with contextlib.suppress(Invalid):
        bodies.read_cursor(position)


def test_moments_are_whole_and_named() -> None:
    """In milliseconds; a plus sign may come as a blank."""
    assert bodies.moment({}, "from") is None
    assert bodies.moment({"from": "1970-01-01T01:00:00.5 01:00"}, "from") == 500
    for text in ("", "5", "1970-01-01", "1970-01-01T00:00:00", "tomorrow"):
        with pytest.raises(Invalid) as refused:
            bodies.moment({"from": text}, "from")
        assert [name for name, _ in refused.value.errors] == ["from"]


def test_numbers_are_whole_and_bounded() -> None:
    """As the parameter says."""
    assert bodies.whole({}, "limit", 100, least=1, most=1000) == 100
    for text in ("0", "1001", "1.0", "+5", "", "\u0665"):
        with pytest.raises(Invalid):
            bodies.whole({"limit": text}, "limit", 100, least=1, most=1000)
