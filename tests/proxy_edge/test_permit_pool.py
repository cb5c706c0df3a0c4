"""What a worker holds of a counter: grants put together, and taken apart again when leases end."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from models.limits import Limit
from models.planes.permits import Lease, Return
from proxy_edge.permit_pool import Counter, Pool, seconds_until

MS = 1_000_000
SECOND = 1000 * MS


def lease(number: int, granted: int, milliseconds: int = 30_000, window: int = 7, **more: int) -> Lease:
    return Lease(granted, number, window, milliseconds, more.get("remaining", 0), more.get("holders", 1))


def counter() -> Counter:
    return Counter(Limit("prx_a", "minute", 60, 100))


def test_a_lease_ends_at_its_time_from_the_sending() -> None:
    """The call's own time is not spent; the window's end as told to callers is later by it, so never too early."""
    one = counter()
    one.take(lease(1, 5), "i", 10 * SECOND, 11 * SECOND)
    pool = one.pool
    assert (pool.left, pool.until, pool.ends) == (5, 40 * SECOND, 41 * SECOND)
    assert pool.usable(40 * SECOND - 1)
    assert not pool.usable(40 * SECOND)


def test_grants_of_one_window_add_up_until_the_first_deadline() -> None:
    """A later grant never makes an earlier one last longer."""
    one = counter()
    one.take(lease(1, 5), "i", 10 * SECOND, 10 * SECOND)
    one.take(lease(2, 7, 29_500), "i", 12 * SECOND, 13 * SECOND)
    assert (one.pool.left, one.pool.until) == (12, 40 * SECOND)
    one.take(lease(3, 1, 10_000), "j", 12 * SECOND, 13 * SECOND)
    assert (one.pool.left, one.pool.until) == (13, 22 * SECOND)


def test_another_window_is_another_pool() -> None:
    """Nothing of the old one is left, not even for a permit that comes back."""
    one = counter()
    one.take(lease(1, 5), "i", 0, 0)
    old = one.pool
    one.take(lease(2, 3, window=8), "i", 0, 0)
    assert one.pool is not old
    assert (one.pool.left, old.left, old.until) == (3, 0, 0)


def test_a_lease_counts_once() -> None:
    """The same answer a second time adds nothing; the same number of another incarnation does."""
    one = counter()
    for incarnation in ("i", "i", "j"):
        one.take(lease(1, 5), incarnation, 0, 0)
    assert one.pool.left == 10


def test_nothing_left_is_remembered_until_the_window_ends() -> None:
    """And forgotten with the next grant, or with another limit."""
    one = counter()
    one.take(lease(0, 0), "i", 10 * SECOND, 11 * SECOND)
    assert one.dry_until == 41 * SECOND
    one.take(lease(1, 1), "i", 12 * SECOND, 12 * SECOND)
    assert one.dry_until == 0
    one.take(lease(0, 0), "i", 13 * SECOND, 13 * SECOND)
    assert one.pool.left == 1
    one.forget()
    assert one.dry_until == 0


def test_spent_leases_end_oldest_first() -> None:
    """With nothing unspent; what is left belongs to the newest."""
    one = counter()
    for number in (1, 2, 3):
        one.take(lease(number, 4), "i", 0, 0)
    assert one.pool.spent() == []
    one.pool.left = 4
    assert one.pool.spent() == [Return(1, "i", 0), Return(2, "i", 0)]
    assert one.pool.give_up() == [Return(3, "i", 4)]
    assert (one.pool.left, one.pool.leases) == (0, [])


def test_what_no_lease_accounts_for_is_not_returned() -> None:
    """A permit that came back after its lease ended can be used, but not handed on."""
    one = counter()
    one.take(lease(1, 2), "i", 0, 0)
    one.pool.left = 0
    assert one.pool.spent() == [Return(1, "i", 0)]
    one.pool.left = 1
    assert one.pool.give_up() == []


def coming(starts_ms: int, granted: int = 5, window: int = 8, number: int = 9) -> Lease:
    return Lease(granted, number, window, starts_ms + 60_000, 0, 1, starts_ms)


def test_a_coming_window_lasts_from_the_latest_it_can_begin_to_the_earliest_it_can_end() -> None:
    """Its beginning counted from the answer, its end from the question; the running one goes on meanwhile."""
    one = counter()
    one.take(lease(1, 5), "i", 10 * SECOND, 10 * SECOND)
    one.take(coming(20_000), "i", 20 * SECOND, 23 * SECOND)
    pool = one.coming
    assert pool is not None
    assert (one.pool.left, pool.left, pool.begins, pool.until) == (5, 5, 43 * SECOND, 100 * SECOND)
    one.take(coming(10_000, number=10), "i", 30 * SECOND, 34 * SECOND)
    assert one.coming is pool
    assert (pool.left, pool.begins, pool.until) == (10, 44 * SECOND, 100 * SECOND)
    assert one.turn(44 * SECOND - 1) == []
    assert one.turn(44 * SECOND) == [Return(1, "i", 5)]
    assert (one.pool, one.coming) == (pool, None)
    assert pool.usable(44 * SECOND)
    assert not pool.usable(100 * SECOND)


def test_the_running_window_is_used_up_before_the_coming_one_begins_for_callers() -> None:
    """Where both have calls; one that is empty is left at once."""
    one = counter()
    one.take(lease(1, 5), "i", 0, 0)
    one.take(coming(10_000), "i", 0, 0)
    assert one.turn(20 * SECOND) == []
    assert one.pool.number == 7
    one.pool.left = 0
    assert one.turn(20 * SECOND) == []
    assert one.pool.number == 8


def test_an_answer_of_the_next_window_says_that_it_has_begun() -> None:
    """Whatever was reckoned before: then the limiter counts for it; even when nothing is left."""
    for granted in (3, 0):
        one = counter()
        one.take(lease(1, 5), "i", 0, 0)
        one.take(coming(10_000), "i", 0, 0)
        one.take(lease(2, granted, 60_000, window=8), "i", 9 * SECOND, 9 * SECOND)
        assert (one.pool.number, one.pool.left, one.coming) == (8, 5 + granted, None)
        assert one.pool.usable(9 * SECOND)


def test_a_window_further_on_ends_what_was_held_of_those_before() -> None:
    """The limiter's clock was set forward."""
    one = counter()
    one.take(lease(1, 5), "i", 0, 0)
    one.take(coming(10_000), "i", 0, 0)
    one.take(coming(60_000, window=10), "i", SECOND, SECOND)
    assert one.pool.number == 8
    assert one.coming is not None
    assert one.coming.number == 10
    one.take(lease(3, 1, window=12), "i", 2 * SECOND, 2 * SECOND)
    assert (one.pool.number, one.pool.left, one.coming) == (12, 1, None)


