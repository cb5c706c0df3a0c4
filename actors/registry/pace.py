"""How long to wait before asking again: growing, bounded, and never the same for two who failed together."""

from __future__ import annotations

from collections.abc import Callable

Uniform = Callable[[float, float], float]
"""A random number between two bounds, as `random.uniform` gives."""


class Backoff:
    """Seconds to pause after each failure in a row: from `first`, doubling, to `most`, each jittered downwards."""

    def __init__(self, uniform: Uniform, *, first: float = 0.1, most: float = 5.0) -> None:
        self._uniform, self._first, self._most = uniform, first, most
        self._failures = 0

    def after_failure(self) -> float:
        """One more failure; the pause before the next attempt, between half and all of what is due."""
        due = min(self._most, self._first * 2.0 ** min(self._failures, 30))
        self._failures += 1
        return self._uniform(due / 2, due)

    def reset(self) -> None:
        """It worked."""
        self._failures = 0
