"""Which orders are still to be given, and which may be erased."""

from __future__ import annotations

from control_api.feed.orders import PendingOrders
from control_api.ledger.change import Change
from models.custody.signing import Signed

ONE, TWO = Signed(b"one", b""), Signed(b"two", b"")


def change(revision: int, **orders: tuple[Signed, ...]) -> Change:
    """A change with orders by region."""
    return Change(
        revision=revision,
        id="x",
        at_ms=0,
        actor="a",
        action="b",
        client_id=None,
        items=(),
        regions=tuple(orders),
        orders=orders,
    )


def test_orders_are_settled_when_every_region_of_their_change_has_them() -> None:
    """One region that is away keeps those of a change for both, and no others."""
    pending, reached = PendingOrders(), {"us": 0, "eu": 0}
    pending.note(change(1, us=(ONE,), eu=(TWO,)))
    pending.note(change(2, us=(TWO,)))
    assert pending.settled(reached.__getitem__) == []
    reached["us"] = 2
    assert pending.settled(reached.__getitem__) == [2]
    pending.drop(2)
    assert pending.settled(reached.__getitem__) == []
    reached["eu"] = 1
    assert pending.settled(reached.__getitem__) == [1]
    pending.drop(1)
    assert len(pending) == 0


def test_what_is_noted_after_nothing_was_settled_is_looked_at() -> None:
    """A region may have acknowledged a later revision already."""
    pending = PendingOrders()
    pending.note(change(3, us=(ONE,)))
    assert pending.settled(lambda _region: 2) == []
    pending.note(change(4, us=(ONE,)))
    pending.note(change(1, us=(ONE,)))
    assert pending.settled(lambda _region: 2) == [1]


def test_orders_are_between_two_revisions() -> None:
    """Beyond the first, up to the second, of the region that asks."""
    pending = PendingOrders()
    pending.note(change(1, us=(ONE,)))
    pending.note(change(2, us=(TWO,), eu=(ONE,)))
    pending.note(change(3))
    assert pending.between("us", -1, 2) == (ONE, TWO)
    assert pending.between("us", 1, 2) == (TWO,)
    assert pending.between("eu", 0, 1) == ()
