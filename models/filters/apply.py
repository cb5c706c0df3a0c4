"""Filters applied to one parsed answer, stage by stage, with the redactor's work in between.

The document is taken over and altered in place. It is handed out only when every stage is through: whatever
raises on the way leaves nothing to hand out (invariant 7). No text is kept, logged or put into an error.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import Any

from models.errors import FilterBlocked
from models.filters.compiled import CompiledFilter, Stage
from models.filters.select import CONTAINERS, MOST_VISITS, Automaton, Work, exact, loose, walk
from models.filters.shape import destroy, retain
from models.filters.values import checked, masked, replaced, text_of
from models.planes.texts import Span

_Spans = Sequence[tuple[Span, ...]]
_Leaf = tuple[Any, Any, str, int]


def run(document: Any, stages: Sequence[Stage], *, most: int = MOST_VISITS) -> Filtering:
    """Begins to filter `document`, a JSON value as a parser made it. most: nodes that may be looked at in all."""
    return Filtering(document, stages, Work(most))


class Filtering:
    """One answer on its way through its stages.

    Ask `next_texts` until it answers None, and `take` what was found in the texts each time. counts: per filter that
    was applied, in order, (filterId, action, nodes retained, destroyed or masked, or spans redacted).
    redactions: replaced spans by entity. Everything raises FilterBlocked, and `take` RedactionFailed; then all is over.
    """

    __slots__ = ("_done", "_failed", "_found", "_holder", "_pending", "_steps", "counts", "redactions")

    def __init__(self, document: Any, stages: Sequence[Stage], work: Work) -> None:
        self._holder = [document]
        self._pending: list[str] | None = None
        self._found: _Spans = ()
        self._done = self._failed = False
        self.counts: list[tuple[str, str, int]] = []
        self.redactions: dict[str, int] = {}
        self._steps = self._run(stages, work)

    @property
    def document(self) -> Any:
        """What is left. Raises FilterBlocked before `next_texts` has answered None."""
        if not self._done:
            raise FilterBlocked("the answer was not filtered to its end")
        return self._holder[0]

    def next_texts(self) -> list[str] | None:
        """The texts to look for entities in, each once, in a fixed order; None when all is done."""
        if self._done:
            return None
        if self._failed:
            raise FilterBlocked("filtering the answer has failed before")
        if self._pending is None:
            self._failed = True  # until the step has ended well
            self._pending = next(self._steps, None)
            self._failed = False
            self._done = self._pending is None
        return self._pending

    def take(self, spans: _Spans) -> None:
        """What a redactor found, per text of `next_texts`: spans by start, not overlapping."""
        texts, self._pending = self._pending, None
        self._failed = True
        if texts is None:
            raise FilterBlocked("no texts are waiting for what was found in them")
        checked(texts, spans)
        self._failed = False
        self._found = spans

    def _run(self, stages: Sequence[Stage], work: Work) -> Generator[list[str], None, None]:
        known: dict[str, tuple[Span, ...]] = {"": ()}
        for stage in stages:
            if stage.retains:
                kept = retain(self._holder, stage.retaining, work)
                self._count(stage.retains, kept)
            for one in stage.destroys:
                self._count([one], [destroy(self._holder, one.automaton, work)])
            for one in stage.masks:
                self._count([one], [self._mask(one, work)])
            if stage.redacts:
                leaves = list(_leaves(self._holder, stage.redacting, work))
                texts = [text for text in dict.fromkeys(leaf[2] for leaf in leaves) if text not in known]
                if texts:
                    yield texts
                    known.update(zip(texts, self._found, strict=True))
                    self._found = ()
                self._count(stage.redacts, self._redact(stage.redacts, leaves, known))

    def _count(self, filters: Sequence[CompiledFilter], counts: Sequence[int]) -> None:
        self.counts += [(one.id, one.action, count) for one, count in zip(filters, counts, strict=True)]

    def _mask(self, one: CompiledFilter, work: Work) -> int:
        character, keep_last = one.mask.character, one.mask.keep_last
        done = 0
        for container, key, text, _ in _leaves(self._holder, one.automaton, work):
            container[key] = masked(text, character, keep_last)
            done += 1
        return done

    def _redact(
        self, filters: Sequence[CompiledFilter], leaves: Sequence[_Leaf], known: dict[str, tuple[Span, ...]]
    ) -> list[int]:
        counts = [0] * len(filters)
        for container, key, text, bits in leaves:
            spans = known[text]
            if not spans:
                continue
            groups = [group for group in range(len(filters)) if bits & (exact(group) | loose(group))]
            instead: list[str | None] = []
            ours = True
            for span in spans:
                # Taken by the first filter that matches the text and wants the entity.
                taker = next((group for group in groups if filters[group].wants(span)), None)
                instead.append(None if taker is None else filters[taker].instead_of(span))
                if taker is not None:
                    counts[taker] += 1
                    ours = ours and filters[taker].redact.replacement is None
                    self.redactions[span.entity] = self.redactions.get(span.entity, 0) + 1
            if any(one is not None for one in instead):
                redacted, rest = replaced(text, spans, instead)
                container[key] = redacted
                if ours:
                    # A later stage need not have our own placeholders searched, and nothing is found in them.
                    known.setdefault(redacted, rest)
        return counts


def _leaves(holder: list[Any], automaton: Automaton, work: Work) -> Iterator[_Leaf]:
    """What masking and redacting treat: strings, and numbers and booleans at which a name or index ends."""
    exacts = automaton.exacts
    for container, key, node, bits in walk(holder, automaton, work):
        if isinstance(node, str):
            yield container, key, node, bits
        elif isinstance(node, int | float):
            if bits & exacts:
                yield container, key, text_of(node), bits & exacts
        elif node is not None and not isinstance(node, CONTAINERS):
            raise FilterBlocked("the answer has a value that is not JSON")
