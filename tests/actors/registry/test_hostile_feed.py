"""A feed that must not be believed: the registry keeps what it has, and says so."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from actors.registry.core import RegistryCore
from models.custody.orders import Revoke, sign_order
from models.custody.signing import Signed, Signer
from models.planes.feed import FeedAnswer
from models.planes.state import RegionState
from tests.kit.feed import REGION, Plane, document, ids, question


def replayed(bench: Any) -> FeedAnswer:
    """What the feed said at revision 1, said again at 2."""
    old = Plane(signer=bench.plane.signer)
    old.issued_ms = bench.plane.issued_ms + 1_000
    old.put("proxy", "p1")
    return old.answer(-1)


def unsigned(bench: Any) -> FeedAnswer:
    """A delta whose manifest nobody signed."""
    answer = next_honest(bench)
    bare = Signed(answer.manifest.statement, bytes(64))
    return with_manifest(answer, bare)


def signed_by_another(bench: Any) -> FeedAnswer:
    """A whole plane of somebody else."""
    return next_honest(bench, Plane(signer=Signer(Signer.new_private())))


def signed_for_another_purpose(bench: Any) -> FeedAnswer:
    """The right signer, but the statement was signed as something else."""
    answer = next_honest(bench)
    return with_manifest(answer, bench.plane.signer.sign("order", answer.manifest.statement))


def missing_document(bench: Any) -> FeedAnswer:
    """One document of the signed state was left out."""
    answer = next_honest(bench)
    delta = answer.delta
    assert delta is not None
    return msgspec.structs.replace(answer, delta=msgspec.structs.replace(delta, upserts=delta.upserts[1:]))


def altered_document(bench: Any) -> FeedAnswer:
    """One document says something else than what was signed."""
    answer = next_honest(bench)
    delta = answer.delta
    assert delta is not None
    first = msgspec.structs.replace(delta.upserts[0], text=b'{"proxyActive": true}')
    return msgspec.structs.replace(
        answer, delta=msgspec.structs.replace(delta, upserts=(first, *delta.upserts[1:]))
    )


def other_region(bench: Any) -> FeedAnswer:
    """Another region's state, properly signed."""
    return next_honest(bench, Plane("eu-west-1", bench.plane.signer))


def other_base(bench: Any) -> FeedAnswer:
    """A delta that starts at a revision which this region is not at."""
    answer = next_honest(bench)
    assert answer.delta is not None
    return msgspec.structs.replace(answer, delta=msgspec.structs.replace(answer.delta, base=1))


def foreign_order(bench: Any) -> FeedAnswer:
    """Honest state, with an order that somebody else signed."""
    order = sign_order(Revoke(REGION, "cred_1"), Signer(Signer.new_private()))
    return msgspec.structs.replace(next_honest(bench), orders=(order,))


def manifest_of_another_state(bench: Any) -> FeedAnswer:
    """No delta, and a manifest for documents that this region does not have."""
    return FeedAnswer(manifest=next_honest(bench).manifest)


def next_honest(bench: Any, plane: Plane | None = None) -> FeedAnswer:
    """What a plane would say of revision 3, with three documents."""
    plane = plane or Plane(signer=bench.plane.signer)
    plane.issued_ms = bench.plane.issued_ms + 1_000
    for name in ("p1", "p2", "p3"):
        plane.put("proxy", name)
    return plane.answer(-1)


def with_manifest(answer: FeedAnswer, manifest: Signed) -> FeedAnswer:
    """The same with another manifest everywhere."""
    assert answer.delta is not None
    delta = msgspec.structs.replace(answer.delta, manifest=manifest)
    return msgspec.structs.replace(answer, manifest=manifest, delta=delta)


HOSTILE = (
    replayed,
    unsigned,
    signed_by_another,
    signed_for_another_purpose,
    missing_document,
    altered_document,
    other_region,
    other_base,
    foreign_order,
    manifest_of_another_state,
)


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda one: one.__name__)
async def test_a_hostile_feed_gets_nowhere(bench, until, hostile) -> None:
    """What does not verify changes nothing, is not acknowledged, and the registry asks for everything anew."""
    bench.plane.put("proxy", "p1")
    bench.plane.put("proxy", "p2")
    core: RegistryCore = await bench.core()
    await until(lambda: bench.server.acknowledged == 2)
    kept, obeyed = core.state, len(bench.vault.obeyed)
    answer = hostile(bench)
    bench.server.say = lambda _after: answer
    bench.server.wake()
    await until(lambda: core.status().refused >= 2)
    assert core.state.documents == kept.documents
    assert core.state.revision == 2
    assert bench.server.polls[-1] == -1
    assert bench.server.acknowledged == 2
    assert len(bench.vault.obeyed) == obeyed
    told = await core.listen(question())
    assert told.delta is not None
    assert RegionState.empty(REGION).apply(told.delta, bench.control).revision == 2

    bench.server.honest()
    bench.plane.issued_ms += 10_000
    bench.plane.put("proxy", "p3")
    await until(lambda: bench.server.acknowledged == 3)
    assert ids(core) == {"p1", "p2", "p3"}


