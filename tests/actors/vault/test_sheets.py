"""The sheet's numbers: up with every change of its content, and only then."""

from __future__ import annotations

from actors.vault.core import VaultCore
from actors.vault.secrets import DAMAGED, FORGOTTEN, LIVE, REVOKED, Held
from actors.vault.sheets import build
from models.custody.sheet import Digest, Entry
from models.planes.calls import Orders
from tests.kit.vault import VaultKit, caller_secret, orders, revoke, sheet_of, target_secret

NOTHING = Orders(())


def test_a_sheet_is_made_of_what_is_held() -> None:
    """In order of ids: callers' digests that still count, the revoked of both sides; nothing of the rest."""
    digests = (Digest(b"new"), Digest(b"old", 1000), Digest(b"older", 999))
    held = [
        Held("d", 1, DAMAGED, 1, "proxy"),
        Held("c", 1, REVOKED, 2, "proxy"),
        Held("b", 1, LIVE, 3, "proxy", digests=digests),
        Held("t", 1, LIVE, 4, "target"),
        Held("a", 1, REVOKED, 5, "target"),
        Held("f", 1, FORGOTTEN, 6, "proxy"),
    ]
    sheet = build("us", 7, "pep", held, 999)
    assert sheet.entries == (Entry("b", 3, digests[:2]), Entry("c", 2, ()))
    assert (sheet.revoked, sheet.number, sheet.pepper_id) == (("a", "c"), 7, "pep")
    assert build("us", 7, "pep", held[::-1], 999) == sheet


async def test_the_number_follows_the_content(kit: VaultKit, core: VaultCore) -> None:
    """A target's secret is on no sheet and moves no number; a caller's, its overlap's end and a revocation do."""

    async def number(batch: Orders = NOTHING) -> int:
        return sheet_of(await core.obey(batch)).number

    first = await number()
    await kit.keep(core, "cred_t", 1, target_secret())
    assert await number() == first
    await kit.keep(core, "cred_p", 1, caller_secret())
    assert await number() == first + 1
    await kit.keep(core, "cred_p", 2, caller_secret("second-key-0123456789", overlap_seconds=1))
    assert await number() == first + 2
    kit.clock.ms += 1000
    assert await number() == first + 3
    assert await number(orders(revoke())) == first + 4
    assert await number(orders(revoke())) == first + 4
