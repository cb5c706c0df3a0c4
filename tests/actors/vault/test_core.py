"""The vault as its shell sees it: started, restarted, doubled, its store tampered with, and nothing in clear."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from actors.vault.core import KEYS, VaultCore
from actors.vault.secrets import SECRETS
from models.custody.sheet import pepper_id, read_certificate
from models.custody.signing import Signer, Verifier
from models.errors import (
    ConfigurationError,
    SealBroken,
    SignatureRefused,
    StateRefused,
    StoreUnavailable,
    VersionConflict,
)
from models.planes.calls import Orders
from models.secret import Secret
from store.interface import ANY, Collection
from store.sqlite import SqliteStore
from tests.kit.vault import (
    CALLER_KEY,
    IDENTITY,
    REGION,
    TARGET_TOKEN,
    VaultKit,
    caller_secret,
    expire,
    forget,
    orders,
    revoke,
    sheet_of,
    target_secret,
    wanted,
)

NOTHING = Orders(())


async def test_a_first_start_makes_what_it_needs(kit: VaultKit, core: VaultCore) -> None:
    """A certified key, a pepper, an empty sheet; and says so."""
    obeyed = await core.obey(NOTHING)
    certificate = read_certificate(obeyed.certificate, Verifier(IDENTITY.public), REGION)
    sheet = sheet_of(obeyed)
    assert (sheet.entries, sheet.revoked, obeyed.failing) == ((), (), {})
    assert sheet.pepper_id == pepper_id(await kit.pepper(core))
    assert len(certificate.public) == 32
    assert core.detail.startswith("0 live, 0 revoked, 0 damaged, sheet ")


async def test_everything_is_there_after_a_restart(kit: VaultKit) -> None:
    """Key, pepper, secrets, overlaps, tombstones and the sheet's number: the store is all there is."""
    async with kit.vault() as core:
        await kit.keep(core, "cred_t", 1, target_secret())
        await kit.keep(core, "cred_p", 1, caller_secret())
        await kit.keep(core, "cred_p", 2, caller_secret("another-key-0123456789", overlap_seconds=60))
        before = await core.obey(orders(revoke("cred_r"), forget(4, "cred_f")))
        pepper = await kit.pepper(core)
    async with kit.vault() as core:
        after = await core.obey(NOTHING)
        assert sheet_of(after) == sheet_of(before)
        assert (await kit.pepper(core)) == pepper
        assert await kit.token(core) == TARGET_TOKEN
        await core.obey(Orders((await kit.put(core, "cred_f", 4, target_secret()),)))
        assert await kit.refusal(core, wanted("cred_f")) == "unknown"
        assert await kit.refusal(core, wanted("cred_r")) == "revoked"


async def test_orders_survive_whoever_was_killed(kit: VaultKit) -> None:
    """What `obey` answered is in the file, even when nobody closed the store."""
    first = await VaultCore.open(region=REGION, home=kit.home, clock=kit.clock, store=kit.store())
    await kit.keep(first, "cred_t", 1, target_secret())
    async with kit.vault() as core:
        assert await kit.token(core) == TARGET_TOKEN
    await first.close()


async def test_no_plaintext_is_in_any_file(kit: VaultKit, caplog: pytest.LogCaptureFixture) -> None:
    """Neither plain nor in base64 or hex, while the vault runs and after; nor in a log, a repr or an answer."""
    caplog.set_level(logging.DEBUG)
    async with kit.vault() as core:
        await kit.keep(core, "cred_t", 1, target_secret())
        await kit.keep(core, "cred_p", 1, caller_secret())
        await kit.keep(core, "cred_p", 2, caller_secret("canary-second-0123456789", overlap_seconds=60))
        obeyed = await core.obey(orders(revoke("cred_gone")))
        grants = await core.grant(kit.capability(wanted(), wanted("cred_p")))
        pepper = await kit.pepper(core)
        shown = repr((core, vars(core), obeyed, grants, *core._shelf.all(), core._shelf, caplog.text))
        shown += repr([await core._shelf.open(one) for one in core._shelf.all() if one.sealed])
        running = everything_under(kit.home.root)
    for canary in (b"canary-", pepper.reveal(), b"kek-kek-" * 4):
        for data in (running, everything_under(kit.home.root), shown.encode()):
            for form in forms(canary):
                assert form not in data


