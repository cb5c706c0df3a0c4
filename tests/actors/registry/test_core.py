"""The registry's loop over a real feed: what it takes over, what it refuses, and when it acknowledges."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec
import pytest

from models.custody.orders import Forget, Revoke
from models.errors import StoreUnavailable
from models.planes.feed import CommandResult, FeedAnswer
from models.planes.state import Delta
from tests.kit.feed import KEY, REGION, Plane, document, ids, question


async def test_follows_the_feed_and_acknowledges_with_the_next_poll(bench, until) -> None:
    """Changes arrive by the open poll; the poll after that names the revision, with the region key."""
    core = await bench.core()
    await until(lambda: core.state.revision == 0)
    bench.plane.put("proxy", "p1")
    bench.server.wake()
    await until(lambda: bench.server.acknowledged == 1)
    assert ids(core) == {"p1"}
    bench.plane.change(document("target", "t1", 2), deletes=(("proxy", "p1"),))
    bench.server.wake()
    await until(lambda: bench.server.acknowledged == 2)
    assert ids(core) == {"t1"}
    assert bench.server.polls[0] == -1
    assert set(bench.server.keys) == {KEY}
    assert core.status().refused == 0


async def test_a_region_without_any_change_has_a_state_too(bench, until) -> None:
    """Revision 0 is a signed, empty state that links are told."""
    core = await bench.core()
    answer = await core.listen(question(sheet=9))
    assert answer.delta is not None
    assert answer.delta.upserts == ()
    await until(lambda: core.status().certificate)
    assert core.status().revision == 0


async def test_fresh_manifests_are_taken_over_without_a_change(bench, until) -> None:
    """An answer without a delta still says when the control plane was heard."""
    core = await bench.core()
    await until(lambda: bench.server.polls[-1:] == [0])
    before = core.state.issued_ms
    bench.server.wake()
    await until(lambda: core.state.issued_ms > before)
    assert core.state.revision == 0


async def test_orders_go_to_the_vault_before_the_revision_counts(bench, until) -> None:
    """While the vault is away nothing of that answer is applied or acknowledged; once back, all of it is."""
    core = await bench.core()
    await until(lambda: core.status().certificate and core.state.revision == 0)
    bench.vault.away = True
    bench.plane.change(document("proxy", "p1", 1), orders=(Revoke(REGION, "cred_1"),))
    asked = bench.vault.asked
    bench.server.wake()
    await until(lambda: bench.vault.asked >= asked + 3)
    assert core.state.revision == 0
    assert bench.server.acknowledged == 0
    bench.vault.away = False
    await until(lambda: bench.server.acknowledged == 1)
    assert ids(core) == {"p1"}
    assert len(bench.vault.obeyed) == 1


async def test_links_hear_of_a_revocation_while_the_vault_is_away(bench, until) -> None:
    """It is told at once, kept and acknowledged only when the vault has obeyed; other news wait for the vault."""
    core = await bench.core()
    await until(lambda: core.status().certificate and core.state.revision == 0)
    bench.vault.away = True
    bench.plane.change(document("proxy", "p1", 1), orders=(Forget(REGION, "cred_0", 1),))
    bench.server.wake()
    asked = bench.vault.asked
    await until(lambda: bench.vault.asked >= asked + 2)
    assert core._listeners.delta_from(-1).upserts == ()

    gone = document("credential", "cred_1", 2, credentialStatus="revoked")
    bench.plane.change(gone, orders=(Revoke(REGION, "cred_1"),))
    await until(lambda: gone in core._listeners.delta_from(-1).upserts)

    assert core.state.revision == 0
    assert bench.server.acknowledged == 0
    bench.vault.away = False
    await until(lambda: bench.server.acknowledged == 2)
    assert core.state.revision == 2


async def test_policy_without_orders_does_not_need_the_vault(bench, until) -> None:
    """A region whose vault has never been seen still gets its policy."""
    bench.vault.away = True
    bench.plane.put("proxy", "p1")
    core = await bench.core()
    await until(lambda: bench.server.acknowledged == 1)
    assert not core.status().certificate
    bench.vault.away = False
    await until(lambda: core.status().certificate)


async def test_acknowledges_only_what_is_on_disk(bench, until) -> None:
    """While the store fails, links are told nothing and the poll names the revision before."""
    mirror = bench.mirror()
    core = await bench.core(mirror=mirror)
    await until(lambda: bench.server.acknowledged == 0)
    keep, tried = mirror.keep_state, []

    async def fail(*_arguments: Any) -> None:
        tried.append(1)
        raise StoreUnavailable("disk full")

    mirror.keep_state = fail
    bench.plane.put("proxy", "p1")
    bench.server.wake()
    await until(lambda: len(tried) >= 3)
    assert bench.server.acknowledged == 0
    assert core.state.revision == 0
    mirror.keep_state = keep
    await until(lambda: bench.server.acknowledged == 1)


async def test_restart_serves_the_mirror_without_control_plane_and_vault(bench, until) -> None:
    """A new core over the same store tells links the last good state and sheet, with nobody else there."""
    bench.plane.put("proxy", "p1")
    await bench.core()
    await until(lambda: bench.server.acknowledged == 1)
    await until(lambda: bench.vault.asked)
    await bench.close()
    await bench.server.stop()
    bench.vault.away = True
    core = await bench.core()
    told = await core.listen(question())
    assert told.delta is not None
    assert [one.id for one in told.delta.upserts] == ["p1"]
    assert told.sheet is not None
    assert core.status().certificate
    await bench.server.start()


async def test_restart_goes_on_where_it_was(bench, until) -> None:
    """The first poll after a restart names the revision on disk."""
    bench.plane.put("proxy", "p1")
    await bench.core()
    await until(lambda: bench.server.acknowledged == 1)
    await bench.close()
    bench.server.polls.clear()
    await bench.core()
    await until(lambda: bench.server.polls)
    assert bench.server.polls[0] == 1


@pytest.mark.parametrize("restart", [False, True])
async def test_a_revoked_credential_never_comes_back(bench, until, restart) -> None:
    """A newer revision, signed and whole, in which it is active again is refused, also after a restart."""
    bench.plane.put("credential", "cred_1", credentialStatus="active")
    bench.plane.put("credential", "cred_1", credentialStatus="revoked")
    core = await bench.core()
    await until(lambda: bench.server.acknowledged == 2)
    bench.plane.put("credential", "cred_1", credentialStatus="active")
    if restart:
        await bench.close()
        core = await bench.core()
    bench.server.wake()
    await until(lambda: core.status().refused >= 2)
    assert core.state.revision == 2
    bench.plane.put("credential", "cred_1", credentialStatus="revoked")
    await until(lambda: bench.server.acknowledged == 4)


async def test_what_the_vault_says_is_revoked_is_so_for_the_feed_too(bench, until) -> None:
    """Sheet and policy cannot disagree on it; once deleted, the id may be gone from both."""
    bench.plane.put("credential", "cred_1", credentialStatus="active")
    core = await bench.core()
    await until(lambda: bench.server.acknowledged == 1)
    bench.vault.number, bench.vault.revoked = 2, ("cred_1",)
    bench.plane.change(
        document("credential", "cred_1", 2, credentialStatus="active", note="again"),
        orders=(Revoke(REGION, "cred_1"),),
    )
    bench.server.wake()
    await until(lambda: core.status().refused >= 1)
    assert core.state.revision == 1
    bench.plane.change(deletes=(("credential", "cred_1"),))
    await until(lambda: bench.server.acknowledged == 3)


async def test_certificate_and_edges_go_up_at_once_and_on_change(bench, until) -> None:
    """The uplink says who the vault is, and what each edge's slowest worker enforces."""
    core = await bench.core()
    await until(lambda: any(one.certificate for one in bench.server.uplinks))
    asking = asyncio.ensure_future(core.listen(question(revision=7, sheet=7, workers=((0, 7), (1, 5)))))
    await until(lambda: any(one.edges for one in bench.server.uplinks))
    edge = bench.server.uplinks[-1].edges[0]
    assert (edge.edge, edge.revision, edge.workers) == ("e1", 5, 2)
    assert abs(edge.seen_ms - time.time() * 1000) < 60_000
    core.report(question(revision=7, sheet=7, workers=((0, 7), (1, 7))))
    await until(lambda: bench.server.uplinks[-1].edges[0].revision == 7)
    asking.cancel()


