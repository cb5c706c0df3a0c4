"""The shelf: what is in memory and in the store, page after page, without plaintext in either."""

from __future__ import annotations

import pytest

from actors.vault.core import VaultCore
from actors.vault.secrets import FORGOTTEN, LIVE, SECRETS, SecretShelf
from models.errors import VersionConflict
from models.planes.calls import Orders
from tests.kit.vault import VaultKit, caller_secret, orders, revoke, target_secret


def shelf_of(core: VaultCore) -> SecretShelf:
    """The shelf inside a vault."""
    return core._shelf


async def test_memory_is_what_the_store_says(kit: VaultKit, core: VaultCore) -> None:
    """Loading anew, over several pages, gives the same again."""
    puts = [
        await kit.put(core, f"cred_{n:04d}", 1, target_secret(f"token-{n}-0123456789")) for n in range(450)
    ]
    await core.obey(Orders((*puts, *orders(revoke("cred_0007")).orders)))
    shelf = shelf_of(core)
    before = {one.id: one for one in shelf.all()}
    await shelf.load()
    assert {one.id: one for one in shelf.all()} == before
    assert len(before) == 450


async def test_a_held_secret_shows_nothing(kit: VaultKit, core: VaultCore) -> None:
    """Its repr is id, state and version; what it opens to masks itself."""
    await kit.keep(core, "cred_t", 3, target_secret())
    held = shelf_of(core).get("cred_t")
    assert held is not None
    assert repr(held) == "Held(cred_t, live, version=3)"
    kept = await shelf_of(core).open(held)
    assert "canary" not in repr(kept)
    assert held.state == LIVE


async def test_a_write_over_something_newer_is_refused(kit: VaultKit, core: VaultCore) -> None:
    """Every write names what it replaces; after `reload` it can be decided anew."""
    await kit.keep(core, "cred_p", 1, caller_secret())
    shelf, document = shelf_of(core), {"state": FORGOTTEN, "version": 9, "side": "proxy"}
    await core._store.put(SECRETS, "cred_p", document)
    with pytest.raises(VersionConflict):
        await shelf.end("cred_p", FORGOTTEN, 1)
    await shelf.reload("cred_p")
    held = shelf.get("cred_p")
    assert held is not None
    assert (held.state, held.version, held.digests) == (FORGOTTEN, 9, ())
    await core._store.delete(SECRETS, "cred_p")
    await shelf.reload("cred_p")
    assert shelf.get("cred_p") is None
