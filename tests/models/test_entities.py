"""Overlaps settled so that nothing found is uncovered, spans checked; in code points, also astral ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.entities import ENTITIES, fits, merged
from models.filters.values import replaced
from models.planes.texts import Span

LETTERS = st.text(alphabet=st.sampled_from("ab1 .\né\U0001d4b3😀👩‍"), max_size=24)


@st.composite
def found(draw: st.DrawFn) -> tuple[str, list[list[Span]]]:
    """A text and groups of findings in it, which overlap as they like."""
    text = draw(LETTERS.filter(bool))
    spans = st.builds(
        lambda ends, entity, score: Span(min(ends), max(ends) + 1, entity, score),
        st.tuples(st.integers(0, len(text) - 1), st.integers(0, len(text) - 1)),
        st.sampled_from(ENTITIES),
        st.sampled_from((0.5, 0.85, 1.0)),
    )
    return text, draw(st.lists(st.lists(spans, max_size=4), max_size=4))


def covered(spans: list[Span] | tuple[Span, ...]) -> set[int]:
    return {at for one in spans for at in range(one.start, one.end)}


@given(found())
def test_merging_uncovers_nothing_that_can_be_read(case: tuple[str, list[list[Span]]]) -> None:
    """No overlap is left, the result fits, and of what was found at most single letters and signs are not covered."""
    text, groups = case
    spans = merged(text, groups)
    assert fits(text, spans)
    everything = covered([one for group in groups for one in group])
    assert covered(spans) <= everything
    lost = everything - covered(spans)
    for at in lost:
        assert not (text[at].isalnum() and at + 1 in lost and text[at + 1].isalnum())


@given(found())
def test_replacing_leaves_no_found_text_where_it_was(case: tuple[str, list[list[Span]]]) -> None:
    """What is left is the text around the spans, and a sign for each of them that none of them contains."""
    text, groups = case
    spans = merged(text, groups)
    after, _ = replaced(text, spans, ["\0"] * len(spans))
    assert after.count("\0") == len(spans)
    rest = after.split("\0")
    outside = "".join(letter for at, letter in enumerate(text) if at not in covered(spans))
    assert "".join(rest) == outside
    at = 0
    for piece, one in zip(rest, spans, strict=False):
        assert text[at : one.start] == piece
        at = one.end


def test_the_first_group_wins_then_the_longer() -> None:
    """A part that sticks out stays, without the blanks and signs at its ends."""
    text = "Ann Lee, ann@lee.example"
    mail = Span(9, 24, "EMAIL_ADDRESS", 1.0)
    name = Span(0, 12, "PERSON", 0.85)
    short = Span(0, 3, "LOCATION", 0.9)
    assert merged(text, [[mail], [short, name]]) == (Span(0, 7, "PERSON", 0.85), mail)


@pytest.mark.parametrize(
    "spans",
    [
        pytest.param([Span(0, 4, "PERSON", 1.0)], id="beyond-the-end"),
        pytest.param([Span(-1, 2, "PERSON", 1.0)], id="before-the-start"),
        pytest.param([Span(1, 1, "PERSON", 1.0)], id="empty"),
        pytest.param([Span(0, 2, "PERSON", 1.0), Span(1, 3, "PERSON", 1.0)], id="overlapping"),
        pytest.param([Span(2, 3, "PERSON", 1.0), Span(0, 1, "PERSON", 1.0)], id="out-of-order"),
        pytest.param([Span(0, 1, "SECRET", 1.0)], id="unknown-entity"),
        pytest.param([Span(0, 1, "PERSON", float("nan"))], id="no-score"),
    ],
)
def test_spans_that_do_not_fit_are_told(spans: list[Span]) -> None:
    """Of a text of three letters."""
    assert not fits("abc", spans)