async def test_uplink_is_repeated_until_it_arrives(bench, until) -> None:
    """A command's result survives an uplink that fails, and is said once after it arrived."""
    core = await bench.core(uplink_seconds=0.01)
    bench.server.uplink_status = 503
    core.command_done(CommandResult(id="c1", edge="e1", status=200, duration_ms=1.5))
    await until(lambda: sum(bool(one.results) for one in bench.server.uplinks) >= 2)
    bench.server.uplink_status = 204
    count = len(bench.server.uplinks)
    await until(lambda: len(bench.server.uplinks) > count + 1)
    assert not bench.server.uplinks[-1].results
    assert bench.server.uplinks[count].results[0].id == "c1"


async def test_failing_credentials_go_up_until_they_are_mended(bench, until) -> None:
    """What the vault could not take is said, kept over a restart, and no more once it could."""
    bench.vault.failing = {"cred_1": "cannot be opened"}
    bench.plane.change(document("proxy", "p1", 1), orders=(Revoke(REGION, "cred_1"),))
    await bench.core(uplink_seconds=0.05)
    await until(
        lambda: bench.server.uplinks and bench.server.uplinks[-1].failing == {"cred_1": "cannot be opened"}
    )
    await until(lambda: bench.server.acknowledged == 1)
    await bench.close()
    bench.server.uplinks.clear()
    await bench.core(uplink_seconds=0.05)
    await until(lambda: bench.server.uplinks)
    assert bench.server.uplinks[0].failing == {"cred_1": "cannot be opened"}
    bench.vault.failing = {}
    bench.plane.change(document("proxy", "p1", 2), orders=(Revoke(REGION, "cred_1"),))
    bench.server.wake()
    await until(lambda: bench.server.uplinks[-1].failing == {})


