"""The whole redactor on texts: deterministic findings first, names of any kind, positions in code points, nothing kept."""

from __future__ import annotations

import logging

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.entities import fits
from tests.kit import redactor
from tests.kit.redactor import core


def redacted(text: str) -> str:
    (spans,) = core().find((text,))
    return redactor.redacted(text, spans)


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("Please call John Smith in Berlin", "Please call <PERSON> in <LOCATION>"),
        ("Mail john@smith.example or +44 20 7946 0958", "Mail <EMAIL_ADDRESS> or <PHONE_NUMBER>"),
        ("Card 4111 1111 1111 1111 of Maria Garcia", "Card <CREDIT_CARD> of <PERSON>"),
        ("My name is Ján M. Novák but everyone calls me Novák", "My name is <PERSON> but everyone calls me <PERSON>"),
        ("😀👩‍👧 Dr. Angela Weiss wrote", "😀👩‍👧 <TITLE> <PERSON> wrote"),
        ("", ""),
        ("42", "42"),
        ("How do I check my balance?", "How do I check my balance?"),
    ],
    ids=("model", "patterns", "both", "again", "astral", "empty", "number", "nothing"),
)  # fmt: skip
def test_what_goes_and_what_stays(text: str, after: str) -> None:
    """Replaced by names of entities."""
    assert redacted(text) == after


def test_many_texts_are_answered_each_in_its_place() -> None:
    """As each would be alone, whatever stands beside it."""
    texts = ["Ask Maria Garcia", "", "x@y.example", "Ask Maria Garcia", "12"]
    together = core().find(texts)
    assert together == tuple(core().find((text,))[0] for text in texts)
    assert [len(spans) for spans in together] == [1, 0, 1, 1, 0]


@given(st.lists(st.text(alphabet=st.sampled_from("JohnSmith 12@.😀é\n'(),:"), max_size=40), max_size=3))
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_any_texts_get_spans_that_fit(texts: list[str]) -> None:
    """Inside each text, by start, not overlapping; no text raises."""
    found = core().find(texts)
    assert len(found) == len(texts)
    assert all(fits(text, spans) for text, spans in zip(texts, found, strict=True))


def test_the_vocabulary_does_not_grow() -> None:
    """Words that pass through are not kept, or a redactor's memory would be a list of all clients' words."""
    nlp = core()._ner._nlp
    core().warm()
    before = len(nlp.vocab.strings)
    core().find([f"Zyxwvu{at} met Qwertz{at} in Asdf{at}" for at in range(50)])
    assert len(nlp.vocab.strings) == before
    assert "Zyxwvu7" not in nlp.vocab.strings
    assert "Zyxwvu7" not in nlp.vocab


def test_nothing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """No text of a client is in any log, at whatever level."""
    with caplog.at_level(logging.DEBUG):
        core().find(("Please call John Smith",))
    assert caplog.text == ""
