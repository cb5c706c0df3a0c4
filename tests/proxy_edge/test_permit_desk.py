"""What one proxy's callers are short of, what is asked for them, and what a policy or an answer changes about it."""

from __future__ import annotations

from models.limits import Limit, request_limits
from models.planes.permits import Lease, ReserveAnswer, Return
from proxy_edge.permit_desk import AGAIN_NS, Desk, Plan

SECOND = 1_000_000_000
LIMITS = request_limits("prx_a", 100, 1000)


def answered(desk: Desk, now: int, *leases: Lease) -> None:
    """Asks for what is wanted and takes these leases for it."""
    desk.take(desk.wants(now), ReserveAnswer(incarnation="i", leases=leases), now, now)


def granted(calls: int, number: int = 1, window: int = 7) -> Lease:
    return Lease(calls, number, window, 30_000, 40, 2)


def desk_for(limits: tuple[Limit, ...] = LIMITS, revision: int = 3) -> tuple[Desk, Plan]:
    desk = Desk("prx_a", 0)
    plan = desk.plan = desk.resolve(limits, revision)
    return desk, plan


def test_all_counters_of_a_proxy_are_asked_for_together() -> None:
    """By name, with the limit and the revision of the policy."""
    desk, _ = desk_for()
    wants = [want for _, want in desk.wants(0)]
    assert [(want.key, want.window, want.window_seconds, want.max, want.revision) for want in wants] == [
        ("prx_a", "minute", 60, 100, 3),
        ("prx_a", "day", 86_400, 1000, 3),
    ]


def test_only_what_is_short_is_asked_for() -> None:
    """A counter of which there is plenty is left out."""
    desk, plan = desk_for()
    answered(desk, 0, granted(1), granted(9))
    plan.renewed().pools[0].left = 0
    assert [want.window for _, want in desk.wants(SECOND)] == ["minute"]


def test_a_counter_of_an_old_policy_is_left_alone() -> None:
    """Once the day's limit is gone nobody asks for it."""
    desk, _ = desk_for()
    desk.plan = desk.resolve(request_limits("prx_a", 100, None), 4)
    assert [want.window for _, want in desk.wants(0)] == ["minute"]


def test_a_raised_limit_keeps_what_is_held() -> None:
    """And is asked for again although nothing was left."""
    desk, _ = desk_for(request_limits("prx_a", 100, None))
    answered(desk, 0, granted(5))
    answered(desk, 0, *([granted(0, 0)] if desk.wants(0) else []))
    desk.resolve(request_limits("prx_a", 200, None), 4)
    plan = desk.plan = desk.resolve(request_limits("prx_a", 200, None), 4)
    assert plan.pools[0].left == 5
    plan.pools[0].left = 0
    [(_, want)] = desk.wants(1)
    assert (want.max, want.revision) == (200, 4)


def test_a_lowered_limit_sends_back_what_is_held() -> None:
    """It was granted under the old one; the limiter decides anew, with the next question."""
    desk, plan = desk_for(request_limits("prx_a", 100, None))
    answered(desk, 0, granted(5))
    desk.resolve(request_limits("prx_a", 10, None), 4)
    assert not plan.renewed().usable(1)
    assert desk.ended == [Return(1, "i", 5)]


def test_a_grant_under_a_limit_lowered_meanwhile_goes_back() -> None:
    """The question was on its way when the policy changed."""
    desk, _ = desk_for(request_limits("prx_a", 100, None))
    wanted = desk.wants(0)
    desk.plan = desk.resolve(request_limits("prx_a", 10, None), 4)
    desk.take(wanted, ReserveAnswer(incarnation="i", leases=(granted(50),)), 0, 0)
    assert desk.ended == [Return(1, "i", 50)]
    assert not desk.plan.renewed().usable(1)


def test_nothing_left_is_a_refusal_until_the_last_window_resets() -> None:
    """The quota says which window it is; it is asked for again once a second."""
    desk, plan = desk_for()
    answered(desk, 0, granted(0, 0), granted(7))
    plan = plan.renewed()
    refusal = plan.exhausted(SECOND, 0)
    assert refusal is not None
    assert (refusal.quota, refusal.retry_after) == ((0, 29, 7 + 40 // 2, 29), 29)
    assert desk.wants(AGAIN_NS - 1) == []
    assert [want.window for _, want in desk.wants(AGAIN_NS)] == ["minute"]
    assert plan.exhausted(30 * SECOND, 0) is None


def test_what_is_left_of_an_expired_pool_goes_back() -> None:
    """The limiter knows whether its window still lasts."""
    desk, _ = desk_for(request_limits("prx_a", 100, None))
    answered(desk, 0, granted(5))
    assert len(desk.wants(30 * SECOND)) == 1
    assert desk.ended == [Return(1, "i", 5)]


def test_more_is_asked_for_before_half_is_gone_twice() -> None:
    """Where callers come often; after a failure later, the less is left the sooner again."""
    desk, plan = desk_for(request_limits("prx_a", 100, None))
    answered(desk, 0, granted(1))
    plan.renewed().pools[0].left = 0
    answered(desk, SECOND, granted(2, 2))
    desk.watch(failed=False)
    pool = plan.renewed().pools[0]
    assert (pool.left, pool.low) == (2, 1)
    pool.left = 8
    desk.watch(failed=True)
    assert pool.low == 4


def test_surrender_returns_one_window_or_all() -> None:
    """With the end of leases that was not told yet."""
    desk, plan = desk_for()
    answered(desk, 0, granted(1, 1), granted(1, 2))
    plan.renewed().pools[0].left = 0
    assert desk.surrender({"minute"}) == [Return(1, "i", 0)]
    assert desk.surrender() == [Return(2, "i", 1)]
    assert desk.surrender() == []


def test_a_desk_is_kept_while_there_is_anything_at_it() -> None:
    """A lease, or the memory that nothing is left."""
    desk, _ = desk_for(request_limits("prx_a", 100, None))
    assert desk.idle(0)
    answered(desk, 0, granted(1))
    assert not desk.idle(1)
    assert desk.idle(30 * SECOND)
    answered(desk, 30 * SECOND, granted(0, 0, 8))
    assert not desk.idle(31 * SECOND)


def test_standing_says_nothing_is_left_where_nothing_is_known() -> None:
    """With the end of the window as the clock has it."""
    _, plan = desk_for()
    assert not plan.is_known(0)
    assert plan.standing(0, 30_250) == (0, 30, 0, 86_370)
