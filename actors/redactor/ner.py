"""The statistical part: a spaCy pipeline of which only its entity recogniser is loaded, over many texts at once.

Everything made from a text lives inside one memory zone and is gone when `find` returns: the vocabulary must not grow
with what passes through. It is not safe for threads; its process does one batch at a time.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from actors.redactor import reading
from actors.redactor.strangers import Lexicon
from actors.settings import NER_MODEL
from models.errors import ConfigurationError
from models.planes.texts import Span

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc

SETTING: Final = "EXEAT_NER_MODEL"
SCORE: Final = 0.85
"""Of every entity it finds; the model itself gives none."""
BATCH: Final = 64
_NOT_NEEDED: Final = (
    "tagger",
    "parser",
    "attribute_ruler",
    "senter",
    "morphologizer",
    "textcat",
)

_log = logging.getLogger("exeat.redactor")


class Ner:
    """One loaded model."""

    def __init__(self, model: str = NER_MODEL) -> None:
        """model: the name of an installed package. Raises ConfigurationError when it is none that finds entities."""
        self._nlp = _load(model)
        self.lexicon = _lexicon(self._nlp)

    def find(self, texts: Sequence[str]) -> list[list[Span]]:
        """Per text what the model takes for an entity; not overlapping. Texts of any length."""
        found: list[list[Span]] = [[] for _ in texts]
        asked = [(reading.for_model(text), at) for at, text in enumerate(texts) if reading.has_words(text)]
        if not asked:
            return found
        with self._nlp.memory_zone():
            for doc, at in self._nlp.pipe(asked, as_tuples=True, batch_size=BATCH):
                found[at] = list(_spans(doc, texts[at]))
        return found


def _load(model: str) -> Language:
    """Only what finding entities needs of it."""
    import spacy  # not before somebody wants a redactor: it takes a second, and guardians know the class, too

    try:
        nlp: Language = spacy.load(model, exclude=_NOT_NEEDED)
    except (OSError, ValueError, TypeError, ImportError, AttributeError) as error:
        raise ConfigurationError(
            f"the spaCy model {model} cannot be loaded ({type(error).__name__}); is it installed?",
            field=SETTING,
        ) from None
    if "ner" not in nlp.pipe_names:
        raise ConfigurationError(f"the spaCy model {model} finds no entities", field=SETTING)
    if "tok2vec" in nlp.pipe_names and not _listens(nlp):
        nlp.remove_pipe("tok2vec")
    _log.info("model loaded", extra={"model": model, "parts": nlp.pipe_names})
    return nlp


def _lexicon(nlp: Language) -> Lexicon:
    """The dictionary of its lemmatiser, which is not needed itself; empty when it has none."""
    if "lemmatizer" not in nlp.pipe_names:
        return Lexicon(())
    lemmatizer: Any = nlp.get_pipe("lemmatizer")
    tables = lemmatizer.lookups
    nlp.remove_pipe("lemmatizer")
    words = {
        word
        for table in ("lemma_index", "lemma_exc")
        if tables.has_table(table)
        for several in tables.get_table(table).values()
        for word in several
    }
    return Lexicon(words)


def _listens(nlp: Language) -> bool:
    """Whether the entity recogniser takes its vectors from another part; else it has its own."""
    ner: Any = nlp.get_pipe("ner")
    return any("listener" in node.name for node in ner.model.walk())


def _spans(doc: Doc, text: str) -> Iterator[Span]:
    for one in doc.ents:
        yield from reading.accepted(text, one.start_char, one.end_char, one.label_, SCORE)
