"""Redactors for tests: the real core, its model loaded once in a process, and a pool of quick ones that can be away."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import cache

import msgspec

from actors.names import REDACTOR
from actors.redactor.core import RedactorCore
from actors.redactor.recognisers import email
from models.errors import PeerUnavailable
from models.filters.values import replaced
from models.planes.texts import Find, Found, Span


@cache
def core() -> RedactorCore:
    """The real one, with its model."""
    return RedactorCore()


def redacted(text: str, spans: Sequence[Span]) -> str:
    """The text with the name of its entity in place of every span."""
    return replaced(text, spans, [f"<{one.entity}>" for one in spans])[0]


async def find(payload: bytes) -> bytes:
    """What an actor of the region answers to `find`, with the real core."""
    return msgspec.msgpack.encode(Found(core().find(msgspec.msgpack.decode(payload, type=Find).texts)))


class Pool:
    """Redactors that find e-mail addresses only, behind what the link calls actors with.

    away: numbers of those that do not answer. poison: a text that ends whoever reads it, once for each time in
    `deaths`. hold: they answer once it is set.
    """

    def __init__(self) -> None:
        self.away: set[int] = set()
        self.poison, self.deaths = "", 0
        self.hold = asyncio.Event()
        self.hold.set()
        self.batches: list[tuple[int, tuple[str, ...]]] = []
        self.probes: list[int] = []
        self.spoil: bytes | None = None
        self.running = 0
        self.most_running: dict[int, int] = {}

    async def ask(self, role: str, method: str, payload: bytes, *, shard: int = 0, seconds: float) -> bytes:
        """As `actors.link.ports.Actors.ask`."""
        assert role == REDACTOR
        assert seconds > 0
        if method == "ready":
            self.probes.append(shard)
            if shard in self.away:
                raise PeerUnavailable("away")
            return b""
        texts = msgspec.msgpack.decode(payload, type=Find).texts
        self.batches.append((shard, texts))
        if shard in self.away:
            raise PeerUnavailable("away")
        self.running += 1
        self.most_running[shard] = max(self.most_running.get(shard, 0), self.running)
        try:
            await self.hold.wait()
            if self.poison and self.poison in texts and self.deaths:
                self.deaths -= 1
                raise PeerUnavailable("died of it")
            if self.spoil is not None:
                return self.spoil
            return msgspec.msgpack.encode(Found(tuple(tuple(email.find(text)) for text in texts)))
        finally:
            self.running -= 1
