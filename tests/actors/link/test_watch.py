"""When a link leaves: calls that fail for too long, another cluster."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.link.watch import Detached, Epoch, Patience


class Hand:
    """A clock moved by hand."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def now(self) -> float:
        return self.seconds


def test_failures_are_borne_for_a_while_after_a_success() -> None:
    """Ten seconds of nothing but failures, counted from the first; a success in between starts anew."""
    clock = Hand()
    patience = Patience(clock.now, seconds=10.0, first=60.0)
    assert patience.success() is False
    for _ in range(5):
        for seconds, first in ((0.0, True), (4.0, False), (5.9, False)):
            clock.seconds += seconds
            assert patience.failure() is first
            patience.check()
        assert patience.success() is True
    patience.failure()
    clock.seconds += 10.0
    patience.failure()
    with pytest.raises(Detached):
        patience.check()


def test_actors_that_are_still_starting_are_awaited_longer() -> None:
    """Before any success there is nothing to lose by waiting."""
    clock = Hand()
    patience = Patience(clock.now, seconds=10.0, first=60.0)
    patience.check()
    patience.failure()
    clock.seconds += 59.0
    patience.check()
    clock.seconds += 1.0
    with pytest.raises(Detached):
        patience.check()


@given(st.lists(st.tuples(st.booleans(), st.floats(0.0, 9.0)), max_size=30))
def test_a_link_never_leaves_while_calls_succeed_now_and_then(steps: list[tuple[bool, float]]) -> None:
    """Whatever fails between them, successes less than ten seconds apart keep it."""
    clock = Hand()
    patience = Patience(clock.now, seconds=10.0, first=60.0)
    for works, seconds in steps:
        patience.success()
        clock.seconds += seconds
        if not works:
            patience.failure()
        patience.check()


def test_another_epoch_is_noticed(tmp_path: Path) -> None:
    """Only a file with other content is a new cluster: not one that is gone, being written, or there for the first time."""
    path = tmp_path / "epoch"
    epoch = Epoch(path)
    assert not epoch.changed()
    path.write_text("one")
    assert not epoch.changed()
    path.write_text("")
    assert not epoch.changed()
    path.unlink()
    assert not epoch.changed()
    path.write_text("one")
    assert not epoch.changed()
    path.write_text("two")
    assert epoch.changed()
    assert not Epoch(None).changed()


async def test_the_watch_ends_when_the_cluster_is_a_new_one(tmp_path: Path) -> None:
    """It looks by itself, and says so by raising."""
    path = tmp_path / "epoch"
    path.write_text("one")
    epoch = Epoch(path)
    path.write_text("two")
    with pytest.raises(Detached):
        await epoch.watch(0.001)
