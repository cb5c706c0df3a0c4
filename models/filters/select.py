"""Which nodes of a JSON value paths name: several paths read together, in one walk that enters a node at most once.

Work is therefore linear in the size of the value, whatever the paths (`$..*..*` is not squared), and counted: a
walk over its bound is refused (invariant 7). Nothing here recurses, and no node is visited for a path that cannot
match below it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from models.errors import FilterBlocked
from models.filters.paths import Path

MOST_VISITS: Final = 20_000_000
"""Members and elements looked at for one answer, over all filters: about ten times those of 50 MB of ordinary JSON."""
_PLANS: Final = 256
"""Plans an automaton remembers; a full memory is emptied, so that no answer can make it grow."""

Container = dict[str, Any] | list[Any]
CONTAINERS: Final = (dict, list)
Key = str | int
_Plan = tuple[dict[str, int], tuple[tuple[int, int], ...], int]


class Work:
    """What may still be looked at. Raises FilterBlocked when it is used up."""

    __slots__ = ("left",)

    def __init__(self, most: int = MOST_VISITS) -> None:
        self.left = most

    def spend(self, count: int) -> None:
        """Takes `count` visits."""
        self.left -= count
        if self.left < 0:
            raise FilterBlocked("filters would look at too many nodes of the answer")


def loose(group: int) -> int:
    """The bit of a node that a path of the group matches by a wildcard, or that lies below a match."""
    return 1 << 2 * group


def exact(group: int) -> int:
    """The bit of a node at which a name or index of a path of the group ends."""
    return 2 << 2 * group


class Automaton:
    """Groups of paths, read together. A node's bits: which groups match it, and how far each path has come there.

    accepts: the bits of all groups. exacts: those of exact matches. start: the root's bits. walks: what lies below a match is a loose match, and
    is walked; without it a walk ends at a match.
    """

    __slots__ = ("_deep", "_plans", "_steps", "accepts", "exacts", "groups", "start", "walks")

    def __init__(self, groups: Sequence[Sequence[Path]], *, walks: bool) -> None:
        self.groups: Final = len(groups)
        self.accepts: Final = (1 << 2 * len(groups)) - 1
        self.exacts: Final = sum(exact(group) for group in range(len(groups)))
        self.walks: Final = walks
        self.start = 0
        self._deep = 0
        # Per segment: its bit, what it selects, and the bits of a child by name or index and by wildcard.
        self._steps = []
        bit = 1 << 2 * len(groups)
        for group, paths in enumerate(groups):
            for path in paths:
                self.start |= bit if path else loose(group)
                for place, segment in enumerate(path, start=1):
                    following = (bit << 1, bit << 1)
                    named, starred = (exact(group), loose(group)) if place == len(path) else following
                    self._steps.append((bit, segment, named, starred))
                    if segment.descends:
                        self._deep |= bit
                    bit <<= 1
        self._plans: dict[int, _Plan] = {}

    def children(self, value: Container, bits: int, work: Work) -> Iterator[tuple[Key, Any, int]]:
        """The children that a path still leads to, in the value's order: key, child, the child's bits."""
        plan = self._plans.get(bits)
        if plan is None:
            plan = self._plan(bits, work)
        names, indexes, every = plan
        if isinstance(value, list):
            return _elements(value, indexes, every, work)
        if every:
            work.spend(len(value))
            get = names.get
            return ((name, child, every | get(name, 0)) for name, child in value.items())
        if len(names) == 1:
            work.spend(1)
            return ((name, value[name], found) for name, found in names.items() if name in value)
        if not names:
            return iter(())
        work.spend(len(value))
        return ((name, child, names[name]) for name, child in value.items() if name in names)

    def count(self, bits: int, counts: list[int]) -> None:
        """Adds one for every group that matches a node with these bits."""
        for group in range(self.groups):
            if bits & (exact(group) | loose(group)):
                counts[group] += 1

    def _plan(self, bits: int, work: Work) -> _Plan:
        """What to look for below a node with these bits."""
        work.spend(len(self._steps) + 1)
        names: dict[str, int] = {}
        indexes: dict[int, int] = {}
        every = bits & self._deep
        for bit, segment, named, starred in self._steps:
            if bits & bit:
                for name in segment.names:
                    names[name] = names.get(name, 0) | named
                for index in segment.indexes:
                    indexes[index] = indexes.get(index, 0) | named
                if segment.every:
                    every |= starred
        if self.walks:
            for group in range(self.groups):
                if bits & (exact(group) | loose(group)):
                    every |= loose(group)
        if len(self._plans) >= _PLANS:
            self._plans.clear()
        plan = self._plans[bits] = (names, tuple(indexes.items()), every)
        return plan


def _elements(
    value: list[Any], indexes: tuple[tuple[int, int], ...], every: int, work: Work
) -> Iterator[tuple[int, Any, int]]:
    size = len(value)
    work.spend((size if every else 1) + len(indexes))
    places: dict[int, int] = {}
    for index, found in indexes:
        place = index if index >= 0 else size + index
        if 0 <= place < size:
            places[place] = places.get(place, 0) | found
    if not every:
        return ((place, value[place], places[place]) for place in sorted(places))
    if not places:
        return ((place, child, every) for place, child in enumerate(value))
    at = places.get
    return ((place, child, every | at(place, 0)) for place, child in enumerate(value))


def walk(holder: list[Any], automaton: Automaton, work: Work) -> Iterator[tuple[Container, Key, Any, int]]:
    """Every match in the value that `holder` has as its only element: container, key, node, the node's bits.

    Matches in one container follow each other, in its order; outer containers come before inner ones. Whoever
    reads may replace a node that is no container, and alter a container once the next one's matches have begun.
    """
    accepts, walks = automaton.accepts, automaton.walks
    root, bits = holder[0], automaton.start
    if bits & accepts:
        yield holder, 0, root, bits
        if not walks:
            return
    ahead = [(root, bits)] if isinstance(root, CONTAINERS) else []
    while ahead:
        container, bits = ahead.pop()
        inner = []
        for key, child, found in automaton.children(container, bits, work):
            if found & accepts:
                yield container, key, child, found
                if not walks:
                    continue
            if isinstance(child, CONTAINERS):
                inner.append((child, found))
        inner.reverse()
        ahead += inner
