"""What masking and redacting make of one text. Pure; lengths and positions are in code points."""

from __future__ import annotations

from collections.abc import Sequence

from models.entities import fits
from models.errors import FilterBlocked, JsonRefused, RedactionFailed
from models.planes.texts import Span
from models.strict_json import dumps


def masked(text: str, character: str, keep_last: int) -> str:
    """`text` with every character but the last `keep_last` replaced: as long as it was."""
    hidden = max(len(text) - keep_last, 0)
    return character * hidden + text[hidden:]


def text_of(value: float) -> str:
    """A number or boolean as its JSON text. Raises FilterBlocked for one that has none."""
    try:
        return dumps(value).decode()
    except JsonRefused:
        raise FilterBlocked("a number of the answer has no JSON text") from None


def checked(texts: Sequence[str], found: Sequence[tuple[Span, ...]]) -> None:
    """Whether an answer of a redactor can be that to these texts. Raises RedactionFailed."""
    if len(texts) != len(found):
        raise RedactionFailed("a redactor answered for another number of texts")
    for text, spans in zip(texts, found, strict=True):
        if not fits(text, spans):
            raise RedactionFailed("a redactor answered with spans that cannot be")


def replaced(text: str, spans: Sequence[Span], instead: Sequence[str | None]) -> tuple[str, tuple[Span, ...]]:
    """`text` with spans replaced, and the spans that were not, at their new places.

    instead: per span what takes its place; None leaves it.
    """
    pieces: list[str] = []
    rest: list[Span] = []
    at = moved = 0
    for span, placed in zip(spans, instead, strict=True):
        if placed is None:
            rest.append(Span(span.start + moved, span.end + moved, span.entity, span.score))
            continue
        pieces += (text[at : span.start], placed)
        moved += len(placed) - (span.end - span.start)
        at = span.end
    return "".join((*pieces, text[at:])), tuple(rest)
