"""Masks a body that arrives in pieces, with the result that the whole body would have had.

It holds back only a tail that begins a form, so events of a stream are not delayed; how the body was
split must never show in the output, and nothing of a secret may leave before it is known not to be one.
"""

from __future__ import annotations

from typing import NoReturn

from proxy_edge.scrub.forms import Forms


class ScrubStream:
    """One body. What went in comes out, in order and of equal length, every form in it masked.

    State: the original bytes of the held tail (shorter than the longest form), how many of its first
    bytes an occurrence that began earlier masks, and whether the last byte sent was masked.
    count: masked runs so far, a run that crosses pieces counted once.
    """

    __slots__ = ("_covered", "_forms", "_held", "_open", "count")

    def __init__(self, forms: Forms) -> None:
        self._forms = forms
        self._held = b""
        self._covered = 0
        self._open = False
        self.count = 0

    @property
    def held(self) -> int:
        """How many bytes are held back."""
        return len(self._held)

    def feed(self, data: bytes) -> bytes:
        """Takes the next piece; returns what may be sent: `data` itself where nothing is to be done."""
        if not data:
            return b""
        if self._held:
            data = self._held + data
        elif not self._forms.found(data):
            hold = self._forms.tails.longest(data)
            if not hold:
                self._open = False
                return data
            self._held = data[-hold:]
            if hold == len(data):
                return b""
            self._open = False
            return data[:-hold]
        return self._send(data, len(data) - self._forms.tails.longest(data))

    def finish(self) -> bytes:
        """The body has ended: returns the rest. The stream is then ready for another body."""
        rest = self._send(self._held, len(self._held))
        self._open = False
        return rest

    def _send(self, data: bytes, cut: int) -> bytes:
        """Masks and returns `data` up to `cut`, keeps the rest as it is."""
        self._held = data[cut:]
        if not cut:
            return b""
        masked = False
        out: bytearray | None = None
        covered = 0
        for start, end in self._forms.runs(data, self._covered):
            if start >= cut:
                break  # lies in the held tail and will be found again
            if end > cut:
                covered, end = end - cut, cut  # noqa: PLW2901  # the run goes on in the held tail
            if out is None:
                out = bytearray(memoryview(data)[:cut])
            out[start:end] = self._forms.filler * (end - start)
            if start or not self._open:
                self.count += 1
            masked = end == cut
        self._covered = covered
        self._open = masked
        return data[:cut] if out is None else bytes(out)

    def __repr__(self) -> str:
        return f"ScrubStream(count={self.count})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a ScrubStream holds secret material and is never pickled")
