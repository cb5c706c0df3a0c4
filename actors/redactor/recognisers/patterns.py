r"""What recognisers share: patterns compiled one way, and whole words of any script, which RE2's own `\b` does not know.

RE2 takes linear time whatever the text; `\b`, `\w` and `\d` in a pattern are ASCII, positions of matches code points.
Classes of letters are coarser than Unicode's: its own have hundreds of ranges, which make RE2's automata large and slow.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import re2

from models.planes.texts import Span

_MEMORY: Final = 8 << 20
_UPPER: Final = "".join(
    [
        r"A-ZÀ-ÖØ-Þ\x{370}-\x{3AB}\x{400}-\x{42F}\x{531}-\x{556}\x{1E00}-\x{1FFF}",
        *(chr(one) for one in range(0x100, 0x180) if chr(one).isupper()),
    ]
)
_LETTER: Final = r"A-Za-zª²³¹ºÀ-ÖØ-öø-\x{1FFF}\x{2C00}-\x{2FEF}\x{3040}-\x{D7FF}\x{F900}-\x{10FFFF}"
"""Every letter outside ASCII, and what is mixed with them."""
_CLASSES: Final = {r"\p{Lu}": _UPPER, r"\p{L}": _LETTER, r"\p{N}": "0-9"}
_ITEM: Final = re.compile(r"\\p\{[A-Za-z]+\}|\\.|\[\^?|\]|.", re.DOTALL)


class Match:
    """One match. Groups are named; the empty name is the whole."""

    __slots__ = ("_found", "_numbers")

    def __init__(self, found: Any, numbers: dict[str, int]) -> None:
        self._found, self._numbers = found, numbers

    def span(self, name: str = "") -> tuple[int, int]:
        """Start and end; -1 twice for a group that takes no part."""
        start, end = self._found.span(self._numbers[name] if name else 0)
        return start, end

    def group(self, name: str = "") -> str:
        """Its text; empty for a group that takes no part."""
        return self._found.group(self._numbers[name] if name else 0) or ""


class Pattern:
    """A compiled pattern, which must not match the empty string."""

    __slots__ = ("_numbers", "_regexp")

    def __init__(self, pattern: str) -> None:
        """Raises re2.error for one that RE2 refuses."""
        options = re2.Options()
        options.log_errors = False
        options.max_mem = _MEMORY
        self._regexp = re2.compile(coarse(pattern), options)
        self._numbers: dict[str, int] = self._regexp.groupindex

    def matches(self, text: str) -> Iterator[Match]:
        """All matches, from left to right, not overlapping."""
        for found in self._regexp.finditer(text):
            yield Match(found, self._numbers)

    def first(self, text: str) -> Match | None:
        """The first match."""
        found = self._regexp.search(text)
        return None if found is None else Match(found, self._numbers)

    def spans(self, text: str, entity: str, score: float, name: str = "") -> Iterator[Span]:
        """A finding for every match, or for the group `name` of it, that is no part of a longer word or number."""
        for match in self.matches(text):
            start, end = match.span(name)
            if whole(text, start, end):
                yield Span(start, end, entity, score)


def coarse(pattern: str) -> str:
    r"""`pattern` with ranges of our own for `\p{Lu}`, `\p{L}` and `\p{N}`, inside and outside of brackets."""
    found, inside = [], False
    for item in _ITEM.findall(pattern):
        if item in _CLASSES:
            found.append(_CLASSES[item] if inside else f"[{_CLASSES[item]}]")
            continue
        if not inside and item.startswith("["):
            inside = True
        elif inside and item == "]":
            inside = False
        found.append(item)
    return "".join(found)


def whole(text: str, start: int, end: int) -> bool:
    """Whether `text[start:end]` is something, and not a part of a longer word or number."""
    return (
        0 <= start < end
        and not (start and text[start - 1].isalnum() and text[start].isalnum())
        and not (end < len(text) and text[end].isalnum() and text[end - 1].isalnum())
    )
