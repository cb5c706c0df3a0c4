"""The model: found or clearly missed at the start."""

from __future__ import annotations

import pytest

from actors.redactor.ner import Ner
from models.errors import ConfigurationError
from tests.kit.redactor import core


@pytest.mark.parametrize("model", ["no_such_model", "spacy"])
def test_a_model_that_is_none_is_named_with_its_setting(model: str) -> None:
    """An operator must see what is missing."""
    with pytest.raises(ConfigurationError, match=f"EXEAT_NER_MODEL: the spaCy model {model}"):
        Ner(model)


def test_only_what_finds_entities_is_loaded() -> None:
    """Tagger, parser and their vectors cost more time than they tell."""
    assert core()._ner._nlp.pipe_names == ["ner"]
