"""Postal codes: behind the word, behind a state of the United States, or in the forms of Britain and Canada."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from actors.redactor.recognisers.patterns import Pattern, whole
from models.planes.texts import Span

_NAMED: Final = Pattern(
    r"(?i)\b(?:zip|zip[ -]?codes?|post[ -]?codes?|postal[ -]codes?|plz)\b(?:[ ](?:is|was|to))?[ ]?[:=#]?[ ]{0,4}"
    r"(?P<code>[A-Z]{0,2}-?[0-9][A-Z0-9]{1,5}(?:[ -][0-9][A-Z0-9]{1,3})?)"
)
_AMERICAN: Final = Pattern(
    r"\b(?:A[AEKLPRZ]|C[AOT]|D[CE]|FL|G[AU]|HI|I[ADLN]|K[SY]|LA|M[ADEHINOPST]|N[CDEHJMVY]|O[HKR]|P[AR]|RI|S[CD]"
    r"|T[NX]|UT|V[AIT]|W[AIVY]),?[ ](?P<code>[0-9]{5}(?:-[0-9]{4})?)"
)
_BRITISH: Final = Pattern(r"\b[A-Z]{1,2}[0-9][0-9A-Z]?[ ][0-9][ABD-HJLNP-UW-Z]{2}\b")
_CANADIAN: Final = Pattern(r"\b[ABCEGHJ-NPRSTVXY][0-9][A-Z][ -][0-9][A-Z][0-9]\b")


def find(text: str) -> Iterator[Span]:
    """ZIP_CODE."""
    for match in _NAMED.matches(text):
        start, end = match.span("code")
        if whole(text, start, end):
            yield Span(start, end, "ZIP_CODE", 0.85)
    yield from _AMERICAN.spans(text, "ZIP_CODE", 0.7, "code")
    yield from _BRITISH.spans(text, "ZIP_CODE", 0.7)
    yield from _CANADIAN.spans(text, "ZIP_CODE", 0.7)
