"""Permits under everything that may happen to an edge: its workers fork, die at any store, restart, reload."""

from __future__ import annotations

import contextlib
import mmap
import os
import random
import signal
import stat
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import ConfigurationError, LimiterUnavailable
from models.limits import Limit, request_limits
from proxy_edge.permits import Exhausted, Permit, PermitSource, SharedPermits, Wait

# A runner with threads makes fork warn; our children run a few lines and leave by _exit.
pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")

NOW = 1_795_435_230_250  # 30.25 s into a minute
MINUTE, DAY = 60_000, 86_400_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "limits.mmap"


def shared(path: Path, workers: int = 2, capacity: int = 64) -> contextlib.closing[SharedPermits]:
    return contextlib.closing(SharedPermits(path, workers, capacity))


def drain(source: SharedPermits, limits: tuple[Limit, ...], now_ms: int = NOW) -> int:
    """Takes until the answer is no; how many calls were admitted."""
    admitted = 0
    while isinstance(source.take(limits, now_ms), Permit):
        admitted += 1
    return admitted


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


# --- one source --------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
def test_exactly_the_limit_is_admitted_and_then_the_next_window_opens(path, workers):
    """Five calls fit a minute of five; the sixth is told when to come back, and then gets in."""
    limits = request_limits("prx_a", 5, 100)
    with shared(path, workers) as source:
        assert [source.take(limits, NOW).quota[::2] for _ in range(5)] == [(4 - n, 99 - n) for n in range(5)]
        refused = source.take(limits, NOW)
        assert isinstance(refused, Exhausted)
        assert refused.retry_after == 30
        assert refused.quota[:3] == (0, 30, 95)
        assert isinstance(source.take(limits, NOW + refused.retry_after * 1000 - 1000), Exhausted)
        assert source.take(limits, NOW + refused.retry_after * 1000).quota[::2] == (4, 94)


def test_a_rejected_call_consumes_nothing_anywhere(path):
    """A hundred calls that the minute refuses leave the day as it was."""
    limits = request_limits("prx_a", 3, 10)
    with shared(path) as source:
        assert drain(source, limits) == 3
        for _ in range(100):
            assert isinstance(source.take(limits, NOW), Exhausted)
        assert source.look(limits, NOW)[::2] == (0, 7)


def test_a_look_takes_nothing(path):
    """The quota is shown before the first call and between calls, unchanged by showing."""
    limits = request_limits("prx_a", 3, None)
    with shared(path) as source:
        assert [source.look(limits, NOW) for _ in range(5)] == [(3, 30)] * 5
        source.take(limits, NOW)
        assert source.look(limits, NOW) == (2, 30)


def test_a_returned_permit_can_be_taken_again_but_counts_once(path):
    """Returning twice, or after its window, frees nothing."""
    limits = request_limits("prx_a", 2, None)
    with shared(path) as source:
        first, second = source.take(limits, NOW), source.take(limits, NOW)
        source.give_back(first)
        source.give_back(first)
        assert drain(source, limits) == 1
        assert drain(source, limits, NOW + MINUTE) == 2
        source.give_back(second)
        assert drain(source, limits, NOW + MINUTE) == 0


def test_a_late_return_still_counts_in_the_windows_that_last(path):
    """A permit returned in the next minute leaves that minute alone and frees its place in the day."""
    limits = request_limits("prx_a", 1, 2)
    with shared(path) as source:
        permit = source.take(limits, NOW)
        assert isinstance(source.take(limits, NOW + MINUTE), Permit)
        source.give_back(permit)
        assert source.look(limits, NOW + MINUTE)[::2] == (0, 1)


def test_a_clock_set_back_refills_nothing(path):
    """An hour, a day or a year back, the spent windows stay spent."""
    limits = request_limits("prx_a", 4, 4)
    with shared(path) as source:
        assert drain(source, limits) == 4
        for back in (1, MINUTE, 60 * MINUTE, DAY, 365 * DAY):
            refused = source.take(limits, NOW - back)
            assert isinstance(refused, Exhausted)
            assert refused.retry_after >= back // 1000