def everything_under(root: Path) -> bytes:
    """All bytes of all files, names too, but those of the key files that are meant to hold keys."""
    return b"".join(
        path.name.encode() + path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and path.suffix not in {".kek", ".key"}
    )


def forms(canary: bytes) -> list[bytes]:
    """Plain, hex, and base64 wherever it starts."""
    coded = [base64.b64encode(bytes(lead) + canary)[-(-lead * 8 // 6) + (lead > 0) :] for lead in range(3)]
    return [canary, canary.hex().encode(), canary.hex().upper().encode(), *(one[:-4] for one in coded)]


def test_the_search_for_canaries_finds_them() -> None:
    """In each form, at each alignment: otherwise the test above would show nothing."""
    for lead in (b"", b"x", b"xy", b"xyz"):
        data = base64.b64encode(lead + CALLER_KEY.encode() + b"more")
        assert any(form in data for form in forms(b"canary-"))
    assert forms(b"canary-")[1] in CALLER_KEY.encode().hex().encode()


class Tampering:
    """What somebody with the store's file, but without the key-encryption key, may try."""

    def __init__(self, store: SqliteStore) -> None:
        self.store = store

    async def read(self, collection: Collection, one: str) -> dict[str, Any]:
        found = await self.store.get(collection, one)
        assert found is not None
        return dict(found.document)

    async def write(self, collection: Collection, one: str, **fields: Any) -> None:
        document = {**await self.read(collection, one), **fields}
        await self.store.put(collection, one, document, expected=ANY)


@pytest.fixture
async def tampering(kit: VaultKit) -> Any:
    """The store of a vault that is down, with two target credentials and a caller's."""
    async with kit.vault() as core:
        await kit.keep(core, "cred_t", 1, target_secret())
        await kit.keep(core, "cred_u", 1, target_secret("other-token-0123456789"))
        await kit.keep(core, "cred_p", 1, caller_secret())
    store = kit.store()
    await store.open()
    yield Tampering(store)
    await store.close()


@pytest.mark.parametrize("position", [0, 5, 40, 80, -1])
async def test_an_altered_byte_is_refused(kit: VaultKit, tampering: Tampering, position: int) -> None:
    """That credential alone is damaged, is said to be failing, and can be given again at its version."""
    sealed = bytearray((await tampering.read(SECRETS, "cred_t"))["sealed"])
    sealed[position] ^= 1
    await tampering.write(SECRETS, "cred_t", sealed=bytes(sealed))
    async with kit.vault() as core:
        assert await kit.refusal(core) == "damaged"
        assert await kit.refusal(core, wanted("cred_u")) == ""
        assert set((await core.obey(NOTHING)).failing) == {"cred_t"}
        assert (await kit.keep(core, "cred_t", 1, target_secret())).failing == {}
        assert await kit.token(core) == TARGET_TOKEN


async def test_stored_bytes_cannot_be_filed_elsewhere(kit: VaultKit, tampering: Tampering) -> None:
    """Not under another credential, nor another version: both are bound to them."""
    sealed = (await tampering.read(SECRETS, "cred_u"))["sealed"]
    await tampering.write(SECRETS, "cred_t", sealed=sealed)
    await tampering.write(SECRETS, "cred_u", version=7)
    async with kit.vault() as core:
        assert [one.refused for one in await kit.lease(core, wanted(), wanted("cred_u"))] == ["damaged"] * 2


@pytest.mark.parametrize(
    "fields",
    [{"state": "open"}, {"version": "1"}, {"side": None}, {"sealed": "text"}, {"sealed": b""}],
    ids=str,
)
async def test_a_document_of_another_shape_is_damage(
    kit: VaultKit, tampering: Tampering, fields: Mapping[str, Any]
) -> None:
    """It opens nothing or what it was, and never keeps the vault from starting."""
    await tampering.write(SECRETS, "cred_t", **fields)
    async with kit.vault() as core:
        assert await kit.refusal(core) in {"damaged", ""}
        assert await kit.refusal(core, wanted("cred_u")) == ""


async def test_a_side_that_was_altered_changes_nothing(kit: VaultKit, tampering: Tampering) -> None:
    """What counts is sealed: a caller's key never becomes a credential for targets."""
    await tampering.write(SECRETS, "cred_p", side="target")
    async with kit.vault() as core:
        assert await kit.refusal(core, wanted("cred_p")) == "wrong-side"


async def test_another_kek_opens_nothing(kit: VaultKit) -> None:
    """The vault says so and does not start, and above all makes no new key over the old one."""
    async with kit.vault() as core:
        await kit.keep(core, "cred_t", 1, target_secret())
    right = kit.home.vault_kek.read_text()
    kit.home.vault_kek.write_text("ab" * 32)
    with pytest.raises(SealBroken):
        await VaultCore.open(region=REGION, home=kit.home, clock=kit.clock, store=kit.store())
    kit.home.vault_kek.write_text(right)
    async with kit.vault() as core:
        assert await kit.token(core) == TARGET_TOKEN


async def test_an_altered_own_key_is_refused(kit: VaultKit, tampering: Tampering) -> None:
    """Neither the pepper in the key's place nor garbage."""
    pepper = (await tampering.read(KEYS, "pepper"))["sealed"]
    for sealed in (pepper, b"garbage", 5):
        await tampering.write(KEYS, "hpke", sealed=sealed)
        with pytest.raises(SealBroken):
            await VaultCore.open(region=REGION, home=kit.home, clock=kit.clock, store=kit.store())


@pytest.mark.parametrize("name", ["vault_kek", "vault_key", "control_public"])
@pytest.mark.parametrize("text", [None, "", "zz", "ab" * 31, "é" * 64])
async def test_a_key_file_that_cannot_be_used_is_named(kit: VaultKit, name: str, text: str | None) -> None:
    """Its path is in the error, its text is not."""
    path = spoil(getattr(kit.home, name), text)
    with pytest.raises(ConfigurationError, match=path.name):
        await VaultCore.open(region=REGION, home=kit.home, clock=kit.clock, store=kit.store())


def spoil(path: Path, text: str | None) -> Path:
    path.unlink() if text is None else path.write_text(text)
    return path


async def test_one_bad_order_stops_all_of_them(kit: VaultKit, core: VaultCore) -> None:
    """A forged order, one for another region, one nobody can read: none before or after it is obeyed."""
    good = await kit.put(core, "cred_t", 1, target_secret())
    forged = orders(revoke("cred_x"), signer=Signer(Signer.new_private())).orders[0]
    altered = type(good)(good.statement[:-1] + b"\0", good.signature)
    for bad, error in (
        (forged, SignatureRefused),
        (altered, SignatureRefused),
        (orders(revoke("cred_x", region="eu")).orders[0], StateRefused),
        (orders(revoke("../x")).orders[0], StateRefused),
        (orders(forget(2**60)).orders[0], StateRefused),
        (CONTROL_GARBAGE, StateRefused),
    ):
        with pytest.raises(error):
            await core.obey(Orders((good, bad, good)))
    assert await kit.refusal(core) == "unknown"
    assert sheet_of(await core.obey(NOTHING)).revoked == ()


CONTROL_GARBAGE = Signer(Secret(bytes(range(32)))).sign("order", b"\x81\xa4type\xa6newest")


async def test_a_repeated_batch_changes_nothing(kit: VaultKit, core: VaultCore) -> None:
    """The same orders again, in any company: same sheet, same number, same leases."""
    batch = Orders(
        (
            await kit.put(core, "cred_t", 1, target_secret()),
            await kit.put(core, "cred_p", 1, caller_secret()),
            *orders(expire(1, 9, None), revoke("cred_r"), forget(3, "cred_f")).orders,
        )
    )
    first = await core.obey(batch)
    stored = await core._store.list(SECRETS)
    for again in (batch, Orders(batch.orders[::-1]), Orders(batch.orders[1:3])):
        assert sheet_of(await core.obey(again)) == sheet_of(first)
    assert await core._store.list(SECRETS) == stored
    assert await kit.token(core) == TARGET_TOKEN


class Failing:
    """The store as it is, but a write that is `due` fails: before it happens, or after."""

    def __init__(self, store: SqliteStore, *, after: bool) -> None:
        self._store, self._after = store, after
        self.due = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def put(self, *arguments: Any, **named: Any) -> int:
        if not self.due:
            return await self._store.put(*arguments, **named)
        if self._after:
            await self._store.put(*arguments, **named)
        raise StoreUnavailable("away")


@pytest.mark.parametrize("after", [False, True])
async def test_a_store_that_fails_is_asked_again(kit: VaultKit, after: bool) -> None:
    """The call fails; whether the write happened or not, the repeated call ends the same."""
    store = Failing(kit.store(), after=after)
    async with kit.vault(store) as core:
        await kit.keep(core, "cred_p", 1, caller_secret())
        put = await kit.put(core, "cred_t", 1, target_secret())
        batch = Orders((put, *orders(revoke("cred_p")).orders))
        store.due = True
        with pytest.raises(StoreUnavailable):
            await core.obey(batch)
        with pytest.raises(StoreUnavailable):
            await core.obey(orders(revoke("cred_p")))
        store.due = False
        obeyed = await core.obey(batch)
        assert sheet_of(obeyed).revoked == ("cred_p",)
        assert await kit.token(core) == TARGET_TOKEN


async def test_a_revocation_holds_while_the_store_is_away(kit: VaultKit) -> None:
    """It cannot be durable, so the call fails; but no lease is granted from that moment on."""
    store = Failing(kit.store(), after=False)
    async with kit.vault(store) as core:
        await kit.keep(core, "cred_t", 1, target_secret())
        store.due = True
        with pytest.raises(StoreUnavailable):
            await core.obey(orders(revoke()))
        assert await kit.refusal(core) == "revoked"


async def test_two_vaults_on_one_store_lose_nothing(kit: VaultKit) -> None:
    """What one wrote the other does not undo: not a secret, not a revocation, not a sheet."""
    async with kit.vault() as one, kit.vault() as two:
        await kit.keep(one, "cred_t", 1, target_secret())
        await kit.keep(two, "cred_t", 2, target_secret("newer-token-0123456789"))
        await kit.keep(one, "cred_t", 1, target_secret())
        assert await kit.token(one) == "newer-token-0123456789"
        await two.obey(orders(revoke("cred_p")))
        obeyed = await kit.keep(one, "cred_p", 5, caller_secret())
        assert sheet_of(obeyed).revoked == ("cred_p",)
        assert sheet_of(obeyed) == sheet_of(await two.obey(NOTHING))
        await asyncio.gather(
            *(core.obey(orders(revoke(f"cred_{n}"))) for n in range(10) for core in (one, two))
        )
        assert len(sheet_of(await one.obey(NOTHING)).revoked) == 11
        numbers = [sheet_of(await core.obey(NOTHING)).number for core in (one, two, one)]
        assert len(set(numbers)) == 1


async def test_two_first_starts_agree_on_the_keys(kit: VaultKit) -> None:
    """Whoever is second takes the keys of the first."""
    async with kit.vault() as one, kit.vault() as two:
        assert await kit.pepper(one) == await kit.pepper(two)
        await two.obey(Orders((await kit.put(one, "cred_t", 1, target_secret()),)))
        assert await kit.token(two) == TARGET_TOKEN


class Slower(Failing):
    """A store on which another vault writes each document just before we do."""

    async def put(self, *arguments: Any, **named: Any) -> int:
        if self.due:
            raise VersionConflict("another was faster")
        return await self._store.put(*arguments, **named)


async def test_a_store_that_always_conflicts_is_given_up(kit: VaultKit) -> None:
    """The vault does not spin for ever; the caller asks again."""
    store = Slower(kit.store(), after=False)
    async with kit.vault(store) as core:
        store.due = True
        with pytest.raises(StoreUnavailable):
            await core.obey(orders(revoke()))


async def test_a_lost_store_starts_above_its_old_sheets(kit: VaultKit) -> None:
    """Edges believe no older number; a vault that begins anew is believed all the same."""
    async with kit.vault() as core:
        number = sheet_of(await core.obey(orders(revoke("a"), revoke("b")))).number
    for path in kit.home.root.glob("vault.db*"):
        path.unlink()
    kit.clock.ms += 3_600_000
    async with kit.vault() as core:
        assert sheet_of(await core.obey(NOTHING)).number > number


async def test_a_long_call_does_not_hold_up_the_loop(kit: VaultKit, core: VaultCore) -> None:
    """Others get their turn during it."""
    await kit.keep(core, "cred_t", 1, target_secret())
    turns = 0
    asking = asyncio.gather(core.grant(kit.capability(*[wanted()] * 256)))
    while not asking.done():
        turns += 1
        await asyncio.sleep(0)
    assert turns > 10
