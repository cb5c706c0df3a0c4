"""How records come in: every batch of a report is read before anything is stored, then each is stored and counted once.

Records first, then roll-ups, then the source's number: whoever dies in between is asked again, and what was done is
found done. What the region counted itself is not looked at; counted is what is stored.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Final

import msgspec

from control_api.records.layout import RECORDS, SOURCES, mark
from control_api.records.lines import Line, entry_id, entry_of, read_line
from control_api.records.rollups import Rollups, additions
from models.errors import Invalid, VersionConflict
from models.planes.records import MOST_BYTES, MOST_RECORDS, RecordBatch
from models.rollups import rollups
from store.interface import ABSENT, Store, StreamEntry

MOST_NUMBER: Final = 2**62
APPENDED_AT_ONCE: Final = 256
"""Records in one write, so that neither the loop nor a question to the store waits long."""

_SOURCE: Final = re.compile(r"[\x21-\x7e]{1,256}")

_AT_ONCE: Final = 128
"""Lines read before others have a turn of the loop: about 2 ms."""

Owners = Callable[[Collection[str]], Awaitable[Mapping[str, tuple[str, str]]]]
"""From proxy ids to (client id, region) of each; without those of proxies that are not known, or not any more."""


class Checked(msgspec.Struct, frozen=True):
    """A batch that was read."""

    region: str
    told: str
    number: int
    lines: tuple[Line, ...]

    @property
    def source(self) -> str:
        """With its region, so that no region speaks for another."""
        return f"{self.region}/{self.told}"

    @property
    def name(self) -> str:
        """What its records say of where they came from."""
        return f"{self.source}#{self.number}"


class Intake:
    """Takes batches over. One at a time, so that batches of one process do not race each other."""

    def __init__(self, store: Store, owners: Owners) -> None:
        self._store, self._owners = store, owners
        self._rollups = Rollups(store)
        self._turn = asyncio.Lock()

    async def take(self, region: str, batches: Sequence[RecordBatch]) -> None:
        """Returns when the store has all batches, each once. Raises Invalid (then nothing was stored), StoreUnavailable.

        Batches of a source come by rising number, in one report and from one to the next; one whose number was
        taken over already has no effect. Invalid names `records[i]`, counted from 0.
        """
        checked = [await _check(region, index, batch) for index, batch in enumerate(batches)]
        _check_order(checked)
        owners = await self._owners({line.proxy_id for one in checked for line in one.lines})
        for index, one in enumerate(checked):
            _check_owners(index, one, owners)
        async with self._turn:
            for one in checked:
                await self._take(one)

    async def _take(self, batch: Checked) -> None:
        stored = await self._store.get(SOURCES, batch.source)
        if stored is not None and stored.document["number"] >= batch.number:
            return
        texts = await self._keep(batch)
        added = additions(rollups(b"".join(b"%b\n" % text for text in texts)))
        await self._rollups.add(batch.source, batch.number, added)
        await self._settle(batch)

    async def _keep(self, batch: Checked) -> list[bytes]:
        """Stores the records; those that this batch was the first to bring, also when it brings them again."""
        ids: dict[str, Line] = {}
        for line in batch.lines:
            ids.setdefault(entry_id(batch.region, line.request_id), line)
        entries = [
            StreamEntry(
                one, mark(line.client_id, line.proxy_id), line.received_ms, entry_of(line, batch.name)
            )
            for one, line in ids.items()
        ]
        new = 0
        for start in range(0, len(entries), APPENDED_AT_ONCE):
            new += await self._store.append(RECORDS, entries[start : start + APPENDED_AT_ONCE])
        if new == len(entries):
            return [line.text for line in ids.values()]
        there = await self._store.fetch(RECORDS, list(ids))
        return [entry.document["line"] for entry in there if entry.document["batch"] == batch.name]

    async def _settle(self, batch: Checked) -> None:
        """Writes down that the batch is done. The number never goes back."""
        while True:
            stored = await self._store.get(SOURCES, batch.source)
            if stored is not None and stored.document["number"] >= batch.number:
                return
            expected = ABSENT if stored is None else stored.version
            try:
                await self._store.put(SOURCES, batch.source, {"number": batch.number}, expected=expected)
            except VersionConflict:
                continue
            return


async def _check(region: str, index: int, batch: RecordBatch) -> Checked:
    """Reads a batch. Raises Invalid."""
    found: list[Line] = []
    try:
        if not 1 <= batch.number <= MOST_NUMBER:
            raise ValueError("has a number that is none")
        if not _SOURCE.fullmatch(batch.source):
            raise ValueError("has a source that is none")
        for number, line in enumerate(_split(batch.lines), 1):
            if not number % _AT_ONCE:
                await asyncio.sleep(0)
            try:
                found.append(read_line(line, region))
            except ValueError as wrong:
                raise ValueError(f"line {number} {wrong}") from None
    except ValueError as wrong:
        raise _unreadable(index, str(wrong)) from None
    return Checked(region, batch.source, batch.number, tuple(found))


def _check_owners(index: int, batch: Checked, owners: Mapping[str, tuple[str, str]]) -> None:
    for number, line in enumerate(batch.lines, 1):
        owner = owners.get(line.proxy_id)
        if owner is not None and owner != (line.client_id, batch.region):
            raise _unreadable(index, f"line {number} is of a proxy of another client or region")


def _unreadable(index: int, why: str) -> Invalid:
    return Invalid("The report cannot be read", errors=((f"records[{index}]", why),))


def _split(lines: bytes) -> list[bytes]:
    if not lines:
        return []
    if not lines.endswith(b"\n"):
        raise ValueError("ends inside a line")
    found = lines[:-1].split(b"\n")
    if len(found) > MOST_RECORDS:
        raise ValueError(f"has more than {MOST_RECORDS} records")
    if len(found) > 1 and len(lines) > MOST_BYTES:
        raise ValueError(f"has more than {MOST_BYTES} bytes")
    return found


def _check_order(batches: Sequence[Checked]) -> None:
    newest: dict[str, int] = {}
    for index, batch in enumerate(batches):
        if newest.get(batch.source, 0) >= batch.number:
            raise _unreadable(index, "has a number that is not above the one before it")
        newest[batch.source] = batch.number
