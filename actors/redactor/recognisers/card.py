"""Payment card numbers: issuer's prefix and length, and the check digit of ISO/IEC 7812-1 (Luhn)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from actors.redactor.recognisers.patterns import Pattern, whole
from models.entities import merged
from models.planes.texts import Span

_NUMBER: Final = Pattern(r"[0-9](?:[ -]?[0-9]){11,18}")
_RUN: Final = Pattern(r"[0-9]+(?:[ .\x{A0}-]{1,2}[0-9]+)*")
_GROUP: Final = Pattern(r"[0-9]+")
_PRINTED: Final = frozenset({(4, 4, 4, 4), (4, 6, 5), (4, 6, 4), (4, 4, 4, 4, 3)})
"""Digits of the groups in which numbers are printed and typed."""
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
    among = list(_among_numbers(text))
    whole_runs = list(_whole_runs(text))
    yield from merged(text, (among, whole_runs)) if among else whole_runs


def _whole_runs(text: str) -> Iterator[Span]:
    """Digits from the first on that make one number, whatever the groups."""
    for match in _NUMBER.matches(text):
        start, end = match.span()
        if not whole(text, start, end):
            continue
        digits = text[start:end].replace(" ", "").replace("-", "")
        if _sure(digits):
            yield Span(start, end, "CREDIT_CARD", 1.0)
        elif len(digits) > 12 and _CUE.first(text[max(start - 48, 0) : start]):
            yield Span(start, end, "CREDIT_CARD", 0.5)


def _among_numbers(text: str) -> Iterator[Span]:
    """Cards between other digits (`7 4111...`, `4111... 12/29`), which one match from the first digit on runs past."""
    for run in _RUN.matches(text):
        start, end = run.span()
        if end - start < 12:
            continue
        groups = [(start + first, start + last) for first, last in _groups(text[start:end])]
        sizes = [last - first for first, last in groups]
        for at, (first, last) in enumerate(groups):
            if 12 <= sizes[at] <= 19:
                if whole(text, first, last) and _sure(text[first:last]):
                    yield Span(first, last, "CREDIT_CARD", 1.0)
            elif sizes[at] == 4:
                for count in (5, 4, 3):
                    shape = tuple(sizes[at : at + count])
                    if len(shape) < count or shape not in _PRINTED:
                        continue
                    end = groups[at + count - 1][1]
                    digits = "".join(text[one:other] for one, other in groups[at : at + count])
                    if whole(text, first, end) and _sure(digits):
                        yield Span(first, end, "CREDIT_CARD", 1.0)
                        break


def _groups(run: str) -> list[tuple[int, int]]:
    return [group.span() for group in _GROUP.matches(run)]


def _sure(digits: str) -> bool:
    return luhn(digits) and issued(digits)


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
