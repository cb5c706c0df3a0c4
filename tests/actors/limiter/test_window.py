"""One window's leases: each counts once, and what leaves comes off again by its return only."""

from __future__ import annotations

from actors.limiter.window import Window


def test_a_return_counts_once_and_only_for_what_was_granted() -> None:
    """Twice, of another holder, of more than there was: nothing comes back."""
    one = Window(5)
    one.lend("h", 1, 10)
    one.lend("h", 2, 10)
    assert one.leases() == [1, 2]
    assert not one.end("other", 1, 5)
    assert one.end("h", 1, 4)
    assert one.granted == 16
    assert not one.end("h", 1, 4)
    assert one.end("h", 2, 11)  # ended, but nothing of it is believed
    assert one.granted == 16
    assert one.held == {}


def test_what_earlier_incarnations_may_have_granted_counts_from_the_beginning() -> None:
    """Nobody is known who could return it."""
    assert (Window(5, 70).granted, Window(5, 70).held) == (70, {})


def test_a_grant_is_news_for_whoever_was_recalled() -> None:
    """It is to be asked again; a holder that was waited for in vain stays deaf until it is heard."""
    one = Window(5)
    one.lend("h", 1, 1)
    held = one.held["h"]
    held.asked_ns = 7
    one.give_up(["h"])
    assert held.deaf
    held.deaf, held.answered = False, True
    one.give_up(["h"])
    assert not held.deaf
    one.lend("h", 2, 1)
    assert (held.asked_ns, held.answered) == (None, False)
