"""Orders one by one: versions, overlap, revocation that sticks, tombstones, ends that move, what cannot be kept."""

from __future__ import annotations

import logging
from typing import Any

import msgspec
import pytest

from actors.vault.core import VaultCore
from actors.vault.obedience import credential_of
from actors.vault.secrets import SECRETS
from models.custody.orders import Envelope, Put, sign_order
from models.custody.sealing import Opener, key_id, seal
from models.custody.sheet import Digest
from models.planes.calls import Obeyed, Orders
from models.secret import Secret
from models.verifiers import keyed_digest
from tests.kit.vault import (
    CONTROL,
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
FIRST, SECOND, THIRD = "first-key-0123456789", "second-key-0123456789", "third-key-0123456789"
HOUR_MS = 3_600_000


async def digests(
    kit: VaultKit, core: VaultCore, obeyed: Obeyed, credential: str = "cred_p"
) -> dict[str, Any]:
    """Which of the three keys the sheet accepts, and until when."""
    pepper = await kit.pepper(core)
    names = {keyed_digest(key.encode(), pepper): key for key in (FIRST, SECOND, THIRD)}
    for entry in sheet_of(obeyed).entries:
        if entry.credential_id == credential:
            return {names[one.digest]: one.until_ms for one in entry.digests}
    return {}


async def test_a_caller_is_verified_by_its_keyed_digest(kit: VaultKit, core: VaultCore) -> None:
    """Under the pepper that workers lease; and the sheet's number goes up once."""
    before = sheet_of(await core.obey(NOTHING)).number
    obeyed = await kit.keep(core, "cred_p", 1, caller_secret(FIRST))
    (entry,) = sheet_of(obeyed).entries
    digest = keyed_digest(FIRST.encode(), await kit.pepper(core))
    assert (entry.credential_id, entry.version, entry.digests) == ("cred_p", 1, (Digest(digest),))
    assert sheet_of(obeyed).number == before + 1


async def test_the_old_key_stays_valid_as_long_as_told(kit: VaultKit, core: VaultCore) -> None:
    """The newest first; each earlier one until its own end, which a later order may shorten and not prolong."""
    await kit.keep(core, "cred_p", 1, caller_secret(FIRST))
    now = kit.clock.ms
    obeyed = await kit.keep(core, "cred_p", 2, caller_secret(SECOND, overlap_seconds=3600))
    assert await digests(kit, core, obeyed) == {SECOND: None, FIRST: now + HOUR_MS}
    kit.clock.ms += 1000
    obeyed = await kit.keep(core, "cred_p", 3, caller_secret(THIRD, overlap_seconds=7200))
    assert await digests(kit, core, obeyed) == {
        THIRD: None,
        SECOND: now + 1000 + 2 * HOUR_MS,
        FIRST: now + HOUR_MS,
    }
    kit.clock.ms = now + HOUR_MS
    assert list(await digests(kit, core, await core.obey(NOTHING))) == [THIRD, SECOND]
    obeyed = await kit.keep(core, "cred_p", 4, caller_secret(FIRST))
    assert await digests(kit, core, obeyed) == {FIRST: None}


async def test_the_same_key_again_does_not_overlap_itself(kit: VaultKit, core: VaultCore) -> None:
    """Put anew under a higher version it is the newest, without an end."""
    await kit.keep(core, "cred_p", 1, caller_secret(FIRST))
    obeyed = await kit.keep(core, "cred_p", 2, caller_secret(FIRST, overlap_seconds=60))
    assert await digests(kit, core, obeyed) == {FIRST: None}


async def test_no_older_version_comes_back(
    kit: VaultKit, core: VaultCore, caplog: pytest.LogCaptureFixture
) -> None:
    """The same version again is nothing; an older one is nothing and is logged; gaps do not matter."""
    first = await kit.put(core, "cred_t", 1, target_secret())
    third = await kit.put(core, "cred_t", 3, target_secret("third-token-0123456789"))
    assert (await core.obey(Orders((first, third)))).failing == {}
    with caplog.at_level(logging.WARNING):
        await core.obey(Orders((third,)))
        assert not caplog.records
        assert (await core.obey(Orders((first,)))).failing == {}
    assert [one.message for one in caplog.records] == ["secret refused: older"]
    assert await kit.token(core) == "third-token-0123456789"


async def test_revocation_is_for_ever(kit: VaultKit, core: VaultCore) -> None:
    """At any version, on both sides, also for one never heard of; the sheet names all of them."""
    await kit.keep(core, "cred_t", 1, target_secret())
    await kit.keep(core, "cred_p", 1, caller_secret(FIRST))
    obeyed = await core.obey(orders(revoke("cred_t"), revoke("cred_p"), revoke("cred_new")))
    assert sheet_of(obeyed).revoked == ("cred_new", "cred_p", "cred_t")
    assert [(one.credential_id, one.digests) for one in sheet_of(obeyed).entries] == [("cred_p", ())]
    later = Orders(
        tuple([await kit.put(core, one, 9, target_secret()) for one in ("cred_t", "cred_p", "cred_new")])
        + orders(forget(99, "cred_t"), expire(1, 99, None)).orders
    )
    again = await core.obey(later)
    assert (again.failing, sheet_of(again)) == ({}, sheet_of(obeyed))
    for one in ("cred_t", "cred_p", "cred_new"):
        assert await kit.refusal(core, wanted(one)) == "revoked"


async def test_the_end_of_a_credential_erases_its_bytes(kit: VaultKit, core: VaultCore) -> None:
    """Of the current secret and of overlapping ones: nothing sealed is left in its document."""
    await kit.keep(core, "cred_p", 1, caller_secret(FIRST))
    await kit.keep(core, "cred_p", 2, caller_secret(SECOND, overlap_seconds=3600))
    await kit.keep(core, "cred_t", 1, target_secret())
    await core.obey(orders(revoke("cred_p"), forget(1)))
    left = {one.id: one.document for one in (await core._store.list(SECRETS)).items}
    assert left == {
        "cred_p": {"state": "revoked", "version": 2, "side": "proxy"},
        "cred_t": {"state": "forgotten", "version": 1, "side": "target"},
    }


async def test_what_was_forgotten_stays_so_up_to_its_version(kit: VaultKit, core: VaultCore) -> None:
    """A replayed secret does not return; one above the tombstone does; an old Forget erases nothing newer."""
    first = await kit.put(core, "cred_t", 1, target_secret())
    await core.obey(Orders((first, *orders(forget(2)).orders)))
    second = await kit.put(core, "cred_t", 2, target_secret())
    await core.obey(Orders((first, second)))
    assert await kit.refusal(core) == "unknown"
    await kit.keep(core, "cred_t", 3, target_secret())
    await core.obey(orders(forget(2)))
    assert await kit.token(core) == TARGET_TOKEN
    await core.obey(orders(forget(7, "cred_new"), forget(5, "cred_new")))
    await kit.keep(core, "cred_new", 7, target_secret())
    assert await kit.refusal(core, wanted("cred_new")) == "unknown"
    await core.obey(orders(forget(9, "cred_new")))
    await kit.keep(core, "cred_new", 9, target_secret())
    assert await kit.refusal(core, wanted("cred_new")) == "unknown"


async def test_an_end_may_move_without_the_secret(kit: VaultKit, core: VaultCore) -> None:
    """Later, earlier, or away; never by an older order, and never for another version."""
    now = kit.clock.ms
    await kit.keep(core, "cred_t", 2, target_secret(expires_ms=now + 1000))
    kit.clock.ms += 1000
    assert await kit.refusal(core) == "expired"
    await core.obey(orders(expire(2, 10, now + 5000)))
    (grant,) = await kit.lease(core)
    assert grant.expires_ms == now + 5000
    for order in (expire(2, 9, None), expire(2, 10, None), expire(1, 11, None), expire(3, 11, None)):
        await core.obey(orders(order))
        assert (await kit.lease(core))[0].expires_ms == now + 5000
    await core.obey(orders(expire(2, 12, None)))
    assert (await kit.lease(core))[0].expires_ms == now + 61_000
    envelope = msgspec.json.decode(kit.opened((await kit.lease(core))[0]).reveal(), type=Envelope)
    assert envelope == target_secret()
    await kit.keep(core, "cred_t", 3, target_secret(expires_ms=now + 9000))
    await core.obey(orders(expire(2, 13, None)))
    assert (await kit.lease(core))[0].expires_ms == now + 9000


async def test_an_end_for_nothing_is_nothing(kit: VaultKit, core: VaultCore) -> None:
    """Unknown, revoked and forgotten credentials have none."""
    await core.obey(orders(revoke("a"), forget(1, "b")))
    obeyed = await core.obey(orders(*(expire(1, 5, None, one) for one in ("a", "b", "c"))))
    assert obeyed.failing == {}
    assert await kit.refusal(core, wanted("c")) == "unknown"


SEALED_WRONG = {
    "for another purpose": {"purpose": "lease"},
    "for another region": {"region": "eu"},
    "without a version": {"version": 0},
}


@pytest.mark.parametrize("what", SEALED_WRONG)
async def test_a_secret_sealed_for_something_else_fails(kit: VaultKit, core: VaultCore, what: str) -> None:
    """It opens, and is refused all the same: the credential is failing and nothing is kept."""
    fields = {"version": 1, **SEALED_WRONG[what]}
    order = await kit.put(core, "cred_t", envelope=target_secret(), **fields)
    obeyed = await core.obey(Orders((order,)))
    assert obeyed.failing == {"cred_t": "is sealed for something else"}
    assert await kit.refusal(core) == "unknown"


async def test_a_secret_that_does_not_open_fails_alone(kit: VaultKit, core: VaultCore) -> None:
    """Sealed to another key, moved to another credential, garbage: each failing, the rest kept, the old version stays."""
    await kit.keep(core, "cred_t", 1, target_secret())
    good = await kit.put(core, "cred_u", 1, target_secret())
    other = Opener(Opener.new_private())
    moved = msgspec.msgpack.decode((await kit.put(core, "cred_v", 1, target_secret())).statement, type=Put)
    binding = msgspec.structs.replace(moved.binding, recipient=key_id(other.public))
    stranger = Put(REGION, seal(Secret(b"{}"), other.public, binding), binding)
    wrong = [
        msgspec.structs.replace(
            moved, binding=msgspec.structs.replace(moved.binding, credential_id="cred_t", version=2)
        ),
        stranger,
        msgspec.structs.replace(
            moved, sealed=b"", binding=msgspec.structs.replace(moved.binding, credential_id="cred_w")
        ),
    ]
    obeyed = await core.obey(Orders((*(sign_order(one, CONTROL) for one in wrong), good)))
    assert set(obeyed.failing) == {"cred_t", "cred_v", "cred_w"}
    assert await kit.token(core) == TARGET_TOKEN
    assert await kit.refusal(core, wanted("cred_u")) == ""
    obeyed = await core.obey(Orders((sign_order(wrong[1], CONTROL), sign_order(moved, CONTROL))))
    assert obeyed.failing == {}


UNUSABLE = [
    Envelope(side="both", auth_type="bearer", secret={"token": "canary-x-0123456789"}),
    Envelope(side="target", auth_type="oauth2", secret={"token": "canary-x-0123456789"}),
    Envelope(side="target", auth_type="bearer", secret={"key": "canary-x-0123456789"}),
    Envelope(side="target", auth_type="bearer", secret={"token": "canary-x\r\nHost: evil"}),
    Envelope(side="proxy", auth_type="none", secret={}),
    Envelope(side="proxy", auth_type="bearer", secret={"token": "canary-x-0123456789"}, overlap_seconds=-1),
]


@pytest.mark.parametrize("envelope", UNUSABLE, ids=range(len(UNUSABLE)))
async def test_a_secret_of_another_shape_fails_without_being_quoted(
    kit: VaultKit, core: VaultCore, envelope: Envelope, caplog: pytest.LogCaptureFixture
) -> None:
    """The reason says that, and no more."""
    obeyed = await kit.keep(core, "cred_t", 1, envelope)
    assert set(obeyed.failing) == {"cred_t"}
    assert "canary" not in str(obeyed.failing) + caplog.text
    assert await kit.refusal(core) == "unknown"


async def test_another_client_cannot_take_over_a_credential(kit: VaultKit, core: VaultCore) -> None:
    """A secret bound to another client is refused while there is one."""
    await kit.keep(core, "cred_t", 1, target_secret())
    order = await kit.put(core, "cred_t", 2, target_secret("other-token-0123456789"), client_id="cli_two")
    assert (await core.obey(Orders((order,)))).failing == {"cred_t": "belongs to another client"}
    assert await kit.token(core) == TARGET_TOKEN


async def test_every_order_is_about_one_credential(kit: VaultKit, core: VaultCore) -> None:
    """Whichever kind it is."""
    put = msgspec.msgpack.decode((await kit.put(core, "cred_t", 1, target_secret())).statement, type=Put)
    assert {credential_of(one) for one in (put, revoke(), forget(1), expire(1, 1, None))} == {"cred_t"}
