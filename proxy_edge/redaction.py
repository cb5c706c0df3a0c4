"""A worker's questions to its region's redactors: where personal data is in texts. All or nothing.

Whatever does not answer every text in a way that fits it is no answer; without one within the deadline the caller's
answer must not go out. Texts are in no log and no error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final, NamedTuple

import msgspec

from models.entities import fits, merged
from models.errors import LinkUnavailable, RedactionFailed, Refused
from models.planes.texts import MOST_BYTES, MOST_TEXTS, Find, Found, Span
from proxy_edge.tasks import spawn

SECONDS: Final = 5.0
"""Without a redactor's answer until we give up (API.md section 3, `redaction-failed`)."""
MOST_SECONDS: Final = 60.0
"""From the question to the last answer, for the texts of a large answer that redactors do get on with."""
TOGETHER: Final = 4
"""Calls of one question under way at once: so many that a pool shares them, so few that each is answered in time."""
CALL_BYTES: Final = MOST_BYTES // 6
CALL_TEXTS: Final = MOST_TEXTS // 4
"""Of one call: fewer than one may have, so that several redactors can share the texts of one answer."""
PAUSE_SECONDS: Final = 0.1
OVERLAP: Final = 512
"""Characters that pieces of a long text share, so that what stands at the seam is whole in one of them."""
_LONGEST_WORD: Final = 128
"""Characters back from where a piece would end in which a blank is looked for."""

Call = Callable[[str, str, bytes, float], Awaitable[bytes]]
"""role, method, payload, seconds: `actors.link_client.LinkClient.call`. Raises LinkUnavailable, Refused."""

Spans = tuple[Span, ...]

_encode = msgspec.msgpack.Encoder().encode
_found = msgspec.msgpack.Decoder(Found)


class _Piece(NamedTuple):
    """What is asked at once of one text. start: where in it."""

    text: int
    start: int
    content: str


class Redaction:
    """The redactors as a worker sees them. Keeps nothing."""

    def __init__(
        self,
        call: Call,
        *,
        seconds: float = SECONDS,
        most_seconds: float = MOST_SECONDS,
        most_bytes: int = CALL_BYTES,
        most_texts: int = CALL_TEXTS,
    ) -> None:
        """seconds: without any answer; most_seconds: in all. most_bytes, most_texts: of one call, at most MOST_BYTES
        and MOST_TEXTS; most_bytes at least 4.
        """
        self._call, self._seconds, self._most_seconds = call, seconds, most_seconds
        self._most_bytes, self._most_texts = most_bytes, most_texts

    async def find(self, texts: Sequence[str]) -> list[Spans]:
        """Per text, in order: its spans, by start, not overlapping, of every entity and score.

        Raises RedactionFailed when no redactor answers for too long before all of them are known.
        """
        different = list(dict.fromkeys(texts))
        pieces = [piece for at, text in enumerate(different) for piece in self._pieces(at, text)]
        found: list[list[Spans]] = [[] for _ in different]
        for piece, spans in zip(pieces, await self._all(pieces), strict=True):
            found[piece.text].append(
                tuple(
                    Span(one.start + piece.start, one.end + piece.start, one.entity, one.score)
                    for one in spans
                )
                if piece.start
                else spans
            )
        settled = {text: _joined(text, several) for text, several in zip(different, found, strict=True)}
        return [settled[text] for text in texts]

    def _pieces(self, at: int, text: str) -> Iterator[_Piece]:
        """A text that fits one call as it is, a longer one in pieces that overlap; nothing where nothing can be read."""
        if not any(one.isalnum() for one in text):
            return
        start, length = 0, len(text)
        while True:
            end = start + _fitting(text, start, self._most_bytes)
            if end >= length:
                yield _Piece(at, start, text[start:])
                return
            end = _blank_before(text, end, start + max(1, (end - start) // 2))
            yield _Piece(at, start, text[start:end])
            overlap = min(OVERLAP, (end - start) // 4)
            start = max(_blank_before(text, end - overlap, start + 1), start + 1)

    def _calls(self, pieces: Sequence[_Piece]) -> Iterator[list[_Piece]]:
        """The pieces in order, as many together as one call may carry."""
        together: list[_Piece] = []
        size = 0
        for piece in pieces:
            more = _bytes(piece.content)
            if together and (size + more > self._most_bytes or len(together) >= self._most_texts):
                yield together
                together, size = [], 0
            together.append(piece)
            size += more
        if together:
            yield together

    async def _all(self, pieces: Sequence[_Piece]) -> list[Spans]:
        """The spans of each piece. Raises RedactionFailed."""
        calls = list(self._calls(pieces))
        if not calls:
            return []
        if len(calls) == 1:
            try:
                async with asyncio.timeout(self._seconds):
                    return list(await self._one(calls[0]))
            except TimeoutError:
                raise RedactionFailed("no redactor answered in time") from None
        now = asyncio.get_running_loop().time
        last = now() + self._most_seconds
        answers: list[tuple[Spans, ...]] = [()] * len(calls)
        waiting = iter(enumerate(calls))
        try:
            async with asyncio.timeout(self._seconds) as silence:

                async def ask() -> None:
                    for number, call in waiting:
                        answers[number] = await self._one(call)
                        if not silence.expired():
                            silence.reschedule(min(now() + self._seconds, last))

                asked = [spawn("redaction", ask()) for _ in range(min(TOGETHER, len(calls)))]
                try:
                    await asyncio.gather(*asked)
                finally:
                    for task in asked:
                        task.cancel()
                return [spans for answer in answers for spans in answer]
        except TimeoutError:
            raise RedactionFailed("no redactor answered in time") from None

    async def _one(self, pieces: Sequence[_Piece]) -> tuple[Spans, ...]:
        """Asks until there is an answer that fits; for ever, but for the deadline around it. Raises RedactionFailed."""
        payload = _encode(Find(tuple(piece.content for piece in pieces)))
        while True:
            try:
                answer = await self._call("redactor", "find", payload, self._seconds)
                spans = _found.decode(answer).spans
            except Refused:
                raise RedactionFailed("the redactor refused") from None
            except (LinkUnavailable, msgspec.DecodeError, UnicodeError):
                spans = ()
            if len(spans) == len(pieces) and all(
                fits(piece.content, one) for piece, one in zip(pieces, spans, strict=True)
            ):
                return spans
            await asyncio.sleep(PAUSE_SECONDS)


def _bytes(text: str) -> int:
    """Of it in UTF-8. Raises RedactionFailed for what is no text: a lone surrogate."""
    try:
        return len(text) if text.isascii() else len(text.encode())
    except UnicodeError:
        raise RedactionFailed("is not a text") from None


def _fitting(text: str, start: int, most: int) -> int:
    """How many characters from `start` on have at most `most` bytes, or all that are left."""
    taken = text[start : start + most]
    if _bytes(taken) <= most:
        return len(taken)
    return len(taken.encode()[:most].decode("utf-8", "ignore"))


def _blank_before(text: str, end: int, least: int) -> int:
    """The last place up to `end` that follows a blank, or `end` when there is none near; never before `least`."""
    for at in range(end, max(least, end - _LONGEST_WORD, 1) - 1, -1):
        if text[at - 1].isspace():
            return at
    return end


def _joined(text: str, several: Sequence[Spans]) -> Spans:
    """What was found in overlapping pieces of one text, as one."""
    if len(several) == 1:
        return several[0]
    return merged(text, [[span for spans in several for span in spans]])
