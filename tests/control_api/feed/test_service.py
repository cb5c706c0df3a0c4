"""What regions are told and say: long polls, acknowledgement, orders until they are erased, commands, certificates."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from control_api.feed.service import FeedService
from control_api.feed.status import AWAY, AWAY_MS, CONNECTED, EDGE_KEPT_MS
from models.custody.orders import Envelope, Forget, Put, Revoke, read_order
from models.custody.signing import Signed, Signer
from models.errors import Invalid, NotFound, Unavailable
from models.planes.feed import COMMAND, Command, CommandResult, EdgeReport, FeedAnswer, Uplink
from models.planes.state import read_manifest
from tests.kit.plane import (
    CLIENT,
    VERIFIER,
    Follower,
    HandClock,
    Plane,
    Vault,
    credential,
    erased,
    gone,
    plane,
    target,
    until,
)

ENVELOPE = Envelope(side="proxy", auth_type="bearer", secret={"token": "not-to-be-found-anywhere"})


def orders(answer: FeedAnswer) -> list[object]:
    """The orders of an answer, verified."""
    return [read_order(signed, VERIFIER) for signed in answer.orders]


async def put(here: Plane, name: str, region: str = "us", version: int = 1) -> int:
    """Writes a credential with its sealed secret; the revision."""
    order = here.sealer.seal_put(region, CLIENT, name, version, ENVELOPE)
    item = credential(name, region, credentialVersion=version)
    return (await here.write("create", item, orders={region: (order,)})).revision


async def begun(task: asyncio.Task[FeedAnswer], here: Plane) -> None:
    """Waits until a poll waits."""
    await until(lambda: here.ledger._waiting)
    assert not task.done()


async def test_a_region_without_a_change_has_a_manifest(tmp_path: Path) -> None:
    """An empty policy is a policy: revision 0, vouched for now."""
    clock = HandClock()
    async with plane(tmp_path / "control.db", clock=clock) as here:
        await here.enrol("us", "eu")
        follower = Follower("us")
        answer = await follower.turn(here.feed)
        assert read_manifest(answer.manifest, VERIFIER, "us").revision == 0
        clock.ms += 10
        again = await follower.turn(here.feed)
        assert again.delta is None
        assert follower.state.issued_ms == clock.ms
        assert here.ledger.acknowledged("us") == 0
        assert here.ledger.acknowledged("eu") == -1


async def test_a_poll_is_answered_when_something_changes(tmp_path: Path) -> None:
    """At once, and not by what concerns another region; an untouched document is not sent again."""
    async with plane(tmp_path / "control.db") as here:
        await here.enrol("us", "eu")
        await here.write("create", target("tgt_a"))
        follower = Follower("us")
        await follower.settle(here.feed)
        waiting = asyncio.ensure_future(follower.turn(here.feed, 20.0))
        await begun(waiting, here)
        await here.write("create", target("tgt_x", "eu"))
        written = await here.write("create", target("tgt_b"))
        async with asyncio.timeout(1.0):
            answer = await waiting
        assert answer.delta is not None
        assert [document.id for document in answer.delta.upserts] == ["tgt_b"]
        assert follower.state.revision == written.revision


async def test_a_change_of_another_process_reaches_a_waiting_poll(tmp_path: Path) -> None:
    """A region may be connected to one control API while another one writes."""
    async with plane(tmp_path / "control.db") as one, plane(tmp_path / "control.db") as other:
        await one.enrol("us")
        await other.ledger.catch_up()
        follower = Follower("us")
        await follower.turn(other.feed)
        waiting = asyncio.ensure_future(follower.turn(other.feed, 20.0))
        await begun(waiting, other)
        await one.write("create", target("tgt_a"))
        async with asyncio.timeout(2.0):
            assert (await waiting).delta is not None
        await follower.turn(other.feed)
        assert await one.ledger.propagated(follower.state.revision, ("us",), 2.0)


async def test_asking_acknowledges_and_a_write_hears_of_it(tmp_path: Path) -> None:
    """`applied` once the region asks after the revision, not when it was told."""
    async with plane(tmp_path / "control.db") as here:
        await here.enrol("us")
        written = await here.write("create", target("tgt_a"))
        follower = Follower("us")
        await follower.turn(here.feed)
        assert not await here.ledger.propagated(written.revision, written.regions, 0.01)
        await follower.turn(here.feed)
        assert await here.ledger.propagated(written.revision, written.regions, 0.01)


async def test_a_revision_that_is_not_ours_is_no_acknowledgement(tmp_path: Path) -> None:
    """A region that claims the future gets the whole state, and nothing of what it has not had is erased."""
    async with plane(tmp_path / "control.db") as here:
        await here.enrol("us")
        revision = await put(here, "cred_a")
        answer = await here.feed.poll("us", revision + 1000, 0)
        assert here.ledger.acknowledged("us") == -1
        assert answer.delta is not None
        assert answer.delta.base == 0
        assert [type(order) for order in orders(answer)] == [Put]


async def test_an_unknown_region_is_told_nothing(tmp_path: Path) -> None:
    """404 for feed, uplink, status and commands."""
    async with plane(tmp_path / "control.db") as here:
        feed = here.feed
        for call in (
            feed.poll("us", -1, 0),
            feed.uplink("us", Uplink()),
            feed.run_command("us", "x", "", "", "", 0),
        ):
            with pytest.raises(NotFound):
                await call
        with pytest.raises(NotFound):
            feed.status("us")


async def test_orders_go_to_their_region_once_it_lacks_them_and_are_erased(tmp_path: Path) -> None:
    """Sealed to that region's vault, repeated until acknowledged, then gone from the log."""
    async with plane(tmp_path / "control.db") as here:
        await here.enrol("us", "eu")
        us, eu = Follower("us"), Follower("eu")
        revision = await put(here, "cred_a")
        first, again = await here.feed.poll("us", 0, 0), await here.feed.poll("us", 0, 0)
        assert first.orders == again.orders
        assert (await eu.turn(here.feed)).orders == ()
        [order] = orders(first)
        assert isinstance(order, Put)
        plain = here.vaults["us"].opener.open(order.sealed, order.binding)
        assert msgspec.json.decode(plain.reveal(), type=Envelope) == ENVELOPE
        held = await here.ledger.change(revision)
        assert held is not None
        assert held.orders
        await us.settle(here.feed)
        await erased(here.ledger, revision)
        assert (await Follower("us").turn(here.feed)).orders == ()


