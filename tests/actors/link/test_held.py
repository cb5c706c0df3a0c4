"""What the link believes, and what it sends to a worker that has this much already."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.link.held import REMEMBERED, Held, Known, difference
from models.custody.signing import Signed, Signer
from models.errors import SignatureRefused, StateRefused
from models.planes.calls import ListenAnswer
from models.planes.state import Delta, RegionState
from tests.kit.link import REGION, Region

NOTHING = Known(-1, -1)


def held_of(region: Region) -> Held:
    """A link's, of that region, empty."""
    return Held(REGION, region.control_key, region.vault_key)


def apply(state: RegionState, held: Held, known: Known, region: Region) -> RegionState:
    """What a worker makes of an update, verifying as a worker does."""
    update = held.update(known)
    if update is None:
        return state
    if update.delta is not None:
        state = state.apply(update.delta, region.control_key)
    if update.manifest is not None:
        state = state.refresh(update.manifest, region.control_key)
    return state


def test_nothing_is_sent_before_anything_is_known() -> None:
    """A link that has just started has nothing to say."""
    assert held_of(Region()).update(NOTHING) is None


def test_a_new_worker_gets_everything_and_then_nothing() -> None:
    """One update holds documents, manifest and sheet; after it nothing is missing."""
    region = Region()
    held = held_of(region)
    state, (sheet, _) = region.change(4, a="1", b="2"), region.sheet(2)
    assert held.take(ListenAnswer(delta=state.full(), sheet=sheet))
    update = held.update(NOTHING)
    assert update is not None
    assert update.delta is not None
    assert (update.delta.base, update.sheet, update.manifest) == (0, sheet, state.signed)
    assert held.after(NOTHING) == held.known == Known(4, 2, state.issued_ms)
    assert held.update(held.known) is None
    assert not held.take(ListenAnswer(delta=state.full(), sheet=sheet))


def test_a_worker_at_an_earlier_revision_gets_what_differs() -> None:
    """Only changed documents and deletions, from where it is; from nowhere known, everything."""
    region = Region()
    held = held_of(region)
    for state in (region.change(1, a="1", b="1"), region.change(2, b="2"), region.change(5, deletes=("a",))):
        held.take(ListenAnswer(delta=state.full()))
    for known, names, deletes in (
        (1, ["b"], (("target", "a"),)),
        (2, [], (("target", "a"),)),
        (3, ["b"], ()),
    ):
        update = held.update(Known(known, -1))
        assert update is not None
        assert update.delta is not None
        assert [one.id for one in update.delta.upserts] == names
        assert update.delta.deletes == deletes
        assert update.delta.base == (known if known < 3 else 0)


def test_a_later_issue_alone_is_sent_alone() -> None:
    """The age of the policy is bounded by manifests that bring no change."""
    region = Region()
    held = held_of(region)
    held.take(ListenAnswer(delta=region.change(1, a="1").full()))
    known = held.known
    assert held.take(ListenAnswer(manifest=region.reissue().signed))
    update = held.update(known)
    assert update is not None
    assert (update.delta, update.sheet, update.manifest) == (None, None, region.state.signed)


def test_a_worker_that_is_ahead_waits_for_the_registry() -> None:
    """Its snapshot may be newer than a registry that came back from its mirror; nothing older is sent to it."""
    region = Region()
    held = held_of(region)
    held.take(ListenAnswer(delta=region.change(3, a="1").full(), sheet=region.sheet(1)[0]))
    ahead = Known(9, 1, 7)
    assert held.update(ahead) is None
    assert held.after(ahead) == ahead
    held.take(ListenAnswer(delta=region.change(9, a="1", b="1").full()))
    update = held.update(ahead)
    assert update is not None
    assert update.delta is None
    assert update.manifest == region.state.signed


