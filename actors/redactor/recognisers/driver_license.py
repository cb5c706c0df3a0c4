"""Numbers of driving licences. Every state has a form of its own, so the words before it decide."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from actors.redactor.recognisers.patterns import Pattern, whole
from models.planes.texts import Span

_NAMED: Final = Pattern(
    r"(?i)(?:driv(?:er|ing)['’]?s?['’]?[ ]licen[cs]e|driver[ ]id|\bdl)\b(?:[ ]?(?:number|no|num|id)\b\.?)?[ ]?#?"
    r"(?:[ ]?(?:is|was|:|=|-)){0,2}[ ]?#?(?P<number>[A-Z0-9][A-Z0-9 -]{3,19}[A-Z0-9]|[A-Z0-9]{4,20})"
)
_LEAST_DIGITS: Final = 4


def find(text: str) -> Iterator[Span]:
    """US_DRIVER_LICENSE."""
    for match in _NAMED.matches(text):
        start, end = match.span("number")
        end = start + len(number(text[start:end]))
        if end > start and whole(text, start, end):
            yield Span(start, end, "US_DRIVER_LICENSE", 0.8)


def number(words: str) -> str:
    """The words at the beginning that have digits; nothing when there are too few digits in them."""
    taken: list[str] = []
    for word in words.split(" "):
        if not any(one.isdigit() for one in word) and (taken or len(word) > 2):
            break
        taken.append(word)
    joined = " ".join(taken)
    return joined if sum(one.isdigit() for one in joined) >= _LEAST_DIGITS else ""
