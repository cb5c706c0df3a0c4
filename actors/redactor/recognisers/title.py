"""Titles: forms of address before a name, and occupations where the words around say that it is one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from actors.redactor.recognisers.patterns import Pattern
from models.planes.texts import Span

FORMS: Final = (
    r"(?:Mr|Mrs|Ms|Miss|Mx|Dr|Prof|Professor|Doctor|Rev|Reverend|Fr|Sr|Sra|Srta|Dra|Herr|Frau|Mme|Mlle|Monsieur"
    r"|Madame|Lord|Lady|Dame|Capt|Captain|Col|Colonel|Gen|General|Lt|Lieutenant|Sgt|Sergeant|Maj|Major|Hon|Judge"
    r"|Justice|Senator|Sen|Rep|Gov|Governor|Pastor|Rabbi|Imam|Sheikh|Signor|Signora|Mister|Mstr|Messrs)"
)
_BEFORE: Final = Pattern(rf"\b(?P<title>{FORMS}\.?)[ ]\p{{Lu}}[\p{{L}}.'’-]")
_FIELD: Final = Pattern(
    r"(?im)\b(?:job[ ]title|title|position|occupation|profession|designation)[ \t]*[:=][ \t]*"
    r"(?P<title>\p{L}[\p{L} ,&/'’().-]{1,60}\p{L})[ \t]*$"
)
_SPEAKER: Final = Pattern(
    r",[ ]the[ ](?P<title>\p{L}[\p{L} &/'’-]{2,40}(?:,[ ][\p{L} ]{2,24}){0,3}),?[ ](?:said|says|told|added|explained)\b"
)
_WORK: Final = Pattern(
    r"(?i)\b(?:works?|worked|working|hired|employed|job|career|retired|appointed)[ ](?:is[ ])?as[ ](?:an?|the|our)[ ]"
    r"(?P<title>\p{L}[\p{L}'’-]+(?:[ ](?:and[ ]|of[ ])?\p{L}[\p{L}'’-]+){0,2}?)(?:[ ](?:at|for|in|with|by|since|on|who|and)\b|[.,;!?]|$)"
)


def find(text: str) -> Iterator[Span]:
    """TITLE."""
    yield from _BEFORE.spans(text, "TITLE", 0.8, "title")
    yield from _FIELD.spans(text, "TITLE", 0.6, "title")
    yield from _SPEAKER.spans(text, "TITLE", 0.5, "title")
    yield from _WORK.spans(text, "TITLE", 0.5, "title")
