"""Payment card numbers: issuer's prefix and length, and the check digit of ISO/IEC 7812-1 (Luhn)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from actors.redactor.recognisers.patterns import Pattern, whole
from models.planes.texts import Span

_NUMBER: Final = Pattern(r"[0-9](?:[ -]?[0-9]){11,18}")
_CUE: Final = Pattern(r"(?i)\b(?:cards?|cc|credit|debit|visa|mastercard|amex|maestro)\b[^.?!]{0,24}$")
_ISSUERS: Final[tuple[tuple[int, int, tuple[int, ...]], ...]] = (
    (4, 4, (13, 16, 19)),  # Visa
    (51, 55, (16,)),  # Mastercard
    (2221, 2720, (16,)),
    (34, 34, (15,)),  # American Express
    (37, 37, (15,)),
    (300, 305, (14, 16, 17, 18, 19)),  # Diners Club
    (36, 36, (14, 15, 16, 17, 18, 19)),
    (38, 39, (14, 16, 17, 18, 19)),
    (6011, 6011, (16, 17, 18, 19)),  # Discover
    (644, 659, (16, 17, 18, 19)),
    (3528, 3589, (16, 17, 18, 19)),  # JCB
    (1800, 1800, (15,)),
    (2131, 2131, (15,)),
    (62, 62, (16, 17, 18, 19)),  # UnionPay
    (2200, 2204, (16, 17, 18, 19)),  # Mir
    (50, 50, (12, 13, 14, 15, 16, 17, 18, 19)),  # Maestro
    (56, 58, (12, 13, 14, 15, 16, 17, 18, 19)),
    (60, 61, (12, 13, 14, 15, 16, 17, 18, 19)),
    (63, 69, (12, 13, 14, 15, 16, 17, 18, 19)),
)
"""First and last prefix, lengths."""


def find(text: str) -> Iterator[Span]:
    """CREDIT_CARD: surely with issuer and check digit; probably where the words before it speak of a card."""
    for match in _NUMBER.matches(text):
        start, end = match.span()
        if not whole(text, start, end):
            continue
        digits = text[start:end].replace(" ", "").replace("-", "")
        if luhn(digits) and issued(digits):
            yield Span(start, end, "CREDIT_CARD", 1.0)
        elif len(digits) > 12 and _CUE.first(text[max(start - 48, 0) : start]):
            yield Span(start, end, "CREDIT_CARD", 0.5)


def luhn(digits: str) -> bool:
    """Whether the last digit checks the others."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) << (place & 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def issued(digits: str) -> bool:
    """Whether any issuer has numbers of that beginning and length."""
    return any(
        first <= int(digits[: len(str(first))]) <= last and len(digits) in lengths
        for first, last, lengths in _ISSUERS
    )
