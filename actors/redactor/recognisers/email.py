"""E-mail addresses, also with letters beyond ASCII (RFC 5321, 6531); quoted local parts are not looked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from actors.redactor.recognisers.patterns import Pattern
from models.planes.texts import Span

_ADDRESS: Final = Pattern(
    r"(?P<address>[\p{L}\p{N}_](?:[\p{L}\p{N}.!#$%&*+/=?^_{|}~'-]*[\p{L}\p{N}_+=~-])?"
    r"@(?:[\p{L}\p{N}](?:[\p{L}\p{N}-]*[\p{L}\p{N}])?\.)+\p{L}{2,24})"
)


def find(text: str) -> Iterator[Span]:
    """EMAIL_ADDRESS."""
    if "@" in text:
        yield from _ADDRESS.spans(text, "EMAIL_ADDRESS", 1.0, "address")
