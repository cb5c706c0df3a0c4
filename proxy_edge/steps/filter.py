"""Step 10, filters: which of them an answer goes through, and what they make of its body.

Where one applies the answer is read whole as strict JSON and written anew. Whatever goes wrong ends in a refusal:
no byte of a body that a filter should have seen goes on (invariant 7).
"""

from __future__ import annotations

import logging
from typing import Any, Final, NamedTuple

from models.errors import FilterBlocked, JsonRefused, JsonTooLarge, Refusal, ResponseJsonTooLarge
from models.filters.apply import Filtering, run
from models.filters.compiled import CompiledFilters, Stage
from models.strict_json import dumps, loads

MAX_VALUES: Final = 2_000_000
"""In one answer; about what 50 MB of ordinary JSON have. It bounds the memory of a hostile one, to some 400 MB."""

_log = logging.getLogger("exeat.edge.filters")

Stages = tuple[Stage, ...]


class Filtered(NamedTuple):
    """A body as it may go on. counts: (filter id, action, count) per filter; redactions: (entity, count)."""

    body: bytes
    counts: tuple[tuple[str, str, int], ...]
    redactions: tuple[tuple[str, int], ...]


def stages_for(filters: CompiledFilters, method: bytes, path: bytes, status: int) -> Stages:
    """The stages that the answer to this request goes through; empty where no filter applies.

    The head that answers HEAD is that of GET's answer. 304 stands for a 200 that the caller has, 206 is a part of
    one: filters for 200 are theirs, too.
    """
    stages = filters.applicable(method, path, status)
    if not stages and method == b"HEAD":
        return stages_for(filters, b"GET", path, status)
    if not stages and status in {206, 304}:
        stages = filters.applicable(method, path, 200)
    return stages


def begin(body: bytes, stages: Stages) -> Filtering | None:
    """The body on its way through its stages; None when it is not JSON and no filter minds.

    Raises FilterBlocked, or ResponseTooLarge for more values than we take.
    """
    try:
        document: Any = loads(body, MAX_VALUES)
    except JsonTooLarge as error:
        raise ResponseJsonTooLarge(error.detail) from None
    except JsonRefused:
        if any(stage.blocks for stage in stages):
            raise FilterBlocked("the answer is not strict JSON") from None
        return None
    return run(document, stages)


def finish(filtering: Filtering) -> Filtered:
    """The answer's new body, once no texts are asked for any more. Raises FilterBlocked, JsonRefused."""
    counts, redactions = tuple(filtering.counts), tuple(filtering.redactions.items())
    return Filtered(dumps(filtering.document), counts, redactions)


def blocked(error: Exception) -> Refusal:
    """What any exception on the way becomes.

    One that is no refusal is a fault of ours; it is logged by its type alone, since its text may quote the body.
    """
    if isinstance(error, Refusal):
        return error
    _log.error("a filter failed", extra={"error": type(error).__name__})
    return FilterBlocked("a filter failed")
