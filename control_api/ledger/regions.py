"""What each region said of itself: how far it is, when it was last heard, its vault's certificate.

It is never the truth about policy, only about the region; what is lost here, the region's next poll says again.
An acknowledgement never goes back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

import msgspec

from control_api.ledger.bell import Bell
from models.custody.sheet import Certificate
from models.custody.signing import Signed
from models.errors import VersionConflict
from store.interface import ABSENT, Collection, Store

REGIONS_STATUS: Final = Collection("regions_status")
"""One document per region: a `RegionRecord`."""

NEVER: Final = -1
"""Acknowledged by a region that was never heard."""
_SEEN_EVERY_MS: Final = 5_000
"""How old the stored time of the last poll may be."""


class RegionRecord(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """acknowledged: the greatest revision that the region has made durable. seen_ms: wall time of its last poll.

    certificate: as its vault signed it; certificate_ms: when it was issued. failing: why its vault could not
    take a credential, by credential id; failing_ms: wall time of that report.
    """

    acknowledged: int = NEVER
    seen_ms: int = 0
    certificate: Signed | None = None
    certificate_ms: int = 0
    failing: dict[str, str] = {}
    failing_ms: int = 0


def merged(one: RegionRecord, other: RegionRecord) -> RegionRecord:
    """What is newest of both, field by field; the order of the two does not matter."""
    certified = one if one.certificate_ms >= other.certificate_ms else other
    reported = one if one.failing_ms >= other.failing_ms else other
    return RegionRecord(
        acknowledged=max(one.acknowledged, other.acknowledged),
        seen_ms=max(one.seen_ms, other.seen_ms),
        certificate=certified.certificate,
        certificate_ms=certified.certificate_ms,
        failing=reported.failing,
        failing_ms=reported.failing_ms,
    )


class RegionBook:
    """The records of all regions, in memory and in the store. bell: rung at every acknowledgement."""

    def __init__(self, store: Store, bell: Bell) -> None:
        self._store, self._bell = store, bell
        self._records: dict[str, RegionRecord] = {}
        self._stored: dict[str, tuple[int, RegionRecord]] = {}
        self._flushing = asyncio.Lock()

    def get(self, region: str) -> RegionRecord:
        """What is known of a region; the default for one that was never heard."""
        return self._records.get(region) or RegionRecord()

    async def load(self) -> None:
        """Reads all records. Raises StoreUnavailable."""
        cursor: str | None = None
        while True:
            page = await self._store.list(REGIONS_STATUS, cursor=cursor)
            for stored in page.items:
                self._learn(stored.id, stored.version, msgspec.convert(stored.document, RegionRecord))
            cursor = page.cursor
            if cursor is None:
                return

    async def refresh(self, regions: Iterable[str]) -> None:
        """Learns what other processes have stored meanwhile. Raises StoreUnavailable."""
        for region in regions:
            stored = await self._store.get(REGIONS_STATUS, region)
            if stored is not None:
                self._learn(region, stored.version, msgspec.convert(stored.document, RegionRecord))

    def _learn(self, region: str, version: int, record: RegionRecord) -> None:
        self._stored[region] = (version, record)
        self._take(region, record)

    def seen(self, region: str, now_ms: int) -> None:
        """The region asked for its feed."""
        self._take(region, RegionRecord(seen_ms=now_ms))

    def acknowledge(self, region: str, revision: int) -> bool:
        """The region has everything up to `revision`; whether that is news."""
        return self._take(region, RegionRecord(acknowledged=revision))

    def certify(self, region: str, signed: Signed, certificate: Certificate) -> None:
        """Takes over a certificate whose signature was verified; one issued earlier changes nothing."""
        self._take(region, RegionRecord(certificate=signed, certificate_ms=certificate.issued_ms))

    def report_failing(self, region: str, failing: dict[str, str], now_ms: int) -> None:
        """Replaces what the vault could not take."""
        if failing != self.get(region).failing:
            self._take(region, RegionRecord(failing=failing, failing_ms=now_ms))

    def _take(self, region: str, news: RegionRecord) -> bool:
        was = self.get(region)
        self._records[region] = now = merged(was, news)
        if now.acknowledged > was.acknowledged:
            self._bell.ring()
            return True
        return False

    @property
    def is_due(self) -> bool:
        """Whether the store is behind by more than the time of a recent poll."""
        return any(self._behind(region) for region in self._records)

    def _behind(self, region: str) -> bool:
        record = self._records[region]
        _, stored = self._stored.get(region, (ABSENT, RegionRecord()))
        settled = msgspec.structs.replace(record, seen_ms=stored.seen_ms) == stored
        return not settled or record.seen_ms >= stored.seen_ms + _SEEN_EVERY_MS

    async def flush(self) -> None:
        """Writes every record that is behind. Raises StoreUnavailable; then it stays behind."""
        async with self._flushing:
            for region in list(self._records):
                while self._behind(region):
                    version, _ = self._stored.get(region, (ABSENT, RegionRecord()))
                    record = self._records[region]
                    document = msgspec.json.decode(msgspec.json.encode(record))
                    try:
                        version = await self._store.put(REGIONS_STATUS, region, document, expected=version)
                        self._stored[region] = (version, record)
                    except VersionConflict:
                        await self.refresh((region,))
