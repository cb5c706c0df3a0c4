"""The redactor as an actor: `RedactorCore` behind bytes, one batch at a time.

What passes through it are texts of clients: none may get into a log, an error or a dump.
"""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec

from actors import logs
from actors.names import REDACTOR
from actors.process import forbid_dumps
from actors.redactor.core import RedactorCore
from actors.settings import NER_MODEL
from actors.shelling import decode, encode, guarded_sync, ready_answer
from models.errors import Refused
from models.planes.texts import MOST_BYTES, MOST_TEXTS, Find, Found

_log = logging.getLogger("exeat.actors")


class Redactor:
    """One of a region's redactors. Its methods are plain ones: its process reads one batch, then the next."""

    @guarded_sync
    def __init__(self, region: str, log: str, model: str = NER_MODEL, shard: int = 0) -> None:
        """log: file, or empty for stderr. Warm when it returns. Raises ConfigurationError without the model."""
        forbid_dumps()
        logs.configure(file=Path(log) if log else None, part=f"redactor {shard} {region}")
        self._region, self._model = region, model
        self._core = RedactorCore(model)
        self._core.warm()
        _log.info("redactor warm", extra={"model": model})

    @guarded_sync
    def ready(self, _payload: bytes = b"") -> bytes:
        """`Ready`, which only a warm one answers."""
        return ready_answer(REDACTOR, self._region, self._model)

    @guarded_sync
    def find(self, payload: bytes) -> bytes:
        """`Find` -> `Found`. Raises Refused for what is no `Find` or more than one may hold."""
        try:
            texts = decode(payload, Find).texts
        except (msgspec.DecodeError, UnicodeError):
            raise Refused("not texts") from None
        if len(texts) > MOST_TEXTS or sum(map(len, texts)) > MOST_BYTES:
            raise Refused("too many texts")
        return encode(Found(self._core.find(texts)))
