"""Lists of the Core API: one page at a time, or item by item through all of them.

A cursor is handed back as it came; a server that gives one twice is not followed in circles.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic

from sdk.answers import A, read
from sdk.errors import UnexpectedAnswer
from sdk.wire import Reply, Wire


@dataclass(frozen=True, slots=True)
class Page(Generic[A]):
    """Part of a list. cursor: for the next part, None at the end."""

    items: tuple[A, ...]
    cursor: str | None = None


def elements(reply: Reply, plural: str) -> list[Any]:
    """What the envelope holds. Raises UnexpectedAnswer."""
    found = (reply.data or {}).get(plural)
    if not isinstance(found, list):
        raise UnexpectedAnswer(f"the answer has no list {plural}")
    return found


def single(kind: type[A], reply: Reply, plural: str) -> A:
    """The one element of an answer, with the change that made it. Raises UnexpectedAnswer."""
    found = elements(reply, plural)
    if len(found) != 1:
        raise UnexpectedAnswer(f"{len(found)} {plural} instead of one")
    return read(kind, found[0], reply.change)


async def page(
    wire: Wire, kind: type[A], path: str, plural: str, query: Mapping[str, str | int | None]
) -> Page[A]:
    """One page; parameters that are None are left out."""
    reply = await wire.call(
        "GET", path, query={name: value for name, value in query.items() if value is not None}
    )
    cursor = (reply.data or {}).get("nextCursor")
    if cursor is not None and not isinstance(cursor, str):
        raise UnexpectedAnswer("the answer has a cursor that is no text")
    return Page(tuple(read(kind, one) for one in elements(reply, plural)), cursor)


async def each(
    wire: Wire, kind: type[A], path: str, plural: str, query: Mapping[str, str | int | None]
) -> AsyncIterator[A]:
    """Every item, page by page as they are used."""
    cursor: str | None = None
    while True:
        found = await page(wire, kind, path, plural, {**query, "cursor": cursor})
        for item in found.items:
            yield item
        if found.cursor is None:
            return
        if found.cursor == cursor:
            raise UnexpectedAnswer("the list does not go on: its cursor is the one it was asked with")
        cursor = found.cursor
