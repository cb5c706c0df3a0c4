"""How many permits are asked for: little at first, double while it runs dry, never more than the measured rate needs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxy_edge.demand import REACH_SECONDS, Demand, next_demand, renewal

SECOND = 1_000_000_000


def follow(rate: float, seconds: float, every: float = 1.0) -> Demand:
    """The demand after so long of a steady rate, looked at now and then."""
    demand = next_demand(Demand(), 0, 1, 0)
    for turn in range(1, int(seconds / every) + 1):
        demand = next_demand(demand, round(rate * every), 1, int(turn * every * SECOND))
    return demand


def test_the_first_caller_asks_for_itself() -> None:
    """One caller one permit, ten callers ten; nobody is served ahead yet."""
    assert next_demand(Demand(), 0, 1, 5 * SECOND).count == 1
    assert next_demand(Demand(), 0, 10, 5 * SECOND).count == 10
    assert not next_demand(Demand(), 0, 10, 5 * SECOND).ahead


def test_it_doubles_while_it_runs_dry() -> None:
    """What was asked for was used in a moment: twice as much the next time."""
    demand, counts = next_demand(Demand(), 0, 1, 0), []
    for turn in range(1, 9):
        demand = next_demand(demand, demand.count, 1, turn * SECOND // 1000)
        counts.append(demand.count)
    assert counts == [2, 4, 8, 16, 32, 64, 128, 256]


def test_a_steady_rate_is_asked_for_a_while_ahead() -> None:
    """Never for longer than REACH_SECONDS."""
    demand = follow(rate=20, seconds=60)
    assert demand.count == 20 * REACH_SECONDS
    assert demand.ahead


def test_it_follows_a_falling_rate() -> None:
    """After a quiet minute a caller is alone again, and is not served ahead."""
    busy = follow(rate=500, seconds=30)
    quiet = next_demand(busy, 0, 1, 31 * SECOND)
    assert quiet.count < busy.count
    at = 31
    while quiet.ahead:
        at += 60
        quiet = next_demand(quiet, 1, 1, at * SECOND)
        assert at < 31 + 60 * 10
    assert quiet.count == 1


def test_a_rare_caller_holds_nothing_for_nobody() -> None:
    """One call a minute is one permit a minute."""
    demand = follow(rate=1 / 60, seconds=600, every=60)
    assert (demand.count, demand.ahead) == (1, False)


def test_others_are_asked_for_when_a_quarter_is_gone() -> None:
    """Of few, with the first one."""
    assert [renewal(count) for count in (0, 1, 2, 3, 4, 100)] == [0, 1, 2, 3, 3, 75]


@given(
    st.lists(
        st.tuples(st.integers(0, 10**6), st.integers(0, 1000), st.integers(-10, 10**12)),
        min_size=1,
        max_size=20,
    )
)
def test_any_history_asks_for_who_waits_and_at_most_double(
    history: list[tuple[int, int, int]],
) -> None:
    """At least one and at least for everybody who waits; beyond that at most twice the last, even if time stood still."""
    demand, now = Demand(), 0
    for used, waiting, elapsed in history:
        now += elapsed
        after = next_demand(demand, used, waiting, now)
        assert max(1, waiting) <= after.count <= max(1, waiting, 2 * demand.count)
        demand = after
