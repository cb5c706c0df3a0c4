"""Masking and redacting one text."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import FilterBlocked, RedactionFailed
from models.filters.values import checked, masked, replaced, text_of
from models.planes.texts import Span
from models.strict_json import loads


@pytest.mark.parametrize(
    ("text", "keep_last", "left"),
    [
        ("4111111111111111", 4, "************1111"),
        ("abc", 0, "***"),
        ("abc", 3, "abc"),
        ("a", 9, "a"),
        ("", 1, ""),
    ],
    ids=range(5),
)
def test_all_but_the_end_is_masked(text: str, keep_last: int, left: str) -> None:
    """Nothing of a text that is no longer than what is kept."""
    assert masked(text, "*", keep_last) == left


@settings(deadline=None)
@given(st.text(), st.integers(0, 20))
def test_a_mask_keeps_the_length(text: str, keep_last: int) -> None:
    """In code points, also beyond the basic plane."""
    left = masked(text, "•", keep_last)
    assert len(left) == len(text)
    assert left[len(text) - min(keep_last, len(text)) :] == text[len(text) - min(keep_last, len(text)) :]
    assert set(left[: max(len(text) - keep_last, 0)]) <= {"•"}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (12, "12"),
        (-1.5, "-1.5"),
        (loads(b"1.10"), "1.10"),
        (loads(b"1" * 30), "1" * 30),
    ],
    ids=range(5),
)
def test_numbers_and_booleans_are_their_json_text(value: Any, text: str) -> None:
    """As it was written."""
    assert text_of(value) == text


def test_a_number_without_a_text_is_blocked() -> None:
    """Never passed over; no parser of ours makes one."""
    with pytest.raises(FilterBlocked):
        text_of(10**400)


def test_spans_are_replaced_and_the_others_move() -> None:
    """Those that stay are where their text now is."""
    text = "Ann met Bob in Rome"
    spans = (Span(0, 3, "PERSON", 0.9), Span(8, 11, "PERSON", 0.3), Span(15, 19, "LOCATION", 0.8))
    left, rest = replaced(text, spans, ["<PERSON>", None, ""])
    assert left == "<PERSON> met Bob in "
    assert [(left[one.start : one.end], one.entity) for one in rest] == [("Bob", "PERSON")]


@pytest.mark.parametrize(
    "found",
    [
        [],
        [(), ()],
        [(Span(0, 0, "PERSON", 1),)],
        [(Span(-1, 2, "PERSON", 1),)],
        [(Span(2, 4, "PERSON", 1),)],
        [(Span(0, 2, "PERSON", 1), Span(1, 3, "URL", 1))],
        [(Span(2, 3, "PERSON", 1), Span(0, 1, "URL", 1))],
        [(Span(0, 1, "PERSON", float("nan")),)],
        [(Span(0, 1, "NOBODY", 1),)],
    ],
    ids=range(9),
)
def test_findings_that_cannot_be_are_refused(found: list[tuple[Span, ...]]) -> None:
    """A redactor that answers so cannot be believed in anything."""
    with pytest.raises(RedactionFailed):
        checked(["abc"], found)
    checked(["abc"], [(Span(0, 1, "PERSON", 1), Span(1, 3, "URL", 0.5))])