async def test_erasing_goes_on_after_a_restart(tmp_path: Path) -> None:
    """What was acknowledged before a crash is erased after it, also by another process's word."""
    vaults: dict[str, Vault] = {}
    async with plane(tmp_path / "control.db", vaults=vaults) as here:
        await here.enrol("us")
        revision = await put(here, "cred_a")
        other = await put(here, "cred_b")
    async with plane(tmp_path / "control.db", vaults=vaults) as here:
        assert len(orders(await here.feed.poll("us", -1, 0))) == 2
        assert len(orders(await here.feed.poll("us", revision, 0))) == 1
        await erased(here.ledger, revision)
        change = await here.ledger.change(other)
        assert change is not None
        assert change.orders


async def test_one_that_begins_with_nothing_hears_of_every_revocation(tmp_path: Path) -> None:
    """Also of those whose own orders are erased long since, and of every secret still in the log."""
    async with plane(tmp_path / "control.db") as here:
        await here.enrol("us", "eu")
        follower = Follower("us")
        await put(here, "cred_a")
        await here.write("revoke", credential("cred_a", credentialStatus="revoked"))
        await here.write("create", credential("cred_eu", "eu", credentialStatus="revoked"))
        await follower.turn(here.feed)
        told = orders(follower.answers[-1])
        assert [type(order) for order in told] == [Put, Revoke]
        await follower.settle(here.feed)
        await erased(here.ledger, follower.state.revision)
        await put(here, "cred_b")
        told = orders(await Follower("us").turn(here.feed))
        assert {
            (type(one), one.binding.credential_id if isinstance(one, Put) else one.credential_id)
            for one in told
        } == {
            (Put, "cred_b"),
            (Revoke, "cred_a"),
        }
        await here.write("delete", gone(credential("cred_b")))
        assert Forget("us", "cred_b", 1) in orders(await follower.turn(here.feed))


