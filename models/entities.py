"""The closed list of what a redactor finds, by the names of the wire contract, and findings before anything is done with
them: overlaps settled, fit or not. Pure; settling must never uncover a word that was found.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final

from models.planes.texts import Span

ENTITIES: Final = (
    "PERSON",
    "LOCATION",
    "ORGANIZATION",
    "NRP",
    "EMAIL_ADDRESS",
    "PHONE_NUMBER",
    "CREDIT_CARD",
    "IBAN_CODE",
    "US_SSN",
    "IP_ADDRESS",
    "URL",
    "DOMAIN_NAME",
    "STREET_ADDRESS",
    "ZIP_CODE",
    "DATE_TIME",
    "AGE",
    "TITLE",
    "US_DRIVER_LICENSE",
    "PASSPORT",
    "API_KEY",
    "CRYPTO",
)
"""Every entity that has a name on the wire (API.md, end of section 3); all others are unknown."""

MIN_SCORE: Final = 0.4
"""Of findings that count where nobody asked for another bound (API.md, `redact.minScore`)."""

_KNOWN: Final = frozenset(ENTITIES)


def merged(text: str, groups: Iterable[Iterable[Span]]) -> tuple[Span, ...]:
    """Findings in one text without overlaps, by start.

    groups: the most trusted first; whatever one covers, later ones lose. Inside a group the longer one wins, then
    the higher score. What sticks out of a span that lost stays a finding of its own, if anything can be read in
    it: nothing that was found is uncovered because something else was found beside it.
    """
    taken: list[Span] = []  # by start, apart from one another
    for group in groups:
        for span in sorted(group, key=_preference):
            first = bisect_right(taken, span.start, key=_end)
            last = bisect_left(taken, span.end, first, key=_start)
            for piece in _left_of(text, span, taken[first:last]):
                insort(taken, piece, key=_start)
    return tuple(taken)


def _preference(span: Span) -> tuple[int, float, int]:
    return span.start - span.end, -span.score, span.start


def _start(span: Span) -> int:
    return span.start


def _end(span: Span) -> int:
    return span.end


def _left_of(text: str, span: Span, over: Sequence[Span]) -> list[Span]:
    """The pieces of `span` that those in `over`, by start, do not cover."""
    if not over:
        return [span]
    edges = [span.start]
    for one in over:
        edges += (one.start, one.end)
    edges.append(span.end)
    pieces = zip(edges[::2], edges[1::2], strict=True)
    return [
        Span(*bounds, span.entity, span.score)
        for start, end in pieces
        if (bounds := _readable(text, start, end)) is not None
    ]


def _readable(text: str, start: int, end: int) -> tuple[int, int] | None:
    """The part of `text[start:end]` from the first letter or digit to the last; None with fewer than two of them."""
    inside = [at for at in range(start, end) if text[at].isalnum()]
    return (inside[0], inside[-1] + 1) if len(inside) > 1 else None


def fits(text: str, spans: Sequence[Span]) -> bool:
    """Whether `spans` can be findings in `text`: known entities, inside it, by start, apart from one another."""
    length = len(text)
    return all(
        0 <= one.start < one.end <= length and one.entity in _KNOWN and 0.0 <= one.score <= 1.0
        for one in spans
    ) and all(one.end <= other.start for one, other in pairwise(spans))
