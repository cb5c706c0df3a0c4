"""Unknown words in running text, written like names, are taken for names; everything else is left alone."""

from __future__ import annotations

import pytest

from actors.redactor.strangers import Lexicon
from tests.kit.redactor import core

WORDS = Lexicon(("walk", "big", "city", "go", "stone", "mason", "new", "house", "see", "man"))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("we walk to see Xylo in the city", ["Xylo"]),
        ("Xylo's big house, seen by Brindle van Quorn", ["Xylo", "Brindle van Quorn"]),
        ("New Xylo sees the city, walking", ["Xylo"]),
        ("the Big City has big houses", []),
        ("the big Stonemason, walked by men of stone-houses", []),
        ("we walk to see xylo in the big city", ["xylo"]),
        ("Xylo", []),
        ("XY-77 Qwx Zrt", []),
        ("", []),
    ],
    ids=("one", "run", "opener", "known", "forms", "lower", "alone", "code", "empty"),
)
def test_what_is_strange(text: str, found: list[str]) -> None:
    """With a dictionary of ten words, besides those that are never names."""
    assert [text[one.start : one.end] for one in WORDS.find(text)] == found


def test_without_a_dictionary_nothing_is() -> None:
    """A model may have none."""
    assert list(Lexicon(()).find("we walk to see Xylo in the city")) == []


def test_the_models_dictionary_knows_words_in_their_forms() -> None:
    """It comes with the model that is installed by default."""
    lexicon = core()._ner.lexicon
    assert len(lexicon) > 50_000
    assert all(map(lexicon.knows, ("statement", "Walked", "cities", "running", "wouldn't", "salesperson")))
    assert not any(map(lexicon.knows, ("Yefremova", "Kreutzmann")))
    assert lexicon.knows("x" * 41)
