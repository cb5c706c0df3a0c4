"""Any sequence of writes, any question: the store answers as a dictionary would (store/interface.py)."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store.interface import Store, StreamEntry
from tests.kit.stores import EVENTS, KITS, THINGS, opened

NAMES = st.sampled_from(["", "\0", "$a", "a", "a\0", "a.b", "b", "é", "\U0001f600", "zz"])
VALUES = st.one_of(st.none(), NAMES, st.integers(-1, 2), st.sampled_from([2**63 - 1, -(2**63), "1"]))
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
    | st.binary(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
TIMES = st.integers(-2, 3)
DIRECTION = {"descending": st.booleans(), "limit": st.integers(1, 4)}
LISTS = st.fixed_dictionaries(
    {
        "where": st.none() | st.fixed_dictionaries({"rank": VALUES.filter(lambda v: v is not None)}),
        **DIRECTION,
    },
    optional={"after": NAMES},
)
SCANS = st.fixed_dictionaries(
    {
        "key": st.none() | NAMES,
        "where": st.none() | st.fixed_dictionaries({"status": VALUES.filter(lambda v: v is not None)}),
        **DIRECTION,
    },
    optional={"from_ms": TIMES, "until_ms": TIMES},
)
WRITES = st.lists(
    st.tuples(NAMES, st.none() | st.fixed_dictionaries({"rank": VALUES, "more": JSON})), max_size=25
)
ENTRIES = st.lists(
    st.lists(st.tuples(NAMES, NAMES, TIMES, st.fixed_dictionaries({"status": VALUES})), max_size=6),
    max_size=6,
)


def run(adapter: str, check: Callable[[Store], Awaitable[None]]) -> None:
    """One example over a store of its own."""

    async def example() -> None:
        with tempfile.TemporaryDirectory() as directory:
            kit = KITS[adapter](Path(directory))
            async with opened(kit.store()) as store:
                await check(store)
            await kit.end()

    asyncio.run(example())


async def pages(ask: Callable[..., Awaitable[Any]], question: dict[str, Any]) -> list[Any]:
    """All items of a question, page by page; each but the last is full."""
    found: list[Any] = []
    cursor = None
    while True:
        page = await ask(cursor=cursor, **question)
        items = getattr(page, "items", None) or getattr(page, "entries", ())
        found += items
        if page.cursor is None:
            return found
        assert len(items) == question["limit"]
        cursor = page.cursor


def matches(document: dict[str, Any], where: dict[str, Any] | None) -> bool:
    """Whether a document has the value that is asked for, of the same type."""
    return where is None or all(
        type(document.get(field)) is type(value) and document.get(field) == value
        for field, value in where.items()
    )


@pytest.mark.parametrize("adapter", sorted(KITS))
@settings(max_examples=30, deadline=None)
@given(writes=WRITES, questions=st.lists(LISTS, min_size=1, max_size=6))
def test_lists_answer_as_a_dictionary(adapter: str, writes: list[Any], questions: list[Any]) -> None:
    """Any writes and deletions, then any list: order, direction, field, beginning and pages of any size."""

    async def check(store: Store) -> None:
        model: dict[str, tuple[int, dict[str, Any]]] = {}
        for name, document in writes:
            if document is None:
                assert await store.delete(THINGS, name) is (model.pop(name, None) is not None)
            else:
                model[name] = (model.get(name, (0,))[0] + 1, document)
                assert await store.put(THINGS, name, document) == model[name][0]
        for question in questions:
            after, descending = question.get("after"), question["descending"]
            expected = [
                (name, *model[name])
                for name in sorted(model, key=str.encode, reverse=descending)
                if matches(model[name][1], question["where"])
                and (after is None or ((name < after) if descending else (name > after)))
            ]
            found = await pages(lambda **asked: store.list(THINGS, **asked), question)
            assert [(item.id, item.version, item.document) for item in found] == expected

    run(adapter, check)


@pytest.mark.parametrize("adapter", sorted(KITS))
@settings(max_examples=30, deadline=None)
@given(batches=ENTRIES, questions=st.lists(SCANS, min_size=1, max_size=6), before=TIMES)
def test_scans_answer_as_a_list(adapter: str, batches: list[Any], questions: list[Any], before: int) -> None:
    """Any batches, then any scan: deduplicated, by time and id, by key, field and span of time, and after a trim."""

    async def check(store: Store) -> None:
        model: dict[str, StreamEntry] = {}
        for batch in batches:
            entries = [StreamEntry(*parts) for parts in batch]
            known = len(model)
            for entry in entries:
                model.setdefault(entry.id, entry)
            assert await store.append(EVENTS, entries) == len(model) - known
        for trimmed in (False, True):
            if trimmed:
                old = [name for name, entry in model.items() if entry.at_ms < before]
                assert await store.trim(EVENTS, before_ms=before) == len(old)
                for name in old:
                    del model[name]
            for question in questions:
                expected = [
                    entry
                    for entry in sorted(
                        model.values(),
                        key=lambda entry: (entry.at_ms, entry.id.encode()),
                        reverse=question["descending"],
                    )
                    if question["key"] in {None, entry.key}
                    and matches(entry.document, question["where"])
                    and question.get("from_ms", -9) <= entry.at_ms < question.get("until_ms", 9)
                ]
                assert await pages(lambda **asked: store.scan(EVENTS, **asked), question) == expected

    run(adapter, check)
