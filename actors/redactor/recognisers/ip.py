"""IP addresses of both versions, as `ipaddress` reads them."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Final

from actors.redactor.recognisers.patterns import Pattern, whole
from models.planes.texts import Span

_FOUR: Final = Pattern(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}")
_SIX: Final = Pattern(r"[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?::[0-9.]{7,15})?")
_SHORTEST_SIX: Final = 6
"""Shorter ones are times (`::10`), names in programs (`a::b`) and loopback."""


def find(text: str) -> Iterator[Span]:
    """IP_ADDRESS."""
    if "." in text:
        yield from _found(_FOUR, text, 1, ".")
    if "::" in text or text.count(":") >= 7:
        yield from _found(_SIX, text, _SHORTEST_SIX, ":")


def _found(pattern: Pattern, text: str, least: int, joint: str) -> Iterator[Span]:
    for match in pattern.matches(text):
        start, end = match.span()
        if end - start < least or not whole(text, start, end) or _goes_on(text, start, end, joint):
            continue
        try:
            ipaddress.ip_address(text[start:end])
        except ValueError:
            continue
        yield Span(start, end, "IP_ADDRESS", 0.95)


def _goes_on(text: str, start: int, end: int, joint: str) -> bool:
    """Whether it is a part of something longer, such as a version of five numbers."""
    before, after = text[max(start - 2, 0) : start], text[end : end + 2]
    return (before.endswith(joint) and before[:1].isalnum()) or (
        after.startswith(joint) and after[1:].isalnum()
    )