async def test_commands_reach_one_link_with_a_worker_once(bench, until) -> None:
    """Not the link without workers, and only one of two that have some."""
    core = await bench.core()
    await until(lambda: core.state.revision == 0)
    state = {"revision": 0, "sheet": 9, "issued_ms": 1 << 50}
    bare = asyncio.ensure_future(core.listen(question(link="bare", **state)))
    ones = [
        asyncio.ensure_future(core.listen(question(link=name, workers=((0, 0),), **state))) for name in "ab"
    ]
    soon = int(time.time() * 1000) + 60_000
    bench.server.commands = [
        bench.plane.command("late", expires_ms=1),
        bench.plane.command("elsewhere", expires_ms=soon, region="eu-west-1"),
        Plane().command("forged", expires_ms=soon),
        bench.plane.command("c1", expires_ms=soon),
    ]
    bench.server.wake()
    done, waiting = await asyncio.wait([bare, *ones], return_when=asyncio.FIRST_COMPLETED)
    (answered,) = done
    assert answered is not bare
    assert [msgspec.msgpack.decode(one.statement)["id"] for one in answered.result().commands] == ["c1"]
    assert core.state.revision == 0
    for task in waiting:
        task.cancel()


async def test_a_feed_that_never_holds_is_not_asked_all_the_time(bench, until) -> None:
    """A control plane that answers at once and says nothing does not make the registry spin."""
    bench.server.hold = False
    core = await bench.core(idle_seconds=0.3)
    await until(lambda: core.state.revision == 0)
    began, polls = time.monotonic(), len(bench.server.polls)
    await until(lambda: len(bench.server.polls) > polls + 1)
    assert time.monotonic() - began > 0.25


async def test_a_full_answer_after_a_refusal_is_not_written_again(bench, until) -> None:
    """The same revision and issue again is believed and changes nothing."""
    bench.plane.put("proxy", "p1")
    core = await bench.core()
    await until(lambda: bench.server.acknowledged == 1)
    signed = core.state.signed
    same = FeedAnswer(
        manifest=signed, delta=Delta(0, tuple(core.state.documents.values()), (), core.state.signed)
    )
    polls = len(bench.server.polls)
    bench.server.say = lambda _after: same
    bench.server.wake()
    await until(lambda: len(bench.server.polls) > polls + 1)
    assert core.state.signed is signed
    assert core.status().refused == 0
