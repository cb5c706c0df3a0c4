"""Texts on their way to a region's redactors, and what they found in them: positions, never the text again.

Texts are personal data: they are in no log, no error, no record and no file, and an answer has none of them.
"""

from __future__ import annotations

import msgspec

MOST_BYTES = 96_000
"""Of texts in one call, so that its arguments stay out of Ray's object store, which begins at 100 KiB."""
MOST_TEXTS = 256
"""In one call."""


class Find(msgspec.Struct, frozen=True):
    """texts: each of at most MOST_BYTES in UTF-8; together too. A redactor looks for every entity that it knows."""

    texts: tuple[str, ...]


class Span(msgspec.Struct, frozen=True, array_like=True):
    """start, end: in characters (code points) of its text. score: 0 to 1."""

    start: int
    end: int
    entity: str
    score: float


class Found(msgspec.Struct, frozen=True):
    """Per text, in order: its spans, by start, not overlapping."""

    spans: tuple[tuple[Span, ...], ...]