async def test_a_newer_poll_of_a_region_ends_the_older_one(tmp_path: Path) -> None:
    """A registry that was restarted does not share its commands with a connection nobody reads."""
    async with plane(tmp_path / "control.db") as here:
        await here.enrol("us")
        older = asyncio.ensure_future(here.feed.poll("us", 0, 20))
        await begun(older, here)
        newer = asyncio.ensure_future(here.feed.poll("us", 0, 20))
        async with asyncio.timeout(1.0):
            assert (await older).commands == ()
        command = asyncio.ensure_future(
            here.feed.run_command("us", "testTarget", CLIENT, "tgt_a", "cred_a", seconds=5.0)
        )
        async with asyncio.timeout(1.0):
            [signed] = (await newer).commands
        found = msgspec.msgpack.decode(VERIFIER.verify(COMMAND, signed), type=Command)
        assert (found.kind, found.region, found.target_id, found.credential_id) == (
            "testTarget", "us", "tgt_a", "cred_a",
        )  # fmt: skip
        assert (await here.feed.poll("us", 0, 0)).commands == ()
        result = CommandResult(id=found.id, edge="edge-1", status=204, duration_ms=3.5)
        await here.feed.uplink("us", Uplink(results=(result, CommandResult(id="cmd_unknown", edge="e"))))
        assert await command == result


async def test_a_command_without_a_result_is_given_up(tmp_path: Path) -> None:
    """None when the time is over, and the command is not handed out afterwards."""
    async with plane(tmp_path / "control.db") as here:
        await here.enrol("us")
        assert await here.feed.run_command("us", "testTarget", CLIENT, "tgt_a", None, 0.01) is None
        assert (await here.feed.poll("us", 0, 0)).commands == ()


async def test_only_the_enrolled_vault_announces_its_key(tmp_path: Path) -> None:
    """A certificate of another identity, region or form is refused; without one nothing can be sealed."""
    async with plane(tmp_path / "control.db") as here:
        await here.enrol("us", certified=False)
        vault = here.vaults["us"]
        stranger = Signer(Signer.new_private())
        for certificate in (
            vault.certificate(identity=stranger),
            Vault("eu", vault.identity).certificate(),
            vault.identity.sign("certificate", b"nonsense"),
            Signed(b"", b""),
        ):
            with pytest.raises(Invalid):
                await here.feed.uplink("us", Uplink(certificate=certificate))
        with pytest.raises(Unavailable, match="has not announced"):
            here.sealer.seal_put("us", CLIENT, "cred_a", 1, ENVELOPE)
        with pytest.raises(Unavailable, match="has not announced"):
            await here.sealer.prepare("us")
        await here.feed.uplink("us", Uplink(certificate=vault.certificate()))
        await here.sealer.prepare("us")
        here.sealer.seal_put("us", CLIENT, "cred_a", 1, ENVELOPE)


async def test_an_older_certificate_does_not_come_back(tmp_path: Path) -> None:
    """The newest key is sealed to, also after a restart and whatever is said again."""
    vaults: dict[str, Vault] = {}
    async with plane(tmp_path / "control.db", vaults=vaults) as here:
        await here.enrol("us", certified=False)
        renewed = Vault("us", here.vaults["us"].identity)
        await here.feed.uplink("us", Uplink(certificate=renewed.certificate(2)))
        await here.feed.uplink("us", Uplink(certificate=here.vaults["us"].certificate(1)))
    async with plane(tmp_path / "control.db", vaults=vaults) as here:
        [order] = [read_order(here.sealer.seal_put("us", CLIENT, "cred_a", 1, ENVELOPE), VERIFIER)]
        assert isinstance(order, Put)
        renewed.opener.open(order.sealed, order.binding)


