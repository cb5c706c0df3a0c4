"""Organisations: capitalised words that end with what companies end with, or behind words that lead to an employer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from actors.redactor.recognisers.patterns import Pattern, whole
from actors.redactor.recognisers.words import NO_NAMES, without_possessive
from models.planes.texts import Span

_PART: Final = r"(?:[\p{Lu}0-9][\p{L}\p{N}]*(?:[.'’&-][\p{L}\p{N}]+)*)"
_LEGAL: Final = (
    r"(?:Inc|Incorporated|LLC|L\.L\.C|LLP|LP|Ltd|Limited|Corp|Corporation|Co|Company|GmbH|AG|KG|SE|SA|S\.A|SAS|SARL|S\.r\.l"
    r"|SpA|S\.p\.A|BV|B\.V|NV|N\.V|AB|ASA|Oy|Oyj|A/S|ApS|PLC|plc|Pty|Pvt|Kft|Zrt|s\.r\.o|d\.o\.o|Sp\. z o\.o|Bhd|KK)\b\.?"
)
_KIND: Final = (
    r"(?:Group|Holdings?|Industries|Technologies|Technology|Systems|Solutions|Services|Associates|Partners|Partnership"
    r"|Ventures|Capital|Bank|Bancorp|Insurance|Financial|Laborator(?:y|ies)|Labs|Pharmaceuticals?|Pharma|Therapeutics"
    r"|Bioscience|Biosciences|Software|Networks?|Communications|Media|Entertainment|Studios?|Pictures|Records"
    r"|University|College|Institute|Academy|Foundation|Association|Society|Council|Committee|Ministry|Department"
    r"|Agency|Authority|Commission|Union|Federation|Hospital|Clinic|Airlines|Airways|Motors|Energy|Electric"
    r"|Logistics|Consulting|Consultants|International|Enterprises|Global|Analytics|Sons|Brothers|Bros)\b"
)
_JOIN: Final = r"(?:,?[ ](?:and|of|for|the|de|du|&|und|et|y)[ ]|,[ ]|[ ])"
_NAMED: Final = Pattern(rf"{_PART}(?:{_JOIN}{_PART}){{0,4}}?,?[ ]{_LEGAL}")
_KINDS: Final = Pattern(rf"{_PART}(?:[ ](?:and|of|&)[ ]{_PART}|[ ]{_PART}){{0,3}}(?:[ ]&)?[ ]{_KIND}")
_LED: Final = Pattern(
    r"(?:\b(?:[Ww]ork(?:s|ed|ing)?|[Jj]obs?|[Pp]osition|[Ii]ntern(?:s|ed|ing|ship)?)[ ](?:for|at)|\b(?:[Ee]mployed|[Hh]ired|[Ff]ounded|[Aa]cquired)[ ]by"
    r"|\b(?:[Ee]mployees?|CEO|CTO|CFO|COO|[Pp]resident|[Ff]ounder|[Cc]hairman|[Dd]irector|[Oo]wner)[ ](?:of|at)"
    r"|(?i:\b(?:company|employer|organi[sz]ation|business|firm|vendor|supplier|institution|school|bank)(?:[ ]name)?[ ]?:))"
    rf"[ ]{{1,4}}(?:the[ ])?(?P<organisation>{_PART}(?:(?:[ ]|[ ]&[ ]|[ ]of[ ]|[ ]and[ ]){_PART}){{0,4}})"
)


def find(text: str) -> Iterator[Span]:
    """ORGANIZATION."""
    for pattern, group, score in ((_NAMED, "", 0.75), (_KINDS, "", 0.6), (_LED, "organisation", 0.55)):
        for match in pattern.matches(text):
            start, end = match.span(group)
            start = _after_openers(text, start, end)
            end = without_possessive(text, start, end) if start < end else end
            if start < end and whole(text, start, end):
                yield Span(start, end, "ORGANIZATION", score)


def _after_openers(text: str, start: int, end: int) -> int:
    """Where the name begins behind `The`, `At` and other words that a sentence begins with; `end` if nothing is left."""
    while start < end:
        word, blank, _rest = text[start:end].partition(" ")
        if word.strip(",").lower() not in NO_NAMES:
            return start if blank or len(word) > 1 else end
        start += len(word) + len(blank)
    return end
