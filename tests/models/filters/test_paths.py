"""Paths of filters: what is read, what is refused, and how long they may be. The suite of RFC 9535 is under conformance."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from models.errors import ConfigurationError
from models.filters.paths import MOST_BYTES, MOST_SEGMENTS, MOST_SELECTORS, Segment, parse_path


def refusal(path: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        parse_path(path, field="paths[0]")
    assert caught.value.field == "paths[0]"
    return caught.value.message


def test_a_path_is_its_segments() -> None:
    """Names, indexes, wildcards, unions and descendants, each as it was written."""
    assert parse_path("$") == ()
    assert parse_path("$.a[-1]..*") == (
        Segment(False, ("a",), (), False),
        Segment(False, (), (-1,), False),
        Segment(True, (), (), True),
    )
    assert parse_path("$..['a',0,\"b\",*]") == (Segment(True, ("a", "b"), (0,), True),)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("$[0:2]", "slices"),
        ("$[?@.a]", "filter expressions"),
        ("$.a[0, ?length(@) > 1]", "filter expressions"),
        ("a.b", "must begin with $"),
        ("", "must begin with $"),
        (" $", "must begin with $"),
        ("$.a.", "RFC 9535"),
        ("$.a['b'", "at character"),
        ("$[9007199254740992]", "out of range"),
        ("$.日本", "['name']"),
        ("$['\ud800']", "not valid Unicode"),
        ("$[?" + "(" * 900, "RFC 9535"),
    ],
    ids=range(12),
)
def test_everything_else_is_refused_with_a_reason(path: str, words: str) -> None:
    """No message repeats the path."""
    message = refusal(path)
    assert words in message
    assert len(path) < 4 or path not in message


def test_bounds() -> None:
    """Bytes, segments and selectors of a path are bounded; the bound itself is allowed."""
    assert parse_path("$['" + "é" * 509 + "x']")
    assert str(MOST_BYTES) in refusal("$['" + "é" * 510 + "']")
    assert len(parse_path("$" + ".a" * MOST_SEGMENTS)) == MOST_SEGMENTS
    assert "segments" in refusal("$" + ".a" * (MOST_SEGMENTS + 1))
    many = ",".join(map(str, range(MOST_SELECTORS)))
    assert parse_path(f"$[{many}]")
    assert "selectors" in refusal(f"$[{many},0]")


@settings(deadline=None)
@given(st.text("$.[]*'\"a0-,:?()@&|!=<> \n\\ud800é日", max_size=12).map("$".__add__))
@example("$[?match(@, '(')]")
def test_any_text_is_read_or_refused(text: str) -> None:
    """Nothing but our own refusal comes out of it."""
    with suppress(ConfigurationError):
        parse_path(text)
