r"""Body checks of a rule: patterns over the normalized paths and the values of a JSON body.

A path pattern that several nodes match is like a name that occurs more than once: an allow rule's check holds
only if all their values match, a deny rule's if one does. Nodes are looked at one after the other and never
kept, and a body that takes too long is not judged at all: that must never mean "no match".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from models.decision import Effect
from models.errors import JsonTooLarge, PatternError
from models.patterns import Pattern, compile_pattern, compile_set
from models.resources.rule import BodyCheck
from models.strict_json import dumps, loads

MAX_PATH: Final = 8192
"""Bytes of one normalized path; with the number of values it bounds what is searched."""

Watch = Callable[[], None]
"""Asked now and then while a body is judged; raises to give up."""

_EVERY: Final = 256
"""Nodes between two looks at the watch, and kilobytes of a value that make it worth one."""
_CONTAINERS: Final = (dict, list)
# RFC 9535 section 2.7: quote, backslash and controls are escaped in a name selector, nothing else is.
_ESCAPED: Final = re.compile(r"['\\\x00-\x1f]")
_ESCAPES: Final = {chr(code): f"\\u{code:04x}" for code in range(0x20)} | {
    "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r", "'": "\\'", "\\": "\\\\"
}  # fmt: skip


class Body:
    """The JSON body of a request; one without bytes has no value, so that no node matches."""

    __slots__ = ("_document", "_present")

    def __init__(self, raw: bytes) -> None:
        """Raises JsonRefused for bytes that are not strict JSON, JsonTooLarge for more values than are judged."""
        self._present = bool(raw)
        self._document: Any = loads(raw) if raw else None

    def nodes(self) -> Iterator[tuple[bytes, Any]]:
        """Every node: its normalized path (RFC 9535 section 2.7) in UTF-8, and its value.

        Raises JsonTooLarge for a path over `MAX_PATH`.
        """
        if not self._present:
            return
        document = self._document
        yield b"$", document
        names: dict[str, bytes] = {}
        # One iterator per level and no path longer than it is needed: a long name has many children at no cost.
        levels = [(b"$", _children(document, names))]
        while levels:
            prefix, children = levels[-1]
            for segment, child in children:
                path = prefix + segment
                if len(path) > MAX_PATH:
                    raise JsonTooLarge("a path is too long")
                yield path, child
                if isinstance(child, _CONTAINERS):
                    levels.append((path, _children(child, names)))
                    break
            else:
                levels.pop()


NO_BODY: Final = Body(b"")


def _children(value: Any, names: dict[str, bytes]) -> Iterator[tuple[bytes, Any]]:
    if isinstance(value, dict):
        for name, child in value.items():
            segment = names.get(name)
            if segment is None:
                segment = names[name] = name_segment(name).encode()
            yield segment, child
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield b"[%d]" % index, child


def name_segment(name: str) -> str:
    """A member's name as it stands in a normalized path: `['a']`."""
    if _ESCAPED.search(name) is not None:
        name = _ESCAPED.sub(lambda found: _ESCAPES[found[0]], name)
    return f"['{name}']"


class CompiledBodyCheck:
    """One check. place: of its path pattern among those of the scope. Made by `BodyPatterns.compile`."""

    __slots__ = ("_every", "_negated", "_values", "place")

    def __init__(self, place: int, values: Pattern | None, *, effect: Effect, must_exist: bool) -> None:
        self.place = place
        self._values = values
        # As in `models.checks`: which of the two readings is the sure one for this effect.
        self._every = (effect == "allow") is must_exist
        self._negated = not must_exist

    def begin(self) -> Tally:
        """For one body."""
        return Tally(self._values, every=self._every, negated=self._negated)


class Tally:
    """What one check has seen of one body. decided: no further node can change it."""

    __slots__ = ("_every", "_found", "_negated", "_values", "decided")

    def __init__(self, values: Pattern | None, *, every: bool, negated: bool) -> None:
        self._values, self._every, self._negated = values, every, negated
        self._found = self.decided = False

    def see(self, text: Callable[[], bytes]) -> None:
        """A node whose path matches. text: gives its value as it is matched."""
        values = self._values
        if values is None:
            self._found = self.decided = True
        elif values.search(text()):
            self._found = True
            self.decided = not self._every
        elif self._every:
            self._found, self.decided = False, True

    @property
    def holds(self) -> bool:
        """Whether the check holds; once every node was seen, or it is decided."""
        return self._found is not self._negated


class BodyPatterns:
    """The path patterns of a scope's body checks, searched together in every path."""

    __slots__ = ("_fields", "_match", "_places")

    def __init__(self) -> None:
        self._places: dict[str, int] = {}
        self._fields: list[str] = []
        self._match: Callable[[bytes], Sequence[int]] | None = None

    def compile(self, check: BodyCheck, effect: Effect, field: str) -> CompiledBodyCheck:
        """Compiles one check; all of them before the first judgement. Raises PatternError naming the field."""
        pattern = check.json_path.pattern
        if pattern not in self._places:
            self._fields.append(f"{field}.jsonPath.pattern")
            compile_pattern(pattern, field=self._fields[-1])
        value = check.match_value
        return CompiledBodyCheck(
            self._places.setdefault(pattern, len(self._places)),
            None if value is None else compile_pattern(value.pattern, field=f"{field}.matchValue.pattern"),
            effect=effect,
            must_exist=check.presence == "must_exist",
        )

    def seal(self) -> None:
        """No further check comes."""
        if self._places:
            self._match = _search(list(self._places), self._fields)

    def tell(self, body: Body, tallies: Sequence[tuple[int, Tally]], watch: Watch) -> None:
        """Shows each tally every node whose path matches the pattern at its place.

        Raises JsonTooLarge for a path that is too long, and whatever `watch` raises.
        """
        match = self._match
        assert match is not None  # sealed, and with patterns: there are tallies
        waiting: dict[int, list[Tally]] = {}
        for place, tally in tallies:
            waiting.setdefault(place, []).append(tally)
        for number, (path, value) in enumerate(body.nodes()):
            if number % _EVERY == 0:
                watch()
            for place in match(path):
                undecided = waiting.get(place)
                if undecided is None:
                    continue
                text = _Text(value, watch)
                for tally in undecided:
                    tally.see(text)
                waiting[place] = [tally for tally in undecided if not tally.decided]
                if not waiting[place]:
                    del waiting[place]
                    if not waiting:
                        return


class _Text:
    """A value as value patterns see it: a string as it is, anything else as its JSON text. Made when first asked."""

    __slots__ = ("_text", "_value", "_watch")

    def __init__(self, value: Any, watch: Watch) -> None:
        self._value, self._watch = value, watch
        self._text: bytes | None = None

    def __call__(self) -> bytes:
        text = self._text
        if text is None:
            value = self._value
            text = self._text = value.encode() if isinstance(value, str) else dumps(value)
        if len(text) > _EVERY * 1024:
            self._watch()
        return text


def _search(patterns: list[str], fields: list[str]) -> Callable[[bytes], Sequence[int]]:
    try:
        together = compile_set(patterns, fields=fields)
    except PatternError:
        # Too much together, although each alone is not: then each alone.
        alone = [compile_pattern(pattern) for pattern in patterns]
        return lambda path: [place for place, one in enumerate(alone) if one.search(path)]
    scan, resolve, sentinel = together.scan, together.resolve, together.sentinel

    def match(path: bytes) -> Sequence[int]:
        found = scan(path)
        return found if sentinel in found else resolve(found, path)

    return match
