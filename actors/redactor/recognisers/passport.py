"""Passport numbers: six to nine letters and digits (ICAO 9303) behind the word, and machine-readable lines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from actors.redactor.recognisers.patterns import Pattern, whole
from models.planes.texts import Span

_NAMED: Final = Pattern(
    r"(?i)\bpassport\b(?:[ ]?(?:number|no|num|id)\b\.?)?[ ]?#?(?:[ ]?(?:is|was|:|=|-)){0,2}[ ]?#?"
    r"(?P<number>[A-Z0-9]{6,10})"
)
_READABLE: Final = Pattern(
    r"P[A-Z<][A-Z]{3}[A-Z<]{39}|[A-Z0-9<]{9}[0-9][A-Z]{3}[0-9]{7}[MFX<][0-9]{7}[A-Z0-9<]{14}[0-9<]{2}"
)
_LEAST_DIGITS: Final = 4


def find(text: str) -> Iterator[Span]:
    """PASSPORT."""
    for match in _NAMED.matches(text):
        start, end = match.span("number")
        digits = sum(one.isdigit() for one in match.group("number"))
        if digits >= _LEAST_DIGITS and whole(text, start, end):
            yield Span(start, end, "PASSPORT", 0.8)
    if "<" in text:
        yield from _READABLE.spans(text, "PASSPORT", 0.95)
