"""The accounts of one incarnation, from the store into memory and back: loaded when needed, written, let go when idle.

A write that fails, or finds another version, ends the incarnation: what the store has then is not known. It never
writes again after that, and whoever waits for a write is told so.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Final

from actors.limiter.account import Account
from actors.limiter.ceilings import Ceilings, is_stale
from actors.limiter.counters import Promise
from actors.tasks import spawn, stop
from models.errors import PeerUnavailable, StoreError, VersionConflict
from store.interface import Store

SWEEP_DOCUMENTS: Final = 200
"""Looked at in one sweep."""

_log = logging.getLogger("exeat.limiter")


class Shelf:
    """Accounts by key. Lives on one event loop."""

    def __init__(self, store: Store, on_end: Callable[[], None]) -> None:
        """store: with `ceilings.LAYOUT`. on_end: called once, when the incarnation is over."""
        self._ceilings, self._on_end = Ceilings(store), on_end
        self._accounts: dict[str, Account] = {}
        self._loading = asyncio.Lock()
        self._swept: str | None = None
        self._over = False

    def __iter__(self) -> Iterator[Account]:
        return iter(list(self._accounts.values()))

    def __len__(self) -> int:
        return len(self._accounts)

    async def open(self) -> None:
        """Opens the store. Raises StoreError."""
        await self._ceilings.open()

    async def close(self) -> None:
        """Ends what is under way and lets go of the store."""
        self._over = True
        await stop(*(one.writing for one in self if one.writing is not None))
        await self._ceilings.close()

    def check(self) -> None:
        """Raises PeerUnavailable when the incarnation is over."""
        if self._over:
            raise PeerUnavailable("this incarnation of the limiter is over")

    def first(self, seconds: int) -> int:
        """The earliest window that a counter of this length may be in of which the store knows nothing."""
        return self._ceilings.first(seconds)

    @contextlib.asynccontextmanager
    async def using(self, key: str) -> AsyncIterator[Account]:
        """The account of a proxy, which stays while the block lasts. Raises PeerUnavailable."""
        account = self._accounts.get(key) or await self._load(key)
        account.users += 1
        try:
            yield account
        finally:
            account.users -= 1

    async def _load(self, key: str) -> Account:
        async with self._loading:  # also held while an account is deleted
            account = self._accounts.get(key)
            if account is None:
                try:
                    entry = await self._ceilings.load(key)
                except StoreError as error:
                    raise PeerUnavailable(f"ceilings cannot be read: {error.detail}") from None
                account = self._accounts[key] = Account(entry)
        self.check()
        return account

    async def keep(self, account: Account, promises: list[Promise]) -> None:
        """Returns once the store has what an answer relies on; of many who wait one write serves all it can.

        Raises PeerUnavailable when the incarnation is over.
        """
        while not all(promise.kept for promise in promises):
            self.check()
            if account.writing is None:
                account.writing = spawn("ceilings-write", self._write(account))
            await asyncio.wait({account.writing})  # which goes on when this call is cancelled
        self.check()

    async def _write(self, account: Account) -> None:
        kept = account.keep()
        try:
            version = await self._ceilings.keep(account.key, kept, account.version)
        except asyncio.CancelledError:
            self._over = True
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, what the store has now is not known
            self._end(error.detail if isinstance(error, StoreError) else type(error).__name__)
        else:
            account.saved(kept, version)
        finally:
            account.writing = None

    def _end(self, detail: str) -> None:
        if self._over:
            return
        self._over = True
        try:
            _log.error("incarnation ends", extra={"detail": detail})
            for account in self:
                account.wake()
        finally:
            self._on_end()  # also where not even the log can be written

    def let_go(self, now_ms: int) -> list[Account]:
        """Drops accounts that were not used for long from memory; those accounts."""
        idle = [
            one for one in self if not one.users and one.writing is None and is_stale(one.windows(), now_ms)
        ]
        for account in idle:
            del self._accounts[account.key]
        return idle

    async def delete(self, now_ms: int, mine: Callable[[str], bool]) -> None:
        """Deletes some ceilings that were not used for long and are not in memory. Raises StoreError.

        mine: whether a key is this shard's. Goes on each time where it ended, so that it takes no longer however
        many there are.
        """
        page = await self._ceilings.page(self._swept, SWEEP_DOCUMENTS)
        self._swept = page[-1].key if len(page) == SWEEP_DOCUMENTS else None
        for entry in page:
            if not mine(entry.key) or not is_stale(entry.counters.items(), now_ms):
                continue
            async with self._loading:
                if entry.key not in self._accounts:
                    with contextlib.suppress(
                        VersionConflict
                    ):  # in use again, where shards are divided otherwise
                        await self._ceilings.drop(entry)
