"""What the projection makes of any sequence of writes: the same in memory, kept, rebuilt and replayed in part."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from control_api.ledger.change import Body, Change, Draft, Item, Key, Replay
from control_api.ledger.drafting import complete
from control_api.ledger.ledger import rebuild
from control_api.ledger.projection import Projection, caller_ids, differences
from models.ids import new_id
from tests.kit.plane import CLIENT, SIGNER, plane, proxy, target
from tests.kit.writes import Write, apply_to, item_of, writes


def made(projection: Projection, *items: Item, client_id: str | None = CLIENT) -> Change:
    """The next change, applied."""
    draft = Draft(action="update", client_id=client_id, items=items)
    now = projection.revision + 1
    change = complete(draft, projection, SIGNER, change_id=new_id("client"), at_ms=now * 1000, actor="usr_1")
    projection.apply(change)
    return change


def log_of(sequence: list[Write]) -> tuple[list[Change], Projection, dict[Key, Body]]:
    """The changes that writes become, the projection after them, and the model."""
    projection, model, changes = Projection(), dict[Key, Body](), list[Change]()
    for write in sequence:
        item = item_of(write, model)
        if item is not None:
            changes.append(made(projection, item))
            apply_to(model, item)
    return changes, projection, model


@given(st.lists(writes, max_size=40), st.data())
def test_any_part_may_be_replayed_again(sequence: list[Write], data: st.DataObject) -> None:
    """Replaying the log's end over a state that is ahead of it in places ends in the same state."""
    changes, projection, model = log_of(sequence)
    assert {(one.kind, one.id): one.body for one in projection.resources()} == model

    kept_at = data.draw(st.integers(0, len(changes)))
    older, newer = Projection(), Projection()
    for change in changes[:kept_at]:
        older.apply(change)
    ahead = data.draw(st.integers(kept_at, len(changes)))
    for change in changes[:ahead]:
        newer.apply(change)
    # What is kept: each resource as at one moment or the other, the head as at the older one.
    mixed = []
    for key in {(one.kind, one.id) for one in (*older.resources(), *newer.resources())}:
        found = (newer if data.draw(st.booleans()) else older).get(*key)
        if found is not None:
            mixed.append(found)
    restored = Projection()
    restored.restore(
        mixed, revision=older.revision, at_ms=older.at_ms, region_revisions=older.region_revisions
    )
    for change in changes[kept_at:]:
        restored.apply(change)
    assert differences(restored, projection) == []
    for one in projection.list("proxy"):
        region = one.body["proxyRegion"]
        assert restored.alias(region, one.body["proxyAlias"]) == one.id
        assert one.id in restored.referrers("target", one.body["proxyTargetId"])
        for caller in caller_ids(one.body):
            assert one.id in restored.referrers("credential", caller)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.lists(writes, max_size=8), max_size=3))
def test_memory_store_and_log_agree_over_restarts(sessions: list[list[Write]]) -> None:
    """After any writes, with restarts between them, projection, log and model are the same."""
    asyncio.run(_agree(sessions))


async def _agree(sessions: list[list[Write]]) -> None:
    model: dict[Key, Body] = {}
    with tempfile.TemporaryDirectory() as folder:
        for session in [*sessions, []]:
            async with plane(Path(folder) / "control.db") as here:
                found = {(one.kind, one.id): one.body for one in here.ledger.projection.resources()}
                assert found == model
                for write in session:
                    item = item_of(write, model)
                    if item is not None:
                        await here.write("update", item)
                        apply_to(model, item)
                assert differences(here.ledger.projection, await rebuild(here.store)) == []


def test_lists_are_in_order_of_creation() -> None:
    """By revision of creation, then id, whatever was updated since."""
    projection = Projection()
    made(projection, target("tgt_z"))
    made(projection, target("tgt_b"), target("tgt_a"))
    made(projection, target("tgt_z", targetTimeoutMs=5))
    assert [one.id for one in projection.list("target", client_id=CLIENT)] == ["tgt_z", "tgt_a", "tgt_b"]
    assert projection.list("target", client_id="cli_other") == []


def test_references_follow_updates() -> None:
    """A proxy stops referring to what it no longer names; either form of its callers counts."""
    projection = Projection()
    made(projection, proxy("prx", ["cred_a", "cred_b"], "tgt_a", "cred_c"))
    assert projection.referrers("credential", "cred_b") == ["prx"]
    single = proxy("prx", [], "tgt_a", "cred_c", proxyProxyCredentialId="cred_a")
    made(projection, single)
    assert projection.referrers("credential", "cred_b") == []
    assert projection.referrers("credential", "cred_a") == ["prx"]
    assert projection.referrers("client", CLIENT) == ["prx"]
    assert projection.referrers("region", "us") == ["prx"]


def test_an_alias_can_change_hands_in_one_change() -> None:
    """Whichever item comes first, the alias belongs to the one that has it at the end."""
    projection = Projection()
    first, second = (proxy(name, ["c"], "t", "s", proxyAlias="pay") for name in ("prx_1", "prx_2"))
    made(projection, first)
    made(projection, second, proxy("prx_1", ["c"], "t", "s"))
    assert projection.alias("us", "pay") == "prx_2"
    assert projection.alias("eu", "pay") is None


def test_members_and_tokens_are_found() -> None:
    """Clients by member, tokens by digest, until they are gone; a user takes its tokens along."""
    projection = Projection()
    user = Item("user", "usr_1", after={"userName": "Ann", "operator": False})
    token = Item("token", "tok_1", parent=("user", "usr_1"), after={"tokenDigest": "d1", "tokenName": "x"})
    body = {"clientName": "A", "clientMembers": [{"userId": "usr_1", "roles": ["owner"]}]}
    made(projection, user, token, Item("client", CLIENT, CLIENT, after=body))
    assert projection.memberships("usr_1") == [CLIENT]
    found = projection.token("d1")
    assert found is not None
    assert found.parent == ("user", "usr_1")
    made(projection, Item("user", "usr_1"))
    assert projection.token("d1") is None
    assert projection.get("token", "tok_1") is None


def test_keys_are_forgotten_after_a_day() -> None:
    """The memory of `Idempotency-Key`s does not grow with the log."""
    projection = Projection()
    for number in range(5):
        draft = Draft(action="create", client_id=None, items=())
        replay = Replay("tok", f"key-{number}", "d", 201, "target", "t")
        at_ms = number * 10 * 3600 * 1000
        projection.apply(
            complete(draft, projection, SIGNER, change_id="x", at_ms=at_ms, actor="usr_1", replay=replay)
        )
    assert projection.replay("tok", "key-0", 0) is None
    assert projection.replay("tok", "key-4", 41 * 3600 * 1000) is not None
    assert projection.replay("tok", "key-2", 41 * 3600 * 1000) is not None
