"""Header and query checks of a rule: compiled, and asked of a request's names and values.

A name that occurs more than once is ambiguous: the target may take any of its values. So an allow rule's
check holds only if it holds whichever value is taken, and a deny rule's if it holds for one of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from models.decision import Effect
from models.patterns import compile_pattern, subject
from models.resources.rule import FieldCheck

_KNOWN_NAMES: Final = 256
_KNOWN_NAME_BYTES: Final = 64

Pairs = list[tuple[bytes, bytes]]


class CompiledCheck:
    """One check over (name, value) pairs. Made by `header_check` and `query_check`."""

    __slots__ = ("_every", "_known", "_names", "_negated", "_values")

    def __init__(
        self,
        names: Callable[[bytes], bool],
        values: Callable[[bytes], bool] | None,
        *,
        effect: Effect,
        must_exist: bool,
    ) -> None:
        self._names = names
        self._values = values
        # An allow that needs a value, and a deny that needs its absence, are only sure of a name of which
        # every value matches; the other two are decided by a single value.
        self._every = (effect == "allow") is must_exist
        self._negated = not must_exist
        self._known: dict[bytes, bool] = {}

    def holds(self, pairs: Pairs) -> bool:
        """Whether the check holds for these pairs; names and values are bytes as the request has them."""
        known, values = self._known, self._values
        found: dict[bytes, bool] = {}
        for name, value in pairs:
            wanted = known.get(name)
            if wanted is None:
                wanted = self._learn(name)
            if not wanted:
                continue
            if values is None:
                return not self._negated
            if values(value if value.isascii() else subject(value)):
                if not self._every:
                    return not self._negated
                found.setdefault(name, True)
            else:
                found[name] = False
        return (True in found.values()) is not self._negated

    def _learn(self, name: bytes) -> bool:
        """Whether a name is meant, remembered for next time: callers repeat few, short names."""
        wanted = self._names(subject(name))
        if len(name) <= _KNOWN_NAME_BYTES:
            if len(self._known) >= _KNOWN_NAMES:
                self._known.clear()
            self._known[name] = wanted
        return wanted


def header_check(check: FieldCheck, effect: Effect, field: str) -> CompiledCheck:
    """Compiles a header check: the name pattern covers a whole name, in any case. Raises PatternError."""
    names = compile_pattern(check.name, field=f"{field}.name", ignore_case=True).full
    return _compiled(check, names, effect, field)


def query_check(check: FieldCheck, effect: Effect, field: str) -> CompiledCheck:
    """Compiles a query check: the name pattern is found anywhere in a name. Raises PatternError."""
    return _compiled(check, compile_pattern(check.name, field=f"{field}.name").search, effect, field)


def _compiled(check: FieldCheck, names: Callable[[bytes], bool], effect: Effect, field: str) -> CompiledCheck:
    values = None if check.value is None else compile_pattern(check.value, field=f"{field}.value").search
    return CompiledCheck(names, values, effect=effect, must_exist=check.presence == "must_exist")
