"""What the model is given and what of its answer is kept."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.redactor import reading


@given(st.text())
def test_what_the_model_reads_has_the_same_length(text: str) -> None:
    """So that its positions are those of the text."""
    assert len(reading.for_model(text)) == len(text)


def test_long_runs_are_blanked_out() -> None:
    """Encoded data is nothing to read, and slow."""
    run = "QUJD" * 100
    assert reading.for_model(f"a {run} b") == f"a {' ' * 400} b"


@pytest.mark.parametrize(
    ("text", "part", "label", "kept"),
    [
        ("Dr. Ann Lee's", "Dr. Ann Lee's", "PERSON", ["Ann Lee"]),
        ("Ann Lee\n12 High", "Ann Lee\n12 High", "PERSON", ["Ann Lee", "12 High"]),
        ('"Acme Ltd."', '"Acme Ltd."', "ORG", ["Acme Ltd."]),
        ("a couple of months", "a couple of months", "DATE", []),
        ("on Monday", "Monday", "DATE", ["Monday"]),
        ("in 2014", "2014", "DATE", ["2014"]),
        ("$5", "$5", "MONEY", []),
        ("Hello", "Hello", "PERSON", []),
        ("12", "12", "ORG", []),
    ],
    ids=("title", "lines", "quotes", "duration", "weekday", "year", "money", "greeting", "number"),
)
def test_what_is_kept(text: str, part: str, label: str, kept: list[str]) -> None:
    """Names without what stands around them; no durations, no amounts."""
    start = text.index(part)
    spans = reading.accepted(text, start, start + len(part), label, 0.5)
    assert [text[one.start : one.end] for one in spans] == kept


def test_only_words_are_worth_reading() -> None:
    """Numbers, signs and single letters are not."""
    assert reading.has_words("é漢")
    assert not any(map(reading.has_words, ("", "12", "a 1", "--")))
