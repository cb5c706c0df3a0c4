"""The filters of a policy, compiled: which of them apply to an answer, stage by stage.

A stage holds the filters of one scope that apply, in the order target credential, target, proxy credential, proxy;
each sees what the one before it left. A filter that cannot be compiled fails its proxy; it is never left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from models.filters.paths import Path, parse_path
from models.filters.select import Automaton
from models.patterns import Pattern, compile_pattern, subject
from models.planes.texts import Span
from models.resources.filter import Filter, Mask, Redact

_REMEMBERED: Final = 512
"""Entries of each memory; a full one is emptied, so that no caller can make it grow."""


class CompiledFilter:
    """One active filter.

    blocks: an answer that is not JSON is refused. mask, redact: with their defaults, whatever the action.
    automaton: of its paths alone, for destroy and mask.
    """

    __slots__ = (
        "_all",
        "_methods",
        "_must_exist",
        "_path",
        "_statuses",
        "action",
        "automaton",
        "blocks",
        "entities",
        "id",
        "mask",
        "needs_path",
        "paths",
        "redact",
    )

    def __init__(self, source: Filter, place: str) -> None:
        self.id: Final = source.id
        self.action: Final = source.action
        self.blocks: Final = source.on_unparsable == "block"
        self.mask: Final = source.mask or Mask()
        self.redact: Final = source.redact or Redact()
        self.entities: Final = None if self.redact.entities is None else frozenset(self.redact.entities)
        self.paths: Final[tuple[Path, ...]] = tuple(
            parse_path(path, field=f"{place}.paths[{index}]") for index, path in enumerate(source.paths)
        )
        self.automaton: Final = Automaton([self.paths], walks=source.action in {"mask", "redact"})
        self._methods = None if source.methods is None else frozenset(one.encode() for one in source.methods)
        self._path: Pattern | None = None
        self._must_exist = True
        if source.path is not None:
            self._path = compile_pattern(source.path.pattern, field=f"{place}.path.pattern")
            self._must_exist = source.path.presence == "must_exist"
        self.needs_path: Final = self._path is not None
        self._all = "all" in source.statuses
        self._statuses = frozenset(source.statuses)

    def fits(self, method: bytes, path: bytes) -> bool:
        """Whether it may apply to the answer to such a request. path: canonical, after the proxy id, as `subject` makes it."""
        if self._methods is not None and method not in self._methods:
            return False
        return self._path is None or self._path.search(path) is self._must_exist

    def fits_status(self, status: int) -> bool:
        """Whether it applies to an answer with this status."""
        return self._all or str(status) in self._statuses or f"{status // 100}xx" in self._statuses

    def wants(self, span: Span) -> bool:
        """Whether redact replaces such a span."""
        return span.score >= self.redact.min_score and (self.entities is None or span.entity in self.entities)

    def instead_of(self, span: Span) -> str:
        """What takes a span's place."""
        replacement = self.redact.replacement
        return f"<{span.entity}>" if replacement is None else replacement


class Stage:
    """Filters of one scope that apply together, by action; within an action by priority, highest first.

    retaining, redacting: the paths of all filters of these actions, a group each, in that order. blocks: an
    answer that is not JSON is refused.
    """

    __slots__ = ("blocks", "destroys", "masks", "redacting", "redacts", "retaining", "retains")

    def __init__(self, filters: Sequence[CompiledFilter]) -> None:
        self.retains: Final = _of("retain", filters)
        self.destroys: Final = _of("destroy", filters)
        self.masks: Final = _of("mask", filters)
        self.redacts: Final = _of("redact", filters)
        self.retaining: Final = Automaton([one.paths for one in self.retains], walks=False)
        self.redacting: Final = Automaton([one.paths for one in self.redacts], walks=True)
        self.blocks: Final = any(one.blocks for one in filters)


def _of(action: str, filters: Iterable[CompiledFilter]) -> tuple[CompiledFilter, ...]:
    return tuple(one for one in filters if one.action == action)


class CompiledFilters:
    """The filters that answers to one caller's credential pass, in four stages. Safe to share, also
    between threads: what it remembers is a function of the filters alone.
    """

    __slots__ = ("_fitting", "_needs_path", "_scopes", "_stages")

    def __init__(self, scopes: Sequence[tuple[CompiledFilter, ...]]) -> None:
        """scopes: in the order of the stages, each as `compile_filters` made it."""
        self._scopes = tuple(scopes)
        self._needs_path = any(one.needs_path for scope in scopes for one in scope)
        self._fitting: dict[tuple[bytes, bytes], tuple[tuple[CompiledFilter, ...], ...]] = {}
        self._stages: dict[tuple[tuple[tuple[CompiledFilter, ...], ...], int], tuple[Stage, ...]] = {}

    def applicable(self, method: bytes, path: bytes, status: int) -> tuple[Stage, ...]:
        """The stages that an answer goes through; without those in which no filter applies."""
        fitting = self._fit(method, path)
        stages = self._stages.get((fitting, status))
        if stages is None:
            scopes = (tuple(one for one in scope if one.fits_status(status)) for scope in fitting)
            stages = tuple(Stage(scope) for scope in scopes if scope)
            if len(self._stages) >= _REMEMBERED:
                self._stages.clear()
            self._stages[fitting, status] = stages
        return stages

    def _fit(self, method: bytes, path: bytes) -> tuple[tuple[CompiledFilter, ...], ...]:
        if not self._needs_path:
            path = b""
        fitting = self._fitting.get((method, path))
        if fitting is None:
            text = subject(path)
            fitting = tuple(tuple(one for one in scope if one.fits(method, text)) for scope in self._scopes)
            if len(self._fitting) >= _REMEMBERED:
                self._fitting.clear()
            self._fitting[method, path] = fitting
        return fitting


def compile_filters(owner: str, filters: Iterable[Filter]) -> tuple[CompiledFilter, ...]:
    """The active filters of one credential, target or proxy, highest priority first. owner: for messages.

    Raises ConfigurationError naming the filter.
    """
    chosen = sorted((one for one in filters if one.active), key=lambda one: -one.priority)
    return tuple(CompiledFilter(one, f"{owner}.filters[{one.id}]") for one in chosen)
