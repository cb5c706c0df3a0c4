"""Permits in a file that workers share, and all that a limit admits of them."""

from __future__ import annotations

import contextlib
from pathlib import Path

from models.limits import Limit
from proxy_edge.permits import Permit, SharedPermits

NOW = 1_795_435_230_250  # 30.25 s into a minute
MINUTE, DAY = 60_000, 86_400_000


def shared(path: Path, workers: int = 2, capacity: int = 64) -> contextlib.closing[SharedPermits]:
    return contextlib.closing(SharedPermits(path, workers, capacity))


def drain(source: SharedPermits, limits: tuple[Limit, ...], now_ms: int = NOW) -> int:
    """Takes until the answer is no; how many calls were admitted."""
    admitted = 0
    while isinstance(source.take(limits, now_ms), Permit):
        admitted += 1
    return admitted
