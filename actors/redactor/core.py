"""Finds personal data in texts: recognisers first, then the model, then unknown words and names said again.

It keeps nothing of a text beyond the call, logs none, and raises none.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from actors.redactor.ner import Ner
from actors.redactor.recognisers import (
    address,
    age,
    api_key,
    card,
    crypto,
    date,
    driver_license,
    email,
    iban,
    ip,
    name,
    nationality,
    organisation,
    passport,
    phone,
    place,
    ssn,
    title,
    url,
    zip_code,
)
from actors.redactor.recognisers.words import NO_NAMES
from actors.settings import NER_MODEL
from models.entities import merged
from models.planes.texts import Span

Recogniser = Callable[[str], Iterator[Span]]

PRECEDENCE: Final[tuple[tuple[Recogniser, ...], ...]] = (
    (email.find, api_key.find, card.find),
    (url.find, crypto.find, iban.find),
    (ip.find, date.find, ssn.find),
    (driver_license.find, passport.find),
    (address.find,),
    (phone.find, age.find),
    (zip_code.find, title.find),
    (name.find,),
    (organisation.find, place.find, nationality.find),
)
"""The surest first; what they find settles what later ones may still find, see `models.entities.merged`."""

_NEED_DIGITS: Final = (
    *(crypto.find, iban.find, card.find, ip.find, date.find, ssn.find, driver_license.find, passport.find),
    *(phone.find, age.find, zip_code.find),
)
_WITHOUT_DIGITS: Final = tuple(
    tuple(find for find in group if find not in _NEED_DIGITS) for group in PRECEDENCE
)
_DIGIT: Final = re.compile("[0-9]")

_SAMPLE: Final = (
    "Jane Doe of Acme Ltd., 12 High Street, London, called 020 7946 0958 on 1 May 2024 about j@doe.example."
)
_NAMES: Final = frozenset(("PERSON", "LOCATION", "ORGANIZATION", "NRP"))
_SHORTEST_NAME: Final = 4
_AGAIN: Final = 0.6
_PART: Final = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")


class RedactorCore:
    """One model and all recognisers. Not safe for threads."""

    def __init__(self, model: str = NER_MODEL) -> None:
        """Loads the model, which takes seconds. Raises ConfigurationError as `ner.Ner`."""
        self._ner = Ner(model)

    def warm(self) -> None:
        """Reads one text, so that the first caller waits for no library to get ready."""
        self.find((_SAMPLE,))

    def find(self, texts: Sequence[str]) -> tuple[tuple[Span, ...], ...]:
        """Per text, in order: what was found in it, by start, not overlapping."""
        return tuple(
            self._settled(text, named) for text, named in zip(texts, self._ner.find(texts), strict=True)
        )

    def _settled(self, text: str, named: Sequence[Span]) -> tuple[Span, ...]:
        groups = PRECEDENCE if _DIGIT.search(text) else _WITHOUT_DIGITS
        certain = [[one for find in group for one in find(text)] for group in groups]
        strange = list(self._ner.lexicon.find(text))
        spans = merged(text, (*certain, named, strange))
        if again := list(_again(text, spans)):
            spans = merged(text, (*certain, again, named, strange))
        return tuple(one for one in spans if not _is_no_name(text, one))


def _is_no_name(text: str, one: Span) -> bool:
    """Whether nothing but a common word is left of what was taken for a name."""
    return one.entity in _NAMES and text[one.start : one.end].lower() in NO_NAMES


def _again(text: str, spans: Sequence[Span]) -> Iterator[Span]:
    """Names of people that stand in the text a second time, whole or in part, where nothing told that they are names."""
    people = [one for one in spans if one.entity == "PERSON"]
    parts = {
        part
        for one in people
        for part in _PART.findall(text[one.start : one.end])
        if len(part) >= _SHORTEST_NAME and part[0].isupper() and part.lower() not in NO_NAMES
    }
    for match in _PART.finditer(text) if parts else ():
        start, word = match.start(), match.group()
        bare = word[:-2] if word.endswith(("'s", "’s")) else word
        if bare in parts and not _inside(people, start):
            yield Span(start, start + len(bare), "PERSON", _AGAIN)


def _inside(spans: Sequence[Span], at: int) -> bool:
    """Whether one of `spans`, by start and apart from one another, covers the place `at`."""
    before = bisect_right(spans, at, key=lambda one: one.start)
    return before > 0 and at < spans[before - 1].end
