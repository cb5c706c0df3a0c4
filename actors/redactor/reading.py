"""What the statistical model is given to read, and what of its answer is kept. Pure; positions stay those of the text.

The model was made from newspapers and web pages: it sees names by their capitals, and takes rows of digits, blanks
and lines for all sorts of things.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from actors.redactor.recognisers.title import FORMS
from actors.redactor.recognisers.words import NO_NAMES, without_possessive
from models.planes.texts import Span

_ENTITIES: Final = {
    "PERSON": "PERSON",
    "PER": "PERSON",
    "GPE": "LOCATION",
    "LOC": "LOCATION",
    "FAC": "LOCATION",
    "ORG": "ORGANIZATION",
    "NORP": "NRP",
    "DATE": "DATE_TIME",
    "TIME": "DATE_TIME",
}
_LONGEST_RUN: Final = 80
_RUN: Final = re.compile(rf"\S{{{_LONGEST_RUN + 1},}}")
_QUOTED: Final = re.compile(r"(?m)^[>|?*#\t -]{1,8}")
_LETTERS: Final = re.compile(r"[^\W\d_]{2}")
_FORM: Final = re.compile(rf"{FORMS}\.?\s+")
_ABSOLUTE: Final = re.compile(
    r"(?i)\b(?:(?:mon|tues|wednes|thurs|fri|satur|sun)days?|january|february|march|april|june|july|august|september"
    r"|october|november|december|(?:1[5-9]|20)\d\d|\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}|\d{1,2}:\d\d)\b|(?-i:\bMay\b)"
)


def has_words(text: str) -> bool:
    """Whether there is anything for the model to read."""
    return _LETTERS.search(text) is not None


def for_model(text: str) -> str:
    """The text as the model reads it, of the same length.

    Runs without a blank, such as keys and encoded data, are blanked out: no entity is in them that it would find,
    and its rules for words are slow on them. So are signs of quoting at the beginning of lines.
    """
    if len(text) > _LONGEST_RUN:
        text = _RUN.sub(lambda match: " " * len(match.group()), text)
    return _QUOTED.sub(lambda match: " " * len(match.group()), text) if "\n" in text else text


def accepted(text: str, start: int, end: int, label: str, score: float) -> Iterator[Span]:
    """What is kept of one entity of the model's: nothing, or a span for each line that it goes over."""
    entity = _ENTITIES.get(label)
    if entity is None:
        return
    if entity == "DATE_TIME":
        if _ABSOLUTE.search(text[start:end]):
            yield Span(start, end, entity, score)
        return
    at = start
    for line in text[start:end].split("\n"):
        first, last = _trimmed(text, at, at + len(line))
        at += len(line) + 1
        if last - first > 1 and text[first:last].lower() not in NO_NAMES and has_words(text[first:last]):
            yield Span(first, last, entity, score)


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """Without title, quotes and blanks around it, and without its `'s`."""
    while start < end and not text[start].isalnum():
        start += 1
    if form := _FORM.match(text, start, end):
        start = form.end()
    end = without_possessive(text, start, end) if start < end else end
    while end > start and not (text[end - 1].isalnum() or (text[end - 1] in ".)" and end - start > 2)):
        end -= 1
    return start, end
