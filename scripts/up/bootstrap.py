"""What the change log must hold before the first caller: the owner, and each region as this machine runs it.

Opens the control store by itself for that moment; the control API may have it open at the same time.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping

from control_api.bootstrap import ensure_owner, ensure_region, reset_owner
from control_api.keys import load_signer
from control_api.layout import LAYOUT, MIGRATIONS
from control_api.ledger.ledger import Ledger
from models.clock import SystemClock
from models.home import Home
from models.secret import Secret
from scripts.up import enrol
from store.choose import open_store


def bootstrap(home: Home, edges: Mapping[str, str]) -> None:
    """Sees to owner and regions.

    edges: base URL of the edge of each region, whose keys exist. Raises ConfigurationError, StoreError.
    """
    asyncio.run(_bootstrap(home, edges))


def reset_token(home: Home) -> Secret:
    """A new owner's token in its file, the old ones ended. Raises ConfigurationError, StoreError."""
    return asyncio.run(_reset(home))


async def _bootstrap(home: Home, edges: Mapping[str, str]) -> None:
    async with _ledger(home) as ledger:
        await ensure_owner(ledger, home.owner_token)
        for region, base_url in edges.items():
            mine = home.region(region)
            await ensure_region(ledger, region, base_url, enrol.region_key(mine), enrol.vault_public(mine))


async def _reset(home: Home) -> Secret:
    async with _ledger(home) as ledger:
        return await reset_owner(ledger, home.owner_token)


@contextlib.asynccontextmanager
async def _ledger(home: Home) -> AsyncIterator[Ledger]:
    signer = load_signer(home.policy_key, home.policy_public)
    store = await open_store(home.control_store, LAYOUT, migrations=MIGRATIONS)
    try:
        ledger = Ledger(store, signer, SystemClock())
        await ledger.open()
        try:
            yield ledger
        finally:
            await ledger.close()
    finally:
        await store.close()
