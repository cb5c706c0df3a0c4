"""Telephone numbers: international ones and those that the library of numbering plans knows; others by what is said around them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import phonenumbers

from actors.redactor.recognisers.patterns import Pattern, whole
from models.planes.texts import Span

_NUMBER: Final = Pattern(
    r"(?:\+[ ]?)?(?:\([0-9]{1,5}\)|[0-9])(?:[ ./-]{0,2}(?:\([0-9]{1,5}\)|[0-9])){5,17}"
    r"(?:,?[ ]?(?:x|ext\.?|extension)[ ]?[0-9]{1,6})?"
)
_CUE: Final = Pattern(
    r"(?i)\b(?:phones?|tel|telephones?|mobile|cell|fax|call(?:s|ed|ing)?|dial|sms|text(?:ed|ing)?|whatsapp|(?:phone|mobile|cell) numbers?"
    r"|reach|contact|ring|hotline|desk|office|answering|messages?)\b[^0-9]{0,30}$"
)
_AFTER: Final = Pattern(
    r"(?i)^[ ]?[-–(,:]{0,2}[ ]?(?:phone|tel|mobile|cell|fax|office|home|work|desk|direct)\b"
)
_THOUSANDS: Final = Pattern(r"^[0-9]{1,3}(?:[ .][0-9]{3})+$")
_YEARS: Final = Pattern(r"^(?:19|20)[0-9]{2}[ -/.–]+(?:19|20)[0-9]{2}$")
_OTHER: Final = Pattern(
    r"(?i)\b(?:isbn|issn|invoice|order|orders|ref|reference|sku|ticket|case|id|no|version|serial|tracking|ean|upc|part|item|account|policy)\b[^\p{L}\p{N}]{0,4}$"
)
"""Words before numbers of other kinds."""
_REGIONS: Final = ("US", "GB", "DE", "FR", "IT", "ES", "NL", "SE", "AU", "CH", "PL", "BR", "IN")
"""Whose national numbers are recognised without a word about telephones, tried in this order."""
_LEAST, _MOST = 7, 15


def find(text: str) -> Iterator[Span]:
    """PHONE_NUMBER."""
    for match in _NUMBER.matches(text):
        start, end = match.span()
        number = text[start:end]
        digits = _digits(number)
        if digits > _MOST and number.startswith("+"):
            # Another number stands right behind it.
            number = _international(number)
            end, digits = start + len(number), _digits(number)
        if not _LEAST <= digits <= _MOST or not whole(text, start, end) or _goes_on(text, start, end):
            continue
        score = _score(text, start, end, number)
        if score:
            yield Span(start, end, "PHONE_NUMBER", score)


def _digits(number: str) -> int:
    return sum(one.isdigit() for one in number.lower().partition("x")[0])


def _international(number: str) -> str:
    """The longest beginning of `number` up to a blank that can be called; as it is when none can."""
    ends = [at for at, one in enumerate(number[:40]) if one == " "]
    return next((number[:end] for end in reversed(ends) if _possible(number[:end])), number)


def _goes_on(text: str, start: int, end: int) -> bool:
    """Whether it is a part of an amount, a version or a longer code."""
    before, after = text[max(start - 2, 0) : start], text[end : end + 2]
    return (
        before[-1:] in {"$", "€", "£", "#", "_"}
        or (before[-1:] in {".", ",", "-", "/"} and before[:1].isalnum() and text[start] != "+")
        or (before[-1:] == ":" and before[:1].isdigit())
        or (after[:1] in {".", ",", "-", "/", ":", "_"} and after[1:].isdigit())
        or after[:1] in {"%", "_"}
    )


def _score(text: str, start: int, end: int, number: str) -> float:
    if number.startswith(("+", "00")) and _possible("+" + number.lstrip("+0 ")):
        return 0.9
    said = _CUE.first(text[max(start - 48, 0) : start]) or _AFTER.first(text[end : end + 16])
    if said:
        return 0.75
    if _OTHER.first(text[max(start - 24, 0) : start]):
        return 0.0
    if _THOUSANDS.first(number) or _YEARS.first(number):
        return 0.0
    parted = not number.isdigit()
    if any(_valid(number, region) for region in (_REGIONS if parted else _REGIONS[:1])):
        return 0.7 if parted else 0.4
    return 0.5 if parted and len([one for one in number if one in " .-/()"]) >= 2 else 0.0


def _possible(number: str) -> bool:
    try:
        return phonenumbers.is_possible_number(phonenumbers.parse(number))
    except phonenumbers.NumberParseException:
        return False


def _valid(number: str, region: str) -> bool:
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(number, region))
    except phonenumbers.NumberParseException:
        return False
