"""Records as their client reads them over the Core API, and what its roll-ups say; for tests that compare the two."""

from __future__ import annotations

import time
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import httpx

from models.errors import GRANTED

AMOUNTS = ("requests", "granted", "denied", "limited", "failed", "bytesIn", "bytesOut")


class ClientsRecords:
    """The records of one client. http: of the API's `/v1`, with a token that may read them."""

    def __init__(self, http: httpx.Client, client_id: str) -> None:
        self._http, self._path = http, f"/clients/{client_id}"

    def count(self) -> int:
        """How many requests the roll-ups of the last hour have: cheap to ask."""
        return self.telemetry()["requests"]

    def all(self) -> list[dict[str, Any]]:
        """Every record, newest first."""
        found: list[dict[str, Any]] = []
        query: dict[str, str] = {"limit": "1000"}
        while True:
            answer = self._http.get(f"{self._path}/requests", params=query)
            answer.raise_for_status()
            page = answer.json()
            found += page["requests"]
            if "nextCursor" not in page:
                return found
            query["cursor"] = page["nextCursor"]

    def telemetry(self) -> Counter[str]:
        """The sums of the last hour's roll-ups."""
        start = datetime.fromtimestamp(time.time() - 3_500, UTC).isoformat()
        answer = self._http.get(f"{self._path}/telemetry", params={"from": start, "interval": "minute"})
        answer.raise_for_status()
        sums: Counter[str] = Counter()
        for bucket in answer.json()["telemetry"]:
            sums.update({name: bucket[name] for name in AMOUNTS})
        return sums


def recount(records: list[dict[str, Any]]) -> Counter[str]:
    """What roll-ups of these records have to say."""
    sums: Counter[str] = Counter()
    for one in records:
        if one["code"] == GRANTED:
            kind = "granted"
        elif one["status"] in {401, 403}:
            kind = "denied"
        else:
            kind = "limited" if one["status"] == 429 else "failed"
        sums.update(
            {"requests": 1, kind: 1, "bytesIn": one["bytesIn"] or 0, "bytesOut": one["bytesOut"] or 0}
        )
    return sums