async def test_an_earlier_issue_of_the_same_state_changes_nothing(bench, until) -> None:
    """A replayed manifest does not make the region's policy look older or newer than it is."""
    core = await bench.core()
    await until(lambda: bench.server.polls[-1:] == [0])
    old = bench.plane.manifest()
    bench.server.wake()
    await until(lambda: core.state.issued_ms > bench.plane.issued_ms - 1)
    issued = core.state.issued_ms
    polls = len(bench.server.polls)
    bench.server.say = lambda _after: FeedAnswer(manifest=old)
    bench.server.wake()
    await until(lambda: len(bench.server.polls) > polls + 1)
    assert core.state.issued_ms == issued
    assert core.status().refused == 0


@pytest.mark.parametrize("said", [b"{", b"[]", b'{"manifest": 7}', 500, 401, 204])
async def test_answers_that_are_none_keep_everything(bench, until, said) -> None:
    """Broken JSON, another form and error statuses are waited out; nothing is acknowledged that was not."""
    bench.plane.put("proxy", "p1")
    core = await bench.core()
    await until(lambda: bench.server.acknowledged == 1)
    bench.plane.put("proxy", "p2")
    polls = len(bench.server.polls)
    bench.server.say = lambda _after: said
    bench.server.wake()
    await until(lambda: len(bench.server.polls) >= polls + 3)
    assert core.state.revision == 1
    assert bench.server.polls[-1] == 1
    bench.server.honest()
    await until(lambda: bench.server.acknowledged == 2)


async def test_sheets_never_go_back(bench, until) -> None:
    """An older sheet of the same vault is not told to anyone, a newer one is."""
    bench.vault.number = 5
    core = await bench.core(greet_seconds=0.01)
    await until(lambda: core.status().sheet == 5)
    bench.vault.number = 4
    asked = bench.vault.asked
    await until(lambda: bench.vault.asked > asked + 1)
    assert core.status().sheet == 5
    bench.vault.number = 6
    answer = await core.listen(question(revision=9, sheet=5))
    assert answer.sheet is not None
    assert core.status().sheet == 6


async def test_a_vault_of_another_identity_is_not_believed(bench, until) -> None:
    """Neither its sheet nor its certificate goes anywhere."""
    pinned = bench.vault.identity
    core = await bench.core()
    await until(lambda: core.status().sheet == 1)
    await until(lambda: core.status().revision == 0)
    bench.vault.identity, bench.vault.number = Signer(Signer.new_private()), 9
    bench.plane.change(document("proxy", "p1", 1), orders=(Revoke(REGION, "cred_1"),))
    bench.server.wake()
    await until(lambda: core.status().refused >= 1)
    assert core.status().sheet == 1
    assert core.state.revision == 0
    bench.vault.identity = pinned
    await until(lambda: bench.server.acknowledged == 1)


async def test_a_statement_of_a_form_not_known_here_does_not_end_the_loop(bench, until) -> None:
    """Signed by the right key, but made by another version: refused like the rest, and asked for again."""
    core = await bench.core()
    await until(lambda: core.state.revision == 0)
    odd = FeedAnswer(manifest=bench.plane.signer.sign("manifest", b'{"form": "new"}'))
    bench.server.say = lambda _after: odd
    bench.server.wake()
    await until(lambda: core.status().refused >= 2)
    bench.server.honest()
    bench.plane.put("proxy", "p1")
    await until(lambda: bench.server.acknowledged == 1)


async def test_an_error_nobody_thought_of_does_not_end_the_loop(bench, until) -> None:
    """It is logged by type, and the next turn comes after a pause."""
    mirror = bench.mirror()
    core = await bench.core(mirror=mirror)
    await until(lambda: core.state.revision == 0)
    keep, tried = mirror.keep_state, []

    async def fail(*_arguments: Any) -> None:
        tried.append(1)
        raise RuntimeError("a fault")

    mirror.keep_state = fail
    bench.plane.put("proxy", "p1")
    bench.server.wake()
    await until(lambda: len(tried) >= 2)
    mirror.keep_state = keep
    await until(lambda: bench.server.acknowledged == 1)
