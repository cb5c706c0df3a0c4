"""Ages: the number alone, where the words around it say that it is one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from actors.redactor.recognisers.patterns import Pattern, whole
from models.planes.texts import Span

_FOLLOWED: Final = Pattern(
    r"(?i)(?P<age>[0-9]{1,3})(?:[ -]?(?:years?|yrs?|months?|weeks?)[ -](?:olds?|young|of[ ]age)\b"
    r"|[ -]?(?:y/o|y\.o\.|yo\b)|[ -]?yrs?\b\.?[ ]?old)"
)
_LED: Final = Pattern(
    r"(?i)\b(?:aged?|age[ ](?:of|is|was)|ages|turn(?:s|ed|ing)?|turns|(?:i['’]m|i[ ]am|(?:s?he|who)(?:['’]s|[ ]is))(?:[ ](?:only|just|almost|already|now))?)"
    r"[ ]?[:=]?[ ]?(?P<age>[0-9]{1,3})(?P<behind>[ ]?[%$€£.,:/x-]?[0-9\p{L}]?)"
)
_BIRTHDAY: Final = Pattern(r"(?i)(?P<age>[0-9]{1,3})(?:st|nd|rd|th)[ ]birthday")
_OLDEST: Final = 125


def find(text: str) -> Iterator[Span]:
    """AGE."""
    if not any(one in text for one in "0123456789"):
        return
    for pattern in (_FOLLOWED, _BIRTHDAY):
        for match in pattern.matches(text):
            start, end = match.span("age")
            if int(match.group("age")) <= _OLDEST and (start == 0 or not text[start - 1].isalnum()):
                yield Span(start, end, "AGE", 0.85)
    for match in _LED.matches(text):
        start, end = match.span("age")
        behind = match.group("behind")
        if int(match.group("age")) <= _OLDEST and whole(text, start, end) and not _is_quantity(behind):
            yield Span(start, end, "AGE", 0.7)


def _is_quantity(behind: str) -> bool:
    """Whether what follows makes the number a price, a part, a time or a count of something."""
    if behind.strip()[:1] in set("%$€£"):
        return True
    return len(behind) > 1 and (not behind[0].isspace() or behind[1].islower()) and behind[-1].isalnum()
