"""Telephone numbers: international ones and those that the library of numbering plans knows; others by what is said around them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import phonenumbers

from actors.redactor.recognisers.patterns import Pattern, whole
from models.planes.texts import Span

_NUMBER: Final = Pattern(
    r"(?:\+[ ]?)?(?:\([0-9]{1,5}\)|[0-9])(?:[ ./-]{0,2}(?:\([0-9]{1,5}\)|[0-9])){5,}"
    r"(?:,?[ ]?(?:x|ext\.?|extension)[ ]?[0-9]{1,6})?"
)
"""One number, or several side by side."""
_PIECE: Final = Pattern(r"[^ /]+")
_ALIKE: Final = 16
"""So many numbers that are parted by what also parts their digits are told apart."""
_TRUNK: Final = Pattern(r"^0[1-9](?: [0-9]{2,})+$")
_SHAPE: Final = str.maketrans("123456789", "000000000")
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
        if not whole(text, start, end):
            continue
        number = text[start:end]
        if _digits(number) > _MOST and number.startswith("+"):
            # Others may stand right behind it.
            number = _international(number)
            if _digits(number) <= _MOST:
                yield from _judged(text, start, start + len(number), (start, end))
                start += len(number)
                number = text[start:end]
        if _digits(number) <= _MOST:
            yield from _judged(text, end - len(number.lstrip(" ./-")), end)
            continue
        for first, last in _side_by_side(number):
            yield from _judged(text, start + first, start + last, (start, end))


def _judged(text: str, start: int, end: int, among: tuple[int, int] | None = None) -> Iterator[Span]:
    """The finding, if it is one. among: where the numbers begin and end between which it stands."""
    number = text[start:end]
    first, last = among or (start, end)
    if (
        not _LEAST <= _digits(number) <= _MOST
        or (start == first and _continues(text, start))
        or (end == last and _goes_on(text, end))
    ):
        return
    score = _score(text, first, end, number, alone=among is None)
    if score:
        yield Span(start, end, "PHONE_NUMBER", score)


def _digits(number: str) -> int:
    return sum(one.isdigit() for one in number.lower().partition("x")[0])


def _international(number: str) -> str:
    """The longest beginning of `number` up to a blank that can be called; as it is when none can."""
    ends = [at for at, one in enumerate(number[:40]) if one == " "]
    return next((number[:end] for end in reversed(ends) if _possible(number[:end])), number)


def _side_by_side(numbers: str) -> list[tuple[int, int]]:
    """The parts of what is too long for one number: as many of one shape as there can be, else what blanks part."""
    pieces = [piece.span() for piece in _PIECE.matches(numbers)]
    shape, digits = numbers.translate(_SHAPE), _digits(numbers)
    # A row of numbers of any kind has one shape throughout; only a trunk prefix then says where each begins.
    regular = len({shape[first:last] for first, last in pieces}) == 1
    for count in range(-(-digits // _MOST), min(digits // _LEAST, _ALIKE) + 1):
        if len(pieces) % count:
            continue
        each = len(pieces) // count
        parts = [(pieces[at][0], pieces[at + each - 1][1]) for at in range(0, len(pieces), each)]
        if len({shape[first:last] for first, last in parts}) > 1:
            continue
        if each == 1 or not regular or all(_TRUNK.first(numbers[first:last]) for first, last in parts):
            return parts
    return pieces


def _continues(text: str, start: int) -> bool:
    """Whether it is the end of an amount, a version or a longer code."""
    before = text[max(start - 2, 0) : start]
    return (
        before[-1:] in {"$", "€", "£", "#", "_"}
        or (before[-1:] in {".", ",", "-", "/"} and before[:1].isalnum() and text[start] != "+")
        or (before[-1:] == ":" and before[:1].isdigit())
    )


def _goes_on(text: str, end: int) -> bool:
    """Whether it is the beginning of one."""
    after = text[end : end + 2]
    return (after[:1] in {".", ",", "-", "/", ":", "_"} and after[1:].isdigit()) or after[:1] in {"%", "_"}


def _score(text: str, start: int, end: int, number: str, *, alone: bool) -> float:
    """start: where what was said before ends. alone: no other number stands beside it; else it has to be a valid one."""
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
    return 0.5 if alone and parted and len([one for one in number if one in " .-/()"]) >= 2 else 0.0


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
