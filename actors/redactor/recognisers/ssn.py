"""Numbers of the United States' social security: three, two, four digits; none has an area of 000 or 666."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from actors.redactor.recognisers.patterns import Pattern, whole
from models.planes.texts import Span

_PARTED: Final = Pattern(r"(?P<area>[0-9]{3})(?P<j>[- .])(?P<group>[0-9]{2})(?P<k>[- .])(?P<serial>[0-9]{4})")
_NAMED: Final = Pattern(
    r"(?i)(?:\bssn\b|social[ -]security)[^0-9]{0,24}(?P<number>[0-9]{3}[- .]?[0-9]{2}[- .]?[0-9]{4})"
)


def find(text: str) -> Iterator[Span]:
    """US_SSN. Without hyphens only where the words before it say what it is."""
    for match in _NAMED.matches(text):
        start, end = match.span("number")
        if whole(text, start, end):
            yield Span(start, end, "US_SSN", 0.95)
    for match in _PARTED.matches(text):
        start, end = match.span()
        area, joint, group, other, serial = map(match.group, ("area", "j", "group", "k", "serial"))
        given = area not in {"000", "666"} and group != "00" and serial != "0000"
        if given and joint == other and whole(text, start, end) and not _goes_on(text, start, end):
            yield Span(start, end, "US_SSN", 0.85 if joint == "-" else 0.5)


def _goes_on(text: str, start: int, end: int) -> bool:
    """Whether more digits follow behind a hyphen, as in other numbers."""
    return (text[max(start - 2, 0) : start - 1].isdigit() and text[start - 1] in "-.") or (
        text[end : end + 1] in {"-", "."} and text[end + 1 : end + 2].isdigit()
    )
