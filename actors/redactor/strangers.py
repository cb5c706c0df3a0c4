"""Words that no dictionary has, written like names: what neither pattern nor model knows may well be one.

The dictionary is the one that comes with the model, for its lemmatiser. Only running text is judged: in codes, fields
and lists of labels a word that is unknown says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Final

from actors.redactor.recognisers.words import NO_NAMES, PARTICLE, without_possessive
from models.planes.texts import Span

SCORE: Final = 0.4
_WORD: Final = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_RUN: Final = re.compile(rf" (?:{PARTICLE} ){{0,2}}|\. ?(?=[^\W\d_])")
_ENDINGS: Final = (
    ("'s", ""), ("’s", ""), ("s", ""), ("es", ""), ("ies", "y"), ("ed", ""), ("ed", "e"), ("d", ""), ("ing", ""),
    ("ing", "e"), ("er", ""), ("er", "e"), ("est", ""), ("ly", ""), ("ily", "y"), ("n't", ""), ("n’t", ""),
    ("'re", ""), ("'ll", ""), ("'ve", ""), ("'d", ""), ("'m", ""), ("men", "man"), ("women", "woman"), ("ness", ""),
    ("less", ""), ("ers", ""), ("ers", "e"), ("ings", ""), ("ings", "e"), ("able", ""), ("ation", "e"), ("ism", ""),
    ("ist", ""), ("ists", ""),
)  # fmt: skip
_LEAST_KNOWN: Final = 2
"""Words in lower case that a dictionary has, so that a text is running text."""
_SHORTEST: Final = 3
_LONGEST: Final = 40
"""Letters; what has more is no word at all."""
_PART: Final = 4
"""Letters of each half of a compound."""


class Lexicon:
    """Words in lower case, as a dictionary has them."""

    def __init__(self, words: Collection[str]) -> None:
        self._words = frozenset(words)

    def __len__(self) -> int:
        return len(self._words)

    def knows(self, word: str) -> bool:
        """Whether it is one of them, in any form and case; of a compound every part."""
        lower = word.lower()
        if lower in self._words or lower in NO_NAMES or len(lower) > _LONGEST:
            return True
        if "-" in lower:
            return all(len(part) < _SHORTEST or self.knows(part) for part in lower.split("-"))
        for ending, stem in _ENDINGS:
            if lower.endswith(ending):
                root = lower[: -len(ending)] + stem
                if (
                    root in self._words
                    or root in NO_NAMES
                    or (root[-1:] * 2 == root[-2:] and root[:-1] in self._words)
                ):
                    return True
        return any(
            lower[:at] in self._words and lower[at:] in self._words
            for at in range(_PART, len(lower) - _PART + 1)
        )

    def find(self, text: str) -> Iterator[Span]:
        """PERSON, at a low score: for every run of capitalised words with one in it that is unknown."""
        words = [match.span() for match in _WORD.finditer(text)]
        known = sum(text[start].islower() and self.knows(text[start:end]) for start, end in words)
        if known < _LEAST_KNOWN or not self._words:
            return
        if text.islower():
            yield from self._lower(text, words)
            return
        for run in _runs(text, words):
            yield from self._run(text, run)

    def _run(self, text: str, run: list[tuple[int, int]]) -> Iterator[Span]:
        while run and text[run[0][0] : run[0][1]].lower() in NO_NAMES:
            run = run[1:]
        if not run or all(self.knows(text[start:end]) or end - start < _SHORTEST for start, end in run):
            return
        if _opens(text, run[0][0]) and len(run) > 1 and self.knows(text[run[0][0] : run[0][1]]):
            run = run[1:]
        start, end = run[0][0], run[-1][1]
        end = without_possessive(text, start, end)
        if end - start >= _SHORTEST:
            yield Span(start, end, "PERSON", SCORE)

    def _lower(self, text: str, words: list[tuple[int, int]]) -> Iterator[Span]:
        for start, end in words:
            if end - start > _SHORTEST and not self.knows(text[start:end]):
                yield Span(start, without_possessive(text, start, end), "PERSON", SCORE)


def _opens(text: str, start: int) -> bool:
    """Whether a sentence or line begins there, so that a capital letter says nothing."""
    before = text[max(start - 16, 0) : start].rstrip(" \t\"'(“‘*>-")
    return not before or before[-1] in ".!?:\n"


def _runs(text: str, words: list[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
    """Capitalised words that follow one another."""
    run: list[tuple[int, int]] = []
    for start, end in words:
        if not text[start].isupper():
            continue
        if run and not _RUN.fullmatch(text, run[-1][1], start):
            yield run
            run = []
        run.append((start, end))
        if without_possessive(text, start, end) < end:
            yield run
            run = []
    if run:
        yield run
