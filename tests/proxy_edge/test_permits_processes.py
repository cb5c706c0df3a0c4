"""Permits of several processes: together they admit the limit, whoever is killed, stopped or alone."""

from __future__ import annotations

import mmap
import os
import random
import signal
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from models.errors import ConfigurationError, LimiterUnavailable
from models.limits import request_limits
from proxy_edge.permits import Permit, SharedPermits
from tests.proxy_edge.shared_permits import MINUTE, NOW, drain, shared

# A runner with threads makes fork warn; our children run a few lines and leave by _exit.
pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")

_living: set[int] = set()


@pytest.fixture(autouse=True)
def _no_child_is_left():
    """Ends the children of a test that failed before it did."""
    yield
    for pid in list(_living):
        os.kill(pid, signal.SIGKILL)
        ended(pid)


def child(work: Callable[[], object]) -> int:
    """Forks; the child runs `work` and exits with 0, or with 1 and a traceback."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException:  # noqa: BLE001 - nothing of the child may reach the runner's code
            traceback.print_exc()
        finally:
            os._exit(status)
    _living.add(pid)
    return pid


def ended(pid: int) -> int:
    """Waits for a child; its exit status, negative for the signal that ended it."""
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    _living.discard(pid)
    return status


def slots(count: int) -> memoryview:
    """Numbers that this process and its children see, one writer each; 0 at first."""
    return memoryview(mmap.mmap(-1, count * 8)).cast("Q")


def until(condition: Callable[[], object]) -> None:
    """Gives way to the children until `condition` holds; fails after 20 s."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        os.sched_yield()


# --- edits, reloads, restarts ------------------------------------------------------------------------


def test_counts_survive_a_killed_edge(permit_file):
    """After kill -9 of the only worker, its successor goes on where it was, with or without the lock."""
    limits = request_limits("prx_a", 10, 100)
    for workers, already in ((1, 0), (2, 4), (1, 8)):

        def life(workers: int = workers) -> None:
            source = SharedPermits(permit_file, workers, 64)
            for _ in range(4):
                source.take(limits, NOW)
            os.kill(os.getpid(), signal.SIGKILL)

        with shared(permit_file, workers) as source:
            assert source.look(limits, NOW)[0] == 10 - already
        assert ended(child(life)) == -signal.SIGKILL
    with shared(permit_file, 1) as source:
        assert source.look(limits, NOW)[::2] == (0, 90)


# --- several processes -------------------------------------------------------------------------------


def test_four_workers_admit_exactly_the_limit_together(permit_file):
    """Four processes that open the file at once and hammer one limit share its thousand calls exactly."""
    limits = request_limits("prx_a", 1000, 100_000)
    words = slots(6)

    def hammer(slot: int) -> None:
        words[slot] = 1
        until(lambda: words[5])
        words[slot] = 0
        source = SharedPermits(permit_file, 4, 64)
        tries = 0
        while isinstance(permit := source.take(limits, NOW), Permit):
            tries += 1
            if tries % 20:  # most go back, so that the four are at it together for long
                source.give_back(permit)
            else:
                words[slot] += 1

    pids = [child(lambda slot=slot: hammer(slot)) for slot in range(4)]
    until(lambda: sum(words[:4]) == 4)
    words[5] = 1
    assert [ended(pid) for pid in pids] == [0] * 4
    assert sum(words[:4]) == 1000
    with shared(permit_file) as source:
        assert source.look(limits, NOW)[::2] == (0, 99_000)