def test_a_lease_of_an_earlier_window_goes_back_while_there_is_one_to_spend_from() -> None:
    """The limiter's clock is behind, or its answer was late; once there is nothing else it is good enough."""
    one = counter()
    one.take(lease(1, 5, window=8), "i", 0, 0)
    assert one.take(lease(2, 3, window=7), "i", SECOND, SECOND) == [Return(2, "i", 3)]
    assert one.take(coming(1_000, 3, number=3), "i", SECOND, SECOND) == [Return(3, "i", 3)]
    assert (one.pool.left, one.coming) == (5, None)
    one.pool.left = 0
    assert one.take(lease(4, 3, window=7), "i", SECOND, SECOND) == []
    assert (one.pool.number, one.pool.left) == (7, 3)


def test_nothing_of_the_coming_window_says_nothing_about_the_running_one() -> None:
    """That goes on."""
    one = counter()
    one.take(lease(1, 5), "i", 0, 0)
    one.take(coming(10_000, 0), "i", 0, 0)
    assert (one.coming, one.dry_until) == (None, 0)
    assert one.pool.usable(0)


def test_use_goes_on_being_measured_over_a_turn() -> None:
    """What was used of the old window since the last look counts."""
    one = counter()
    one.take(lease(1, 5), "i", 0, 0)
    one.take(coming(10_000), "i", 0, 0)
    one.pool.left -= 4
    one.turn(30 * SECOND)
    one.pool.left -= 2
    assert one.pool.used() == 6


def test_use_is_measured_between_looks() -> None:
    """Grants and what goes back do not count as use."""
    one = counter()
    one.take(lease(1, 10), "i", 0, 0)
    one.pool.left -= 3
    one.take(lease(2, 10), "i", 0, 0)
    assert one.pool.used() == 3
    one.pool.left -= 2
    one.pool.give_up()
    assert one.pool.used() == 2
    assert one.pool.used() == 0


def test_a_worker_counts_on_its_part_of_the_rest() -> None:
    """Of what is left for everybody, as many hold leases."""
    one = counter()
    one.take(lease(1, 1, remaining=10, holders=4), "i", 0, 0)
    assert one.pool.elsewhere == 2
    one.take(lease(2, 1, remaining=10, holders=0), "i", 0, 0)
    assert one.pool.elsewhere == 10


def test_seconds_are_rounded_up_and_never_none() -> None:
    """One nanosecond is one second, and so is the past."""
    assert [seconds_until(then, 10 * SECOND) for then in (0, 10 * SECOND + 1, 11 * SECOND + 1)] == [1, 1, 2]


@given(st.lists(st.tuples(st.sampled_from(["grant", "use", "spent", "back", "give up"]), st.integers(1, 9))))
def test_any_history_returns_no_more_than_was_granted(history: list[tuple[str, int]]) -> None:
    """Per lease, and all in all: calls made and calls returned are never more than calls granted."""
    pool = Pool(7)
    granted: dict[int, int] = {}
    returned: dict[int, int] = {}
    used = 0
    for step, amount in history:
        returns: list[Return] = []
        if step == "grant":
            number = len(granted) + 1
            granted[number] = amount
            pool.add(lease(number, amount), "i", 0, 0)
        elif step == "use":
            taken = min(amount, pool.left)
            pool.left, used = pool.left - taken, used + taken
        elif step == "back":
            taken = min(amount, used)
            pool.left, used = pool.left + taken, used - taken
        else:
            returns = pool.spent() if step == "spent" else pool.give_up()
        for one in returns:
            assert one.lease not in returned
            assert 0 <= one.unspent <= granted[one.lease]
            returned[one.lease] = one.unspent
        assert used + pool.left + sum(returned.values()) <= sum(granted.values())
