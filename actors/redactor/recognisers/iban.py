"""International bank account numbers: length by country and the check digits of ISO 13616 (ISO/IEC 7064, mod 97-10)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from actors.redactor.recognisers.patterns import Pattern, whole
from models.planes.texts import Span

_BEGINNING: Final = Pattern(r"[A-Za-z]{2}[0-9]{2}")
_LENGTHS: Final = {
    name: int(length)
    for length, names in {
        "15": "NO",
        "16": "BE",
        "18": "DK FI FO GL NL FK",
        "19": "MK SI",
        "20": "AT BA EE KZ LT LU XK MN",
        "21": "CH HR LI LV",
        "22": "BG BH CR DE GB GE IE ME RS VA",
        "23": "AE GI IL IQ TL OM SO",
        "24": "AD CZ ES MD PK RO SA SE SK TN VG",
        "25": "LY PT ST",
        "26": "IS TR",
        "27": "BI DJ FR GR IT MC MR SM",
        "28": "AL AZ BY CY DO GT HU LB NI PL SV",
        "29": "BR EG PS QA UA",
        "30": "JO KW MU YE",
        "31": "MT SC",
        "32": "LC",
        "33": "RU",
    }.items()
    for name in names.split()
}


def find(text: str) -> Iterator[Span]:
    """IBAN_CODE, in one piece or in groups, in upper or lower case."""
    for match in _BEGINNING.matches(text):
        start = match.span()[0]
        length = _LENGTHS.get(text[start : start + 2].upper())
        if length is None:
            continue
        number, end = _taken(text, start, length)
        if len(number) == length and whole(text, start, end) and checks(number):
            yield Span(start, end, "IBAN_CODE", 1.0)


def _taken(text: str, start: int, length: int) -> tuple[str, int]:
    """`length` letters and digits from `start` on, with single blanks or hyphens between; and where they end."""
    taken, at, joint = "", start, False
    while len(taken) < length and at < len(text):
        if text[at].isascii() and text[at].isalnum():
            taken, joint = taken + text[at], False
        elif joint or text[at] not in " -":
            break
        else:
            joint = True
        at += 1
    return taken, at


def checks(number: str) -> bool:
    """Whether the check digits, third and fourth, are right."""
    moved = number[4:] + number[:4]
    return int("".join(str(int(one, 36)) for one in moved)) % 97 == 1