def test_workers_killed_at_random_never_admit_more_than_the_limit(permit_file):
    """With kill -9 falling on four hammering workers, each kill loses at most the call it interrupted."""
    limits = request_limits("prx_a", 1000, 100_000)
    dice = random.Random(7)
    kills, lives, kept_per_life = 60, 64, 10
    tries, admitted, finish = slots(lives), slots(lives), slots(1)

    def hammer(life: int) -> None:
        source = SharedPermits(permit_file, 4, 64)
        while isinstance(permit := source.take(limits, NOW), Permit):
            tries[life] += 1
            if finish[0] or admitted[life] < min(kept_per_life, tries[life] // 4):
                admitted[life] += 1
            else:
                source.give_back(permit)

    alive = {life: child(lambda life=life: hammer(life)) for life in range(4)}
    for kill in range(kills):
        life = dice.choice(list(alive))
        goal = tries[life] + dice.randrange(60)
        until(lambda life=life, goal=goal: tries[life] >= goal)
        pid = alive.pop(life)
        os.kill(pid, signal.SIGKILL)
        assert ended(pid) == -signal.SIGKILL
        alive[4 + kill] = child(lambda life=4 + kill: hammer(life))
    assert 0 < sum(admitted) < 1000
    finish[0] = 1
    assert [ended(pid) for pid in alive.values()] == [0] * 4
    assert 1000 - kills <= sum(admitted) <= 1000


class Dying:
    """The words of the table, for so many stores; the process is killed in place of the next one."""

    def __init__(self, words: memoryview, stores: int) -> None:
        self.words, self.left = words, stores

    def __getitem__(self, place: int) -> int:
        return self.words[place]

    def __setitem__(self, place: int, value: int) -> None:
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self.left -= 1
        self.words[place] = value


@pytest.mark.parametrize("workers", [1, 3])
def test_a_kill_between_any_two_stores_errs_on_the_safe_side(tmp_path, workers):
    """Killed before each store of a life of takes, returns and new windows, nothing is admitted twice."""
    limits = request_limits("prx_a", 5, 9)
    words = slots(2)
    for stores in range(200):
        permit_file = tmp_path / f"{stores}.mmap"
        words[0] = words[1] = 0

        def life(stores: int = stores, permit_file: Path = permit_file) -> None:
            source = SharedPermits(permit_file, workers, 64)
            source._words = Dying(source._words, stores)
            for minute in (0, 1):
                for call in range(5):
                    permit = source.take(limits, NOW + minute * MINUTE)
                    if isinstance(permit, Permit):
                        words[minute] += 1  # from here on the call may be on its way
                        if call % 2:
                            words[minute] -= 1  # nothing went out
                            source.give_back(permit)

        status = ended(child(life))
        with shared(permit_file, workers) as source:
            first, second = words[0], words[1]
            if source.look(limits, NOW)[1] <= 60:  # else the first minute is over for good
                first += drain(source, limits, NOW)
            second += drain(source, limits, NOW + MINUTE)
        assert first <= 5
        assert second <= 5
        assert first + second <= 9
        if status == 0:
            break
    assert status == 0
    assert stores > 20


def test_the_lock_of_a_killed_worker_is_free_at_once(permit_file):
    """A worker killed inside its turn holds nobody up: the next take works, and nothing was counted."""
    limits = request_limits("prx_a", 5, None)
    words = slots(1)
    with shared(permit_file) as source:
        source.take(limits, NOW)

        def hold() -> None:
            other = SharedPermits(permit_file, 2, 64)
            other._lock()
            words[0] = 1
            signal.pause()

        pid = child(hold)
        until(lambda: words[0])
        with pytest.raises(LimiterUnavailable):
            source.take(limits, NOW)  # the lock is a real one
        os.kill(pid, signal.SIGKILL)
        assert ended(pid) == -signal.SIGKILL
        assert source.take(limits, NOW).quota == (3, 30)


def test_a_stopped_worker_stops_nobody(permit_file):
    """While another holds the table, takes are refused soon and a return fails quietly, staying counted."""
    limits = request_limits("prx_a", 5, None)
    words = slots(1)
    with shared(permit_file) as source:
        permit = source.take(limits, NOW)

        def hold() -> None:
            other = SharedPermits(permit_file, 2, 64)
            other._lock()
            words[0] = 1
            os.kill(os.getpid(), signal.SIGSTOP)

        pid = child(hold)
        os.waitpid(pid, os.WUNTRACED)
        assert words[0] == 1
        began = time.monotonic()
        with pytest.raises(LimiterUnavailable):
            source.take(limits, NOW)
        source.give_back(permit)
        for _ in range(100):  # without waiting again each time
            with pytest.raises(LimiterUnavailable):
                source.take(limits, NOW)
        assert time.monotonic() - began < 5
        os.kill(pid, signal.SIGKILL)
        ended(pid)
        assert source.take(limits, NOW).quota == (3, 30)


def test_a_sole_worker_lets_no_other_in(permit_file):
    """Without a lock nobody may count beside it: others are refused until it has ended."""
    words = slots(1)

    def alone() -> None:
        with shared(permit_file, 1):
            words[0] = 1
            signal.pause()

    pid = child(alone)
    until(lambda: words[0])
    for workers in (1, 2):
        with pytest.raises(ConfigurationError, match="in use by another edge"):
            SharedPermits(permit_file, workers, 64)
    os.kill(pid, signal.SIGKILL)
    ended(pid)
    with shared(permit_file, 1) as source:
        assert not source._locked


def test_a_sole_worker_locks_where_it_is_not_alone(permit_file):
    """Beside a worker of an edge of several, a worker that was told it is alone locks like them."""
    words = slots(1)

    def one_of_two() -> None:
        with shared(permit_file, 2):
            words[0] = 1
            signal.pause()

    pid = child(one_of_two)
    until(lambda: words[0])
    with shared(permit_file, 1) as source:
        assert source._locked
    os.kill(pid, signal.SIGKILL)
    ended(pid)


# --- the file ----------------------------------------------------------------------------------------


def test_entries_keep_their_place_for_every_process_and_life(permit_file):
    """A process that opened the file earlier finds the counters that others made since."""
    names = [f"prx_{n}" for n in range(20)]
    with shared(permit_file) as early:

        def others() -> None:
            source = SharedPermits(permit_file, 2, 64)
            for name in names:
                drain(source, request_limits(name, 3, None))

        assert ended(child(others)) == 0
        assert [drain(early, request_limits(name, 4, None)) for name in reversed(names)] == [1] * 20
