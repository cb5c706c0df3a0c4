"""What a JSON value is left with: only what is retained, or all but what is destroyed.

Arrays close up; an object loses the member with its name. Nothing is ever added, and what cannot be decided is
dropped.
"""

from __future__ import annotations

from typing import Any

from models.filters.select import CONTAINERS, Automaton, Container, Key, Work, walk


def retain(holder: list[Any], automaton: Automaton, work: Work) -> list[int]:
    """Leaves, of the one value in `holder`, what matches, whole, and the containers that lead there.

    Answers how many nodes each group of the automaton matched; what lies below one is not counted. Where nothing
    matches, an object or array is left empty, and anything else is null.
    """
    counts = [0] * automaton.groups
    root, bits = holder[0], automaton.start
    if bits & automaton.accepts:
        automaton.count(bits, counts)
        return counts
    holder[0] = None
    if not isinstance(root, CONTAINERS):
        return counts
    top = _Place(None, 0, root)
    top.make()
    below = [(top, automaton.children(root, bits, work))]
    while below:
        place, children = below[-1]
        for key, child, found in children:
            if found & automaton.accepts:
                _put(place.make(), key, child)
                automaton.count(found, counts)
            elif isinstance(child, CONTAINERS):
                below.append((_Place(place, key, child), automaton.children(child, found, work)))
                break
        else:
            below.pop()
    holder[0] = top.made
    return counts


def destroy(holder: list[Any], automaton: Automaton, work: Work) -> int:
    """Removes what matches from the one value in `holder`; the value itself becomes null. Answers how many nodes."""
    removed = 0
    container: Container = []
    keys: list[Key] = []
    for owner, key, _child, _bits in walk(holder, automaton, work):
        if owner is not container:
            _remove(container, keys)
            container, keys = owner, []
        keys.append(key)
        removed += 1
    if container is holder:
        holder[0] = None
    else:
        _remove(container, keys)
    return removed


def _remove(container: Container, keys: list[Key]) -> None:
    if isinstance(container, dict):
        for key in keys:
            del container[str(key)]
    elif keys:
        gone = set(keys)
        container[:] = [child for place, child in enumerate(container) if place not in gone]


def _put(container: Container, key: Key, value: Any) -> None:
    if isinstance(container, dict):
        container[str(key)] = value
    else:
        container.append(value)


class _Place:
    """A container that a path leads through; made anew only once something in it is retained."""

    __slots__ = ("above", "key", "made", "source")

    def __init__(self, above: _Place | None, key: Key, source: Container) -> None:
        self.above, self.key, self.source = above, key, source
        self.made: Container | None = None

    def make(self) -> Container:
        """The new container; those above it are made, too."""
        missing: list[_Place] = []
        place: _Place | None = self
        while place is not None and place.made is None:
            missing.append(place)
            place = place.above
        for one in reversed(missing):
            one.made = {} if isinstance(one.source, dict) else []
            if one.above is not None and one.above.made is not None:
                _put(one.above.made, one.key, one.made)
        assert self.made is not None  # it was made now or before
        return self.made
