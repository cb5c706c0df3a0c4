"""Cursors: opaque, of one question, and never more than a ValueError when they are made up (store/cursors.py)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.cursors import Question


@given(at_ms=st.integers(-(2**63), 2**63 - 1), last=st.binary(max_size=1024))
def test_positions_come_back(at_ms: int, last: bytes) -> None:
    """Any position, through text that fits a URL."""
    question = Question("list", "a", None, False, where={"a": 1})
    cursor = question.cursor((at_ms, last))
    assert cursor.replace("-", "").replace("_", "").isalnum()
    assert Question("list", "a", None, False, where={"a": 1}).position(cursor) == (at_ms, last)


@pytest.mark.parametrize(
    "other",
    [
        Question("list", "b", None, False),
        Question("list", "a", "", False),
        Question("list", "a", None, True),
        Question("list", "a", None, 0),
        Question("list", "a", None, False, where={"a": 1}),
        Question("list", "a", None, False, where={"a": "1"}),
    ],
)
def test_another_question_refuses(other: Question) -> None:
    """Any part that differs, also by type only."""
    cursor = Question("list", "a", None, False).cursor((0, b"x"))
    with pytest.raises(ValueError, match="another question"):
        other.position(cursor)


@given(text=st.text() | st.from_regex(r"[A-Za-z0-9_-]+={0,2}", fullmatch=True))
def test_garbage_is_a_value_error(text: str) -> None:
    """Any text that is no cursor."""
    with pytest.raises(ValueError, match="cursor") as error:
        Question("list").position(text)
    assert type(error.value) is ValueError