async def test_the_status_of_a_region_tells_how_it_is(tmp_path: Path) -> None:
    """Connected while it polls, with its edges, and with the credentials that exist and fail."""
    clock = HandClock()
    async with plane(tmp_path / "control.db", clock=clock) as here:
        await here.enrol("us")
        assert here.feed.status("us").state == AWAY
        await put(here, "cred_a")
        follower = Follower("us")
        await follower.settle(here.feed)
        edge = EdgeReport(edge="edge-1", revision=follower.state.revision, workers=2, seen_ms=clock.ms)
        await here.feed.uplink("us", Uplink(edges=(edge,), failing={"cred_a": "no room", "cred_gone": "x"}))
        status = here.feed.status("us")
        assert (status.state, status.seen_ms, status.edges) == (CONNECTED, clock.ms, (edge,))
        assert status.acknowledged == status.revision == follower.state.revision
        assert status.failing == {"cred_a": "no room"}
        clock.ms += AWAY_MS
        assert here.feed.status("us").state == AWAY
        clock.ms += 1
        await here.feed.uplink("us", Uplink())
        assert here.feed.status("us").failing == {}


async def test_an_edge_is_not_forgotten_with_its_registry(tmp_path: Path) -> None:
    """A registry that has just started has heard no edge yet; one that stays away is left out after a minute."""
    clock = HandClock()
    async with plane(tmp_path / "control.db", clock=clock) as here:
        await here.enrol("us")
        edge = EdgeReport(edge="edge-1", revision=0, workers=2, seen_ms=clock.ms)
        other = EdgeReport(edge="edge-2", revision=0, workers=1, seen_ms=clock.ms)
        await here.feed.uplink("us", Uplink(edges=(edge, other)))
        await here.feed.uplink("us", Uplink())
        assert set(here.feed.status("us").edges) == {edge, other}
        clock.ms += EDGE_KEPT_MS
        newer = EdgeReport(edge="edge-2", revision=0, workers=1, seen_ms=clock.ms)
        await here.feed.uplink("us", Uplink(edges=(newer,)))
        assert here.feed.status("us").edges == (newer,)


async def test_a_region_whose_clock_is_ahead_keeps_no_edge_longer(tmp_path: Path) -> None:
    """When an edge was seen is the region's word, which is bounded by our clock."""
    clock = HandClock()
    async with plane(tmp_path / "control.db", clock=clock) as here:
        await here.enrol("us")
        ahead = EdgeReport(edge="edge-1", revision=0, workers=2, seen_ms=clock.ms + 3_600_000)
        await here.feed.uplink("us", Uplink(edges=(ahead,)))
        assert [one.edge for one in here.feed.status("us").edges] == ["edge-1"]
        clock.ms += EDGE_KEPT_MS
        await here.feed.uplink("us", Uplink())
        assert here.feed.status("us").edges == ()


async def test_closing_answers_those_who_wait(tmp_path: Path) -> None:
    """A stop does not have to wait for long polls."""
    async with plane(tmp_path / "control.db") as here:
        await here.enrol("us")
        waiting = asyncio.ensure_future(here.feed.poll("us", 0, 20))
        await begun(waiting, here)
        await here.feed.close()
        async with asyncio.timeout(1.0):
            assert (await waiting).delta is None


async def test_a_change_during_the_start_is_not_missed(tmp_path: Path) -> None:
    """What is written while the feed reads the log back counts once."""
    async with plane(tmp_path / "control.db") as here:
        await here.enrol("us")
        await here.write("create", target("tgt_a"))
        follower = Follower("us")
        await follower.settle(here.feed)
        late = FeedService(here.ledger, here.sealer._signer, HandClock())
        opening = asyncio.ensure_future(late.open())
        await asyncio.sleep(0)
        await here.write("create", target("tgt_b"))
        await opening
        answer = await late.poll("us", follower.state.revision, 0)
        assert answer.delta is not None
        assert answer.delta.base == follower.state.revision
        assert [document.id for document in answer.delta.upserts] == ["tgt_b"]
        await late.close()