def test_what_is_not_signed_changes_nothing() -> None:
    """Neither state nor sheet; what can be believed of the same answer is taken all the same."""
    region, stranger = Region(), Region()
    held = held_of(region)
    state = region.change(2, a="1")
    held.take(ListenAnswer(delta=state.full(), sheet=region.sheet(1)[0]))
    forged = Signed(state.full().manifest.statement, bytes(64))
    with pytest.raises(SignatureRefused):
        held.take(ListenAnswer(delta=Delta(0, state.full().upserts, (), forged)))
    with pytest.raises(SignatureRefused):
        held.take(ListenAnswer(delta=stranger.change(3, a="evil").full()))
    with pytest.raises(SignatureRefused):
        held.take(ListenAnswer(manifest=stranger.state.signed))
    with pytest.raises(SignatureRefused):
        held.take(ListenAnswer(sheet=stranger.sheet(5)[0], delta=region.change(3, a="2").full()))
    assert (held.known.revision, held.known.sheet) == (3, 1)


def test_what_is_older_or_incomplete_is_refused() -> None:
    """An earlier revision, a sheet that goes back, a document left out, another region's policy."""
    region = Region()
    held = held_of(region)
    old, (older_sheet, _) = region.change(1, a="1"), region.sheet(1)
    new = region.change(2, a="2", b="2")
    held.take(ListenAnswer(delta=new.full(), sheet=region.sheet(2)[0]))
    before = held.known
    assert new.signed is not None
    for answer in (
        ListenAnswer(delta=old.full()),
        ListenAnswer(manifest=old.signed),
        ListenAnswer(sheet=older_sheet),
        ListenAnswer(delta=Delta(0, new.full().upserts[:1], (), new.signed)),
        ListenAnswer(delta=Delta(1, (), (), new.signed)),
    ):
        with pytest.raises(StateRefused):
            held.take(answer)
    with pytest.raises(StateRefused):
        Held("eu-west-1", region.control_key, region.vault_key).take(ListenAnswer(delta=new.full()))
    assert held.known == before


def test_only_a_bounded_past_is_kept() -> None:
    """A worker from before that gets everything."""
    region = Region()
    held = held_of(region)
    for revision in range(1, REMEMBERED + 4):
        held.take(ListenAnswer(delta=region.change(revision, a=str(revision), b="same").full()))
    for revision, base in ((2, 0), (3, 3), (REMEMBERED + 2, REMEMBERED + 2)):
        update = held.update(Known(revision, -1))
        assert update is not None
        assert update.delta is not None
        assert update.delta.base == base


def test_there_is_no_difference_to_nothing() -> None:
    """Only signed states can be told."""
    with pytest.raises(StateRefused):
        difference(Region().change(1), RegionState.empty(REGION))


@settings(max_examples=40, deadline=None)
@given(st.data(), st.randoms(use_true_random=False))
def test_any_worker_that_follows_any_history_ends_at_the_newest_state(
    data: st.DataObject, chance: random.Random
) -> None:
    """Whatever changed, whichever updates a worker skipped: each one it takes verifies, the last is the newest."""
    region = Region()
    held = held_of(region)
    workers = [(RegionState.empty(REGION), NOTHING) for _ in range(3)]
    revision = 0
    for _ in range(data.draw(st.integers(1, 12))):
        revision += data.draw(st.integers(1, 3))
        names = data.draw(st.lists(st.sampled_from("abcdef"), max_size=3))
        gone = data.draw(st.lists(st.sampled_from("abcdef"), max_size=2))
        state = region.change(revision, deletes=tuple(gone), **dict.fromkeys(names, str(revision)))
        held.take(ListenAnswer(delta=state.full()))
        for place, (mine, known) in enumerate(workers):
            if chance.random() < 0.4:
                workers[place] = apply(mine, held, known, region), held.after(known)
    for mine, known in workers:
        final = apply(mine, held, known, region)
        assert final.documents == region.state.documents
        assert final.signed == region.state.signed


def test_signers_differ() -> None:
    """The control plane's key does not sign sheets, nor the vault's policy."""
    region = Region()
    swapped = Held(REGION, region.vault_key, region.control_key)
    with pytest.raises(SignatureRefused):
        swapped.take(ListenAnswer(delta=region.change(1).full()))
    with pytest.raises(SignatureRefused):
        swapped.take(ListenAnswer(sheet=region.sheet(1)[0]))
    assert Signer(Signer.new_private()).public != region.control.public
