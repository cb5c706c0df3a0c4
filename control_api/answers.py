"""Answers of handlers: the envelope of API.md section 2, pages of lists, and what every write tells.

A write waits here for the regions it touches, at most two seconds; nothing else here waits.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeVar

from control_api import bodies
from control_api.call import Answer, Call
from control_api.ledger.change import Written

SUCCESS: Final = "Success"
PROPAGATION_SECONDS: Final = 2.0

_POSITION: Final = re.compile(r"([0-9]{1,18}):(.+)", re.DOTALL)
_T = TypeVar("_T")


def envelope(plural: str, elements: list[dict[str, Any]], next_cursor: str | None = None) -> dict[str, Any]:
    """`{"<plural>": [...], "message": "Success"}`, with `nextCursor` when the list goes on."""
    body: dict[str, Any] = {plural: elements, "message": SUCCESS}
    if next_cursor is not None:
        body["nextCursor"] = next_cursor
    return body


def one(call: Call, element: dict[str, Any], headers: Mapping[str, str] | None = None) -> Answer:
    """The answer with a single resource, with the status of the route."""
    return Answer(call.route.status, envelope(call.route.plural, [element]), headers or {})


def page(
    call: Call,
    found: Iterable[_T],
    place: Callable[[_T], tuple[int, str]],
    show: Callable[[_T], dict[str, Any]],
) -> Answer:
    """One page of a list. found: all of it, sorted by `place`. Raises Invalid for a bad limit or cursor."""
    limit = bodies.whole(call.query, "limit", bodies.LIMIT_DEFAULT, least=1, most=bodies.LIMIT_MAX)
    text = call.query.get("cursor")
    after = None if text is None else _position(text)
    rest = [element for element in found if after is None or place(element) > after]
    cursor = None
    if len(rest) > limit:
        created, name = place(rest[limit - 1])
        cursor = bodies.cursor_of(f"{created}:{name}")
    return Answer(200, envelope(call.route.plural, [show(element) for element in rest[:limit]], cursor))


def _position(text: str) -> tuple[int, str]:
    match = _POSITION.fullmatch(bodies.read_cursor(text))
    if match is None:
        raise bodies.bad_cursor()
    return int(match[1]), match[2]


async def propagation(call: Call, written: Written) -> dict[str, str]:
    """The header fields of a write, after waiting for its regions."""
    applied = await call.services.ledger.propagated(written.revision, written.regions, PROPAGATION_SECONDS)
    return {
        "exeat-revision": str(written.revision),
        "exeat-propagation": "applied" if applied else "pending",
    }
