"""Finds the longest end of a buffer that begins a form: what a stream must hold back, and nothing more.

It must stay linear for any content and any form, because the target chooses the one and a tenant the
other; and it must cost next to nothing where a buffer ends in a byte that no form contains.
"""

from __future__ import annotations

from array import array
from typing import NoReturn

_SPAN = 8  # no form is shorter; an end of this many bytes is looked up among all forms at once
_TRIES = 32  # candidates compared one by one before the linear scan in Python takes over


def borders(form: bytes) -> array[int]:
    """For every prefix of `form` the length of its longest proper border (Knuth, Morris, Pratt 1977)."""
    table = array("I", bytes(4 * len(form)))
    k = 0
    for at in range(1, len(form)):
        byte = form[at]
        while k and form[k] != byte:
            k = table[k - 1]
        if form[k] == byte:
            k += 1
        table[at] = k
    return table


class Tails:
    """Precomputed once per set of forms, all of at least 8 bytes. Holds secret material: no repr, no pickle.

    Cost of `longest`, with m the length of the longest form: one lookup where the last byte is in no
    form; else one C search of the last 8 bytes in the joined forms; only where these occur, per form at
    most 32 comparisons of at most m bytes, then one pass of at most 2 m steps in Python.
    """

    __slots__ = ("_borders", "_forms", "_joined", "_short")

    def __init__(self, forms: tuple[bytes, ...]) -> None:
        self._forms = forms
        # Seams between two forms can only give a false candidate, which the comparison then rejects.
        self._joined = b"".join(forms)
        short: dict[int, set[bytes]] = {byte: set() for byte in set(self._joined)}
        for form in forms:
            for size in range(1, _SPAN):
                short[form[size - 1]].add(form[:size])
        self._short = {byte: tuple(sorted(found, key=len, reverse=True)) for byte, found in short.items()}
        self._borders: dict[bytes, array[int]] = {}

    def longest(self, data: bytes) -> int:
        """Length of the longest suffix of `data` that is a proper prefix of a form; 0 where there is none."""
        if not data or (short := self._short.get(data[-1])) is None:
            return 0
        if (
            len(data) >= _SPAN
            and self._joined.find(data[-_SPAN:]) >= 0
            and (size := self._long(data)) >= _SPAN
        ):
            return size  # a shorter one, of one form, may be outdone by another form below
        for prefix in short:
            if data.endswith(prefix):
                return len(prefix)
        return 0

    def _long(self, data: bytes) -> int:
        """The same for lengths from 8 up: the last 8 bytes say where in a form the data may end."""
        best, total, end = 0, len(data), data[-_SPAN:]
        for form in self._forms:
            size = form.rfind(end, 0, min(len(form) - 1, total)) + _SPAN
            tries = _TRIES
            while size >= _SPAN and size > best:
                if data.endswith(memoryview(form)[:size]):
                    best = size
                elif tries:
                    tries -= 1
                    size = form.rfind(end, 0, size - 1) + _SPAN
                else:
                    best = max(best, self._scan(form, data))
                    break
        return best

    def _scan(self, form: bytes, data: bytes) -> int:
        """The linear way for forms that repeat themselves; its table is built at the first need."""
        table = self._borders.get(form)
        if table is None:
            table = self._borders[form] = borders(form)
        k = 0
        # One byte less than the form: k cannot reach its full length.
        for byte in data[1 - len(form) :]:
            while k and form[k] != byte:
                k = table[k - 1]
            if form[k] == byte:
                k += 1
        return k

    def __repr__(self) -> str:
        return "Tails('**********')"

    def __reduce__(self) -> NoReturn:
        raise TypeError("Tails hold secret material and are never pickled")
