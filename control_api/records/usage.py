"""Usage of one month: counts and bytes of every proxy of a client, the client's total first.

Pure. A month is a calendar month in UTC; of the current one it is what there is so far.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from control_api.records.counts import Counts
from control_api.records.rollups import Cells
from control_api.records.telemetry import counted
from models.errors import Invalid

_MONTH: Final = re.compile(r"((?:19[7-9]|[2-9][0-9]{2})[0-9])-(0[1-9]|1[0-2])")


def month_of(text: str | None, now_ms: int) -> int:
    """`YYYY-MM` as year * 12 + month - 1; the month of `now_ms` when left out. Raises Invalid."""
    if text is None:
        now = datetime.fromtimestamp(now_ms / 1000, UTC)
        return now.year * 12 + now.month - 1
    match = _MONTH.fullmatch(text)
    if match is None:
        message = "must be a month from 1970 on such as 2030-01"
        raise Invalid("A query parameter cannot be accepted", errors=(("month", message),))
    return int(match[1]) * 12 + int(match[2]) - 1


def shown(month: int, proxies: Mapping[str, Cells]) -> list[dict[str, Any]]:
    """One element for the client, whose `proxyId` is null, then one per proxy by id."""
    total, elements = Counts(), []
    for proxy_id, cells in sorted(proxies.items()):
        found = Counts()
        for counts in cells.values():
            found.add(counts)
        total.add(found)
        elements.append(_element(month, proxy_id, found))
    return [_element(month, None, total), *elements]


def _element(month: int, proxy_id: str | None, counts: Counts) -> dict[str, Any]:
    return {"month": f"{month // 12:04d}-{month % 12 + 1:02d}", "proxyId": proxy_id, **counted(counts)}
