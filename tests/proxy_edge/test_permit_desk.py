"""What one proxy's callers are short of, what is asked for them, and what a policy or an answer changes about it."""

from __future__ import annotations

import asyncio

from models.limits import Limit, request_limits
from models.planes.permits import Lease, ReserveAnswer, Return
from proxy_edge.demand import MEMORY_SECONDS, Demand
from proxy_edge.permit_desk import AGAIN_NS, GAP_NS, SOON_NS, Desk, Plan, Waiter
from proxy_edge.permits import Wait

SECOND = 1_000_000_000
LEAD = 10 * SECOND
LIMITS = request_limits("prx_a", 100, 1000)


def answered(desk: Desk, now: int, *leases: Lease) -> None:
    """Asks for what is wanted and takes these leases for it."""
    desk.take(desk.wants(now), ReserveAnswer(incarnation="i", leases=leases), now, now)


def granted(calls: int, number: int = 1, window: int = 7) -> Lease:
    return Lease(calls, number, window, 30_000, 40, 2)


def desk_for(limits: tuple[Limit, ...] = LIMITS, revision: int = 3) -> tuple[Desk, Plan]:
    desk = Desk("prx_a", 0, LEAD)
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
    plan.renewed(0).pools[0].left = 0
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
    assert not plan.renewed(0).usable(1)
    assert desk.ended == [Return(1, "i", 5)]


def test_a_grant_under_a_limit_lowered_meanwhile_goes_back() -> None:
    """The question was on its way when the policy changed."""
    desk, _ = desk_for(request_limits("prx_a", 100, None))
    wanted = desk.wants(0)
    desk.plan = desk.resolve(request_limits("prx_a", 10, None), 4)
    desk.take(wanted, ReserveAnswer(incarnation="i", leases=(granted(50),)), 0, 0)
    assert desk.ended == [Return(1, "i", 50)]
    assert not desk.plan.renewed(0).usable(1)


def test_nothing_left_is_a_refusal_until_the_last_window_resets() -> None:
    """The quota says which window it is; it is asked for again once a second."""
    desk, plan = desk_for()
    answered(desk, 0, granted(0, 0), granted(7))
    plan = plan.renewed(0)
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


def test_more_is_asked_for_when_a_quarter_is_gone() -> None:
    """Where callers come often; after a failure later, the less is left the sooner again."""
    desk, plan = desk_for(request_limits("prx_a", 100, None))
    answered(desk, 0, granted(1))
    plan.renewed(0).pools[0].left = 0
    answered(desk, SECOND, granted(2, 2))
    desk.watch(failed=False)
    pool = plan.renewed(0).pools[0]
    assert (pool.left, pool.low) == (2, 2)
    pool.left, desk.demand = 100, Demand(count=40, ahead=True)
    desk.watch(failed=False)
    assert pool.low == 30
    pool.left = 8
    desk.watch(failed=True)
    assert pool.low == 4


def test_surrender_returns_one_window_or_all() -> None:
    """With the end of leases that was not told yet."""
    desk, plan = desk_for()
    answered(desk, 0, granted(1, 1), granted(1, 2))
    plan.renewed(0).pools[0].left = 0
    assert desk.surrender(SECOND, {"minute"}) == [Return(1, "i", 0)]
    assert desk.surrender(SECOND) == [Return(2, "i", 1)]
    assert desk.surrender(SECOND) == []


def test_a_desk_is_kept_while_there_is_anything_at_it() -> None:
    """A lease, or the memory that nothing is left."""
    desk, _ = desk_for(request_limits("prx_a", 100, None))
    assert desk.idle(0)
    answered(desk, 0, granted(1))
    assert not desk.idle(1)
    assert desk.idle(30 * SECOND)
    answered(desk, 30 * SECOND, granted(0, 0, 8))
    assert not desk.idle(31 * SECOND)


# The coming window


def busy(left_ms: int, now: int = SECOND) -> tuple[Desk, Plan]:
    """A desk of one limit whose callers come often, and a window that ends so many milliseconds after `now`."""
    desk, plan = desk_for(request_limits("prx_a", 100, None))
    answered(desk, now - SECOND, Lease(2, 1, 7, left_ms + 1000, 40, 2))
    plan.renewed(now).pools[0].left = 0
    return desk, plan


def ahead(calls: int, starts_ms: int, number: int = 9, window: int = 8) -> Lease:
    return Lease(calls, number, window, starts_ms + 60_000, 40, 2, starts_ms)


def test_the_coming_window_is_asked_for_once_near_the_end_of_the_running_one() -> None:
    """With the question that is asked then anyway; an answer of nothing is one, too."""
    desk, _ = busy(11_000)
    assert [want.ahead for _, want in desk.wants(SECOND)] == [False]
    desk, _ = busy(10_000)
    wanted = desk.wants(SECOND)
    assert [(want.ahead, want.count) for _, want in wanted] == [
        (False, desk.demand.count),
        (True, desk.demand.count),
    ]
    leases = granted(5, 2), ahead(0, 10_000, 0)
    desk.take(wanted, ReserveAnswer(incarnation="i", leases=leases), SECOND, SECOND)
    assert not desk.due(2 * SECOND)
    assert desk.alarm(2 * SECOND) is None


def test_an_answer_for_the_running_window_is_enough_as_well() -> None:
    """Of a limiter that knows no other; else it would be asked again at once."""
    desk, plan = busy(10_000)
    wanted = desk.wants(SECOND)
    answer = ReserveAnswer(incarnation="i", leases=(granted(5, 2), granted(5, 3)))
    desk.take(wanted, answer, SECOND, SECOND)
    assert not desk.due(2 * SECOND)
    assert plan.renewed(SECOND).pools[0].left == 10