def test_limits_are_counted_apart_by_key_and_window(path):
    """Another proxy, and the same proxy's other window, have their own counts."""
    with shared(path) as source:
        assert drain(source, request_limits("prx_a", 2, None)) == 2
        assert drain(source, request_limits("prx_b", 2, None)) == 2
        assert drain(source, request_limits("prx_a", None, 2)) == 2


# --- edits, reloads, restarts ------------------------------------------------------------------------


@pytest.mark.parametrize("reopened", [False, True])
def test_an_edited_limit_keeps_its_count(path, reopened):
    """Raised, lowered, removed and put back, a limit never forgets the calls of its window."""

    def admitted(source: SharedPermits, per_minute: int) -> int:
        return drain(source, request_limits("prx_a", per_minute, 1000))

    with contextlib.ExitStack() as stack:
        source = stack.enter_context(shared(path))
        for per_minute, expected in [(10, 10), (15, 5), (3, 0), (15, 0), (16, 1)]:
            if reopened:
                stack.pop_all().close()
                source = stack.enter_context(shared(path))
            assert admitted(source, per_minute) == expected
        assert drain(source, request_limits("prx_a", None, 20)) == 4
        assert admitted(source, 17) == 1


def test_counts_survive_a_killed_edge(path):
    """After kill -9 of the only worker, its successor goes on where it was, with or without the lock."""
    limits = request_limits("prx_a", 10, 100)
    for workers, already in ((1, 0), (2, 4), (1, 8)):

        def life(workers: int = workers) -> None:
            source = SharedPermits(path, workers, 64)
            for _ in range(4):
                source.take(limits, NOW)
            os.kill(os.getpid(), signal.SIGKILL)

        with shared(path, workers) as source:
            assert source.look(limits, NOW)[0] == 10 - already
        assert ended(child(life)) == -signal.SIGKILL
    with shared(path, 1) as source:
        assert source.look(limits, NOW)[::2] == (0, 90)


# --- any order of events -----------------------------------------------------------------------------

events = st.one_of(
    st.tuples(st.just("take"), st.integers(0, 2)),
    st.tuples(st.just("take"), st.integers(0, 2)),
    st.tuples(st.just("give_back"), st.integers(0, 200)),
    st.tuples(st.just("clock"), st.sampled_from([1, 29_000, MINUTE, -MINUTE, 5 * MINUTE, DAY, -DAY])),
    st.tuples(st.just("edit"), st.integers(0, 6)),
    st.tuples(st.just("reopen"), st.integers(1, 2)),
)


