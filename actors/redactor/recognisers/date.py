"""Dates and times that are written in figures or with a month's name. Durations and `tomorrow` are none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from actors.redactor.recognisers.patterns import Pattern, whole
from models.planes.texts import Span

MONTH: Final = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|(?-i:Mar)|(?-i:March|MARCH)|apr(?:il)?|(?-i:May|MAY)|june?|july?|aug(?:ust)?|sept?(?:ember)?"
    r"|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)"
)
_CLOCK: Final = r"[0-2]?[0-9]:[0-5][0-9](?::[0-5][0-9](?:[.,][0-9]{1,9})?)?(?:[ ]?(?:[ap]\.?m\b\.?|Z|UTC|GMT))?(?:[ ]?[+-][0-2][0-9]:?[0-5][0-9])?"
_ISO: Final = Pattern(
    rf"(?i)(?P<year>[0-9]{{4}})(?P<j>[-/.])(?P<month>[0-9]{{1,2}})(?P<k>[-/.])(?P<day>[0-9]{{1,2}})(?:[T ,]{{1,2}}{_CLOCK})?"
)
_FIGURES: Final = Pattern(
    rf"(?i)(?P<one>[0-9]{{1,2}})(?P<j>[-/.])(?P<two>[0-9]{{1,2}})(?P<k>[-/.])(?P<year>[0-9]{{4}}|[0-9]{{2}})(?:[ ,]{{1,2}}{_CLOCK})?"
)
_NAMED: Final = Pattern(
    rf"(?i)(?:[0-9]{{1,2}}(?:st|nd|rd|th)?[ -](?:of[ ])?{MONTH}\b\.?(?:,?[ -][0-9]{{4}})?"
    rf"|{MONTH}\b\.?[ ][0-9]{{1,2}}(?:st|nd|rd|th)?\b(?:,?[ ][0-9]{{4}})?|{MONTH}\b\.?,?[ ][0-9]{{4}})"
    rf"(?:,?[ ](?:at[ ])?{_CLOCK})?"
)
_TIME: Final = Pattern(r"(?i)[0-2]?[0-9](?::[0-5][0-9]){1,2}[ ]?[ap]\.?m\b\.?|[01]?[0-9][ ][ap]\.m\.")


def find(text: str) -> Iterator[Span]:
    """DATE_TIME."""
    for match in _ISO.matches(text):
        if match.group("j") == match.group("k") and _is_date(match.group("month"), match.group("day")):
            yield from _whole(text, *match.span(), 0.9)
    for match in _FIGURES.matches(text):
        one, two = match.group("one"), match.group("two")
        if match.group("j") == match.group("k") and (_is_date(one, two) or _is_date(two, one)):
            yield from _whole(text, *match.span(), 0.85 if len(match.group("year")) == 4 else 0.6)
    for pattern in (_NAMED, _TIME):
        for match in pattern.matches(text):
            yield from _whole(text, *match.span(), 0.8)


def _is_date(month: str, day: str) -> bool:
    return 1 <= int(month) <= 12 and 1 <= int(day) <= 31


def _whole(text: str, start: int, end: int, score: float) -> Iterator[Span]:
    goes_on = start > 1 and text[start - 1] in "-/." and text[start - 2].isdigit()
    if whole(text, start, end) and not goes_on:
        yield Span(start, end, "DATE_TIME", score)