def test_who_comes_rarely_asks_for_no_coming_window() -> None:
    """What nobody uses, others have to wait for."""
    desk, _ = desk_for(request_limits("prx_a", 100, None))
    answered(desk, 0, Lease(2, 1, 7, 5_000, 40, 2))
    assert not desk.demand.ahead
    assert not desk.due(0)
    assert desk.alarm(0) is None


def test_an_alarm_is_set_to_the_moment_of_asking_and_put_off_by_a_failure() -> None:
    """Until the window's turn."""
    desk, _ = busy(20_000)
    answered(desk, SECOND, Lease(50, 2, 7, 20_000, 40, 2))
    assert desk.alarm(2 * SECOND) == 11 * SECOND
    desk.retry_at = 15 * SECOND
    assert desk.alarm(12 * SECOND) == 15 * SECOND
    desk.retry_at = 21 * SECOND
    assert desk.alarm(12 * SECOND) is None


def test_callers_that_have_stopped_ask_for_nothing() -> None:
    """Nobody waits, and nothing was used since the last look, which is long ago."""
    desk, plan = busy(60_000)
    answered(desk, SECOND, Lease(50, 2, 7, 60_000, 40, 2))
    long_after = SECOND + int(MEMORY_SECONDS * SECOND)
    assert not desk.stopped(long_after - 1)
    assert desk.stopped(long_after)
    plan.renewed(SECOND).pools[0].left -= 1
    assert not desk.stopped(long_after)


def test_a_plan_goes_over_to_the_coming_window_when_that_has_begun() -> None:
    """Not before; what is about to begin needs no question, what begins later or is nothing does."""
    desk, plan = busy(1_000)
    wanted = desk.wants(SECOND)
    leases = granted(0, 0), ahead(5, 1_000)
    desk.take(wanted, ReserveAnswer(incarnation="i", leases=leases), SECOND, SECOND + SECOND // 2)
    begins = 2 * SECOND + SECOND // 2
    assert not plan.renewed(begins - 1).usable(begins - 1)
    assert not plan.begins_soon(begins - GAP_NS - 1)
    assert plan.begins_soon(begins - GAP_NS)
    plan = plan.renewed(begins)
    assert plan.usable(begins)
    assert plan.standing(begins, 0) == (5 + 40 // 2, 60)
    assert (plan.pools[0].number, plan.exhausted(begins, 0)) == (8, None)


def test_who_waits_is_looked_after_when_the_window_begins() -> None:
    """Although nothing is to be asked for."""
    desk, plan = busy(1_000)
    leases = granted(0, 0), ahead(5, 1_000)
    desk.take(desk.wants(SECOND), ReserveAnswer(incarnation="i", leases=leases), SECOND, SECOND)
    assert desk.alarm(SECOND) is None
    loop = asyncio.new_event_loop()
    desk.waiting.append(Waiter(Wait(lambda _: None), plan, loop.call_later(9, int)))
    loop.close()
    assert desk.alarm(SECOND) == 2 * SECOND


def test_a_recall_takes_the_coming_window_along_only_when_that_is_about_to_begin() -> None:
    """Or when it is meant; all of it at a stop."""
    for now, windows, meant, expected in (
        (SECOND, {"minute"}, (), {2}),
        (11 * SECOND - SOON_NS, {"minute"}, (), {2, 9}),
        (SECOND, (), {"minute"}, {9}),
        (SECOND, {"day"}, {"day"}, set()),
        (SECOND, None, (), {2, 9}),
    ):
        desk, _ = busy(10_000)
        leases = granted(5, 2), ahead(5, 10_000)
        desk.take(desk.wants(SECOND), ReserveAnswer(incarnation="i", leases=leases), SECOND, SECOND)
        returned = {one.lease for one in desk.surrender(now, windows, meant) if one.unspent}
        assert returned == expected, (now, windows, meant)


def test_a_lowered_limit_sends_back_what_is_held_of_the_coming_window() -> None:
    """Granted under the old one, too; also when the answer comes after the policy."""
    desk, _ = busy(10_000)
    wanted = desk.wants(SECOND)
    answer = ReserveAnswer(incarnation="i", leases=(granted(5, 2), ahead(5, 10_000)))
    desk.take(wanted, answer, SECOND, SECOND)
    desk.resolve(request_limits("prx_a", 10, None), 4)
    assert {(one.lease, one.unspent) for one in desk.ended} >= {(2, 5), (9, 5)}
    desk, _ = busy(10_000)
    wanted = desk.wants(SECOND)
    desk.resolve(request_limits("prx_a", 10, None), 4)
    desk.take(wanted, answer, SECOND, SECOND)
    assert {(one.lease, one.unspent) for one in desk.ended} >= {(2, 5), (9, 5)}


def test_a_desk_is_kept_for_its_coming_window() -> None:
    """Although the running one is over."""
    desk, _ = busy(10_000)
    leases = granted(5, 2), ahead(5, 10_000)
    desk.take(desk.wants(SECOND), ReserveAnswer(incarnation="i", leases=leases), SECOND, SECOND)
    assert not desk.idle(40 * SECOND)
    assert desk.idle(80 * SECOND)
    desk.surrender(SECOND)
    assert desk.idle(40 * SECOND)


def test_standing_says_nothing_is_left_where_nothing_is_known() -> None:
    """With the end of the window as the clock has it."""
    _, plan = desk_for()
    assert not plan.is_known(0)
    assert plan.standing(0, 30_250) == (0, 30, 0, 86_370)