class Model:
    """What a limit means, said plainly: calls by proxy and window, and the latest window that has any."""

    def __init__(self) -> None:
        self.calls: dict[tuple[str, str, int], int] = {}
        self.latest: dict[tuple[str, str], int] = {}

    def windows(self, limits: tuple[Limit, ...], now_ms: int) -> list[tuple[str, str, int]]:
        return [
            (
                one.key,
                one.name,
                max(now_ms // (one.window_seconds * 1000), self.latest.get((one.key, one.name), 0)),
            )
            for one in limits
        ]

    def left(self, limits: tuple[Limit, ...], now_ms: int) -> list[int]:
        windows = self.windows(limits, now_ms)
        return [max(0, one.max - self.calls.get(at, 0)) for one, at in zip(limits, windows, strict=True)]

    def count(self, windows: list[tuple[str, str, int]]) -> None:
        for key, name, window in windows:
            self.calls[key, name, window] = self.calls.get((key, name, window), 0) + 1
            self.latest[key, name] = window


@settings(deadline=None)  # each example makes a file and syncs it
@given(st.lists(events, max_size=80))
def test_no_order_of_events_admits_more_than_the_limit(steps):
    """Takes, returns, clock steps, edits and restarts in any order do what the plain model does."""
    maxima = [(2, 3), (3, None), (None, 4)]
    model, live, now_ms, workers = Model(), [], NOW, 2
    with tempfile.TemporaryDirectory() as home, contextlib.ExitStack() as stack:
        path = Path(home) / "limits.mmap"
        source = stack.enter_context(shared(path))
        for event, value in steps:
            if event == "take":
                limits = request_limits(f"prx_{value}", *maxima[value])
                left, windows = model.left(limits, now_ms), model.windows(limits, now_ms)
                assert source.look(limits, now_ms)[::2] == tuple(left)
                outcome = source.take(limits, now_ms)
                assert isinstance(outcome, Permit) == all(left)
                if isinstance(outcome, Permit):
                    model.count(windows)
                    live.append((outcome, windows))
                    assert outcome.quota[::2] == tuple(model.left(limits, now_ms))
                    assert all(model.calls[at] <= one.max for one, at in zip(limits, windows, strict=True))
                else:
                    assert outcome.retry_after >= 1
            elif event == "give_back" and live:
                permit, windows = live.pop(value % len(live))
                source.give_back(permit)
                for key, name, window in windows:
                    if model.latest[key, name] == window:
                        model.calls[key, name, window] -= 1
            elif event == "clock":
                now_ms += value
            elif event == "edit":
                maxima[value % 3] = (None if value == 1 else value, None if value == 3 else 6 - value)
            elif event == "reopen":
                workers = value
                stack.pop_all().close()
                source = stack.enter_context(shared(path, workers))


# --- several processes -------------------------------------------------------------------------------


def test_four_workers_admit_exactly_the_limit_together(path):
    """Four processes that open the file at once and hammer one limit share its thousand calls exactly."""
    limits = request_limits("prx_a", 1000, 100_000)
    words = slots(6)

    def hammer(slot: int) -> None:
        words[slot] = 1
        until(lambda: words[5])
        words[slot] = 0
        source = SharedPermits(path, 4, 64)
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
    with shared(path) as source:
        assert source.look(limits, NOW)[::2] == (0, 99_000)


def test_workers_killed_at_random_never_admit_more_than_the_limit(path):
    """With kill -9 falling on four hammering workers, each kill loses at most the call it interrupted."""
    limits = request_limits("prx_a", 1000, 100_000)
    dice = random.Random(7)
    kills, lives, kept_per_life = 60, 64, 10
    tries, admitted, finish = slots(lives), slots(lives), slots(1)

    def hammer(life: int) -> None:
        source = SharedPermits(path, 4, 64)
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
        path = tmp_path / f"{stores}.mmap"
        words[0] = words[1] = 0

        def life(stores: int = stores, path: Path = path) -> None:
            source = SharedPermits(path, workers, 64)
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
        with shared(path, workers) as source:
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


def test_the_lock_of_a_killed_worker_is_free_at_once(path):
    """A worker killed inside its turn holds nobody up: the next take works, and nothing was counted."""
    limits = request_limits("prx_a", 5, None)
    words = slots(1)
    with shared(path) as source:
        source.take(limits, NOW)

        def hold() -> None:
            other = SharedPermits(path, 2, 64)
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


def test_a_stopped_worker_stops_nobody(path):
    """While another holds the table, takes are refused soon and a return fails quietly, staying counted."""
    limits = request_limits("prx_a", 5, None)
    words = slots(1)
    with shared(path) as source:
        permit = source.take(limits, NOW)

        def hold() -> None:
            other = SharedPermits(path, 2, 64)
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


def test_a_sole_worker_lets_no_other_in(path):
    """Without a lock nobody may count beside it: others are refused until it has ended."""
    words = slots(1)

    def alone() -> None:
        with shared(path, 1):
            words[0] = 1
            signal.pause()

    pid = child(alone)
    until(lambda: words[0])
    for workers in (1, 2):
        with pytest.raises(ConfigurationError, match="in use by another edge"):
            SharedPermits(path, workers, 64)
    os.kill(pid, signal.SIGKILL)
    ended(pid)
    with shared(path, 1) as source:
        assert not source._locked


def test_a_sole_worker_locks_where_it_is_not_alone(path):
    """Beside a worker of an edge of several, a worker that was told it is alone locks like them."""
    words = slots(1)

    def one_of_two() -> None:
        with shared(path, 2):
            words[0] = 1
            signal.pause()

    pid = child(one_of_two)
    until(lambda: words[0])
    with shared(path, 1) as source:
        assert source._locked
    os.kill(pid, signal.SIGKILL)
    ended(pid)


# --- the file ----------------------------------------------------------------------------------------


def test_a_full_table_refuses_new_limits_only_and_says_so_once(path, caplog):
    """Limits that have a counter go on; those without are refused, with one line in the log."""
    old, new = request_limits("prx_a", 5, 5), request_limits("prx_b", 5, 5)
    with shared(path, capacity=2) as source:
        assert isinstance(source.take(old, NOW), Permit)
        for _ in range(3):
            with pytest.raises(LimiterUnavailable):
                source.take(new, NOW)
            assert isinstance(source.take(old, NOW), Permit)
    assert [record.message for record in caplog.records] == ["limits table full"]


def test_entries_keep_their_place_for_every_process_and_life(path):
    """A process that opened the file earlier finds the counters that others made since."""
    names = [f"prx_{n}" for n in range(20)]
    with shared(path) as early:

        def others() -> None:
            source = SharedPermits(path, 2, 64)
            for name in names:
                drain(source, request_limits(name, 3, None))

        assert ended(child(others)) == 0
        assert [drain(early, request_limits(name, 4, None)) for name in reversed(names)] == [1] * 20


def test_the_file_is_the_owners_alone(path):
    """Mode 600 from the start, and again where somebody opened it up."""
    for _ in range(2):
        with shared(path):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        path.chmod(0o644)
    assert [entry.name for entry in path.parent.iterdir()] == ["limits.mmap"]


def test_a_file_that_is_not_a_table_is_never_replaced(path):
    """Foreign content, a cut file and a symbolic link are refused by name, and left as they are."""
    for content in (b"", b"something else", b"x" * 4096):
        path.write_bytes(content)
        with pytest.raises(ConfigurationError, match=r"limits\.mmap is not a limits table"):
            SharedPermits(path, 1, 64)
        assert path.read_bytes() == content
        path.unlink()
    with shared(path):
        pass
    os.truncate(path, path.stat().st_size - 8)
    with pytest.raises(ConfigurationError, match="is not a limits table"):
        SharedPermits(path, 1, 64)
    path.rename(path.with_name("other"))
    path.symlink_to("other")
    with pytest.raises(ConfigurationError, match="cannot be opened"):
        SharedPermits(path, 1, 64)


def test_a_table_keeps_the_size_it_was_made_with(path):
    """A restart with another capacity uses the file as it is."""
    limits = request_limits("prx_a", 3, None)
    with shared(path, capacity=8) as source:
        source.take(limits, NOW)
    with shared(path, capacity=4096) as source:
        assert source.look(limits, NOW) == (2, 30)


def test_nothing_of_the_key_is_in_the_file(path):
    """Whoever reads the file learns digests and counts."""
    with shared(path) as source:
        source.take(request_limits("prx_hidden_name", 3, None), NOW)
    assert b"hidden" not in path.read_bytes()


# --- answers that come later -------------------------------------------------------------------------


def test_a_wait_calls_back_once_with_its_outcome():
    """What waited finds the outcome in place when it is called."""
    returned: list[Permit] = []
    wait = Wait(returned.append)
    seen = []
    wait.on_ready(lambda: seen.append(wait.outcome))
    permit = Permit((1, 2), "lease")
    wait.resolve(permit)
    assert seen == [permit]
    assert returned == []
    with pytest.raises(RuntimeError):
        wait.resolve(Exhausted((0, 2), 2))


def test_a_permit_for_an_abandoned_wait_goes_back():
    """A caller that left gets no call, and its permit returns to the source; a refusal just ends."""
    returned: list[Permit] = []
    permit = Permit((1, 2), "lease")
    for outcome in (permit, Exhausted((0, 2), 2), LimiterUnavailable()):
        wait = Wait(returned.append)
        wait.on_ready(lambda: pytest.fail("nobody waits"))
        wait.abandon()
        wait.resolve(outcome)
    assert returned == [permit]


def test_a_wait_has_one_callback_set_in_time():
    """A second callback, or one after the outcome, would be lost, so it is refused."""
    wait = Wait(lambda _: None)
    wait.on_ready(lambda: None)
    with pytest.raises(RuntimeError):
        wait.on_ready(lambda: None)
    wait.resolve(LimiterUnavailable())
    with pytest.raises(RuntimeError):
        wait.on_ready(lambda: None)


def test_the_shared_permits_are_a_permit_source(path):
    """The exchange knows the interface only, so that leases can take this place."""
    with shared(path) as shared_permits:
        source: PermitSource = shared_permits
        assert isinstance(source.take((), NOW), Permit)
