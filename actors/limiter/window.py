"""One window of one counter: how many calls of it are out or spent, and who has them.

Plain state. It must never count less as granted than holders may still spend: what leaves is taken off again only by
a return.
"""

from __future__ import annotations

from collections.abc import Iterable


class Held:
    """What one holder has of one window.

    leases: calls granted by lease number. asked_ns: boot nanoseconds at which they were recalled, None when they
    were not since the last grant. answered: whether it replied to that. deaf: it was waited for in vain.
    """

    __slots__ = ("answered", "asked_ns", "deaf", "leases")

    def __init__(self) -> None:
        self.leases: dict[int, int] = {}
        self.asked_ns: int | None = None
        self.answered = self.deaf = False


class Window:
    """Window `number`. granted: its calls that are out and those that were spent. held: by holder."""

    __slots__ = ("granted", "held", "number")

    def __init__(self, number: int, granted: int = 0) -> None:
        self.number, self.granted = number, granted
        self.held: dict[str, Held] = {}

    def leases(self) -> list[int]:
        """Their numbers."""
        return [lease for held in self.held.values() for lease in held.leases]

    def lend(self, holder: str, lease: int, calls: int) -> None:
        """Counts `calls` as granted. They have to be available."""
        held = self.held.get(holder)
        if held is None:
            held = self.held[holder] = Held()
        held.leases[lease] = calls
        held.asked_ns, held.answered = None, False
        self.granted += calls

    def end(self, holder: str, lease: int, unspent: int) -> bool:
        """Ends a lease, once. `unspent` of its calls are grantable again; none when it had fewer."""
        held = self.held.get(holder)
        calls = None if held is None else held.leases.pop(lease, None)
        if held is None or calls is None:
            return False
        if not held.leases:
            del self.held[holder]
        if 0 <= unspent <= calls:
            self.granted -= unspent
        return True

    def give_up(self, holders: Iterable[str]) -> None:
        """Nobody waits any more for those of `holders` that did not answer, until they are heard."""
        for holder in holders:
            held = self.held[holder]
            held.deaf = held.deaf or not held.answered
