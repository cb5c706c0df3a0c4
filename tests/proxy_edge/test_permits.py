"""Permits under everything that may happen to an edge: calls, edits, reloads, restarts, any order of them."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import ConfigurationError, LimiterUnavailable
from models.limits import Limit, request_limits
from proxy_edge.permits import Exhausted, Permit, PermitSource, SharedPermits, Wait
from tests.proxy_edge.shared_permits import DAY, MINUTE, NOW, drain, shared

# --- one source --------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
def test_exactly_the_limit_is_admitted_and_then_the_next_window_opens(permit_file, workers):
    """Five calls fit a minute of five; the sixth is told when to come back, and then gets in."""
    limits = request_limits("prx_a", 5, 100)
    with shared(permit_file, workers) as source:
        assert [source.take(limits, NOW).quota[::2] for _ in range(5)] == [(4 - n, 99 - n) for n in range(5)]
        refused = source.take(limits, NOW)
        assert isinstance(refused, Exhausted)
        assert refused.retry_after == 30
        assert refused.quota[:3] == (0, 30, 95)
        assert isinstance(source.take(limits, NOW + refused.retry_after * 1000 - 1000), Exhausted)
        assert source.take(limits, NOW + refused.retry_after * 1000).quota[::2] == (4, 94)


def test_a_rejected_call_consumes_nothing_anywhere(permit_file):
    """A hundred calls that the minute refuses leave the day as it was."""
    limits = request_limits("prx_a", 3, 10)
    with shared(permit_file) as source:
        assert drain(source, limits) == 3
        for _ in range(100):
            assert isinstance(source.take(limits, NOW), Exhausted)
        assert source.look(limits, NOW)[::2] == (0, 7)


def test_a_look_takes_nothing(permit_file):
    """The quota is shown before the first call and between calls, unchanged by showing."""
    limits = request_limits("prx_a", 3, None)
    with shared(permit_file) as source:
        assert [source.look(limits, NOW) for _ in range(5)] == [(3, 30)] * 5
        source.take(limits, NOW)
        assert source.look(limits, NOW) == (2, 30)


def test_a_returned_permit_can_be_taken_again_but_counts_once(permit_file):
    """Returning twice, or after its window, frees nothing."""
    limits = request_limits("prx_a", 2, None)
    with shared(permit_file) as source:
        first, second = source.take(limits, NOW), source.take(limits, NOW)
        source.give_back(first)
        source.give_back(first)
        assert drain(source, limits) == 1
        assert drain(source, limits, NOW + MINUTE) == 2
        source.give_back(second)
        assert drain(source, limits, NOW + MINUTE) == 0


def test_a_late_return_still_counts_in_the_windows_that_last(permit_file):
    """A permit returned in the next minute leaves that minute alone and frees its place in the day."""
    limits = request_limits("prx_a", 1, 2)
    with shared(permit_file) as source:
        permit = source.take(limits, NOW)
        assert isinstance(source.take(limits, NOW + MINUTE), Permit)
        source.give_back(permit)
        assert source.look(limits, NOW + MINUTE)[::2] == (0, 1)


def test_a_clock_set_back_refills_nothing(permit_file):
    """An hour, a day or a year back, the spent windows stay spent."""
    limits = request_limits("prx_a", 4, 4)
    with shared(permit_file) as source:
        assert drain(source, limits) == 4
        for back in (1, MINUTE, 60 * MINUTE, DAY, 365 * DAY):
            refused = source.take(limits, NOW - back)
            assert isinstance(refused, Exhausted)
            assert refused.retry_after >= back // 1000


def test_limits_are_counted_apart_by_key_and_window(permit_file):
    """Another proxy, and the same proxy's other window, have their own counts."""
    with shared(permit_file) as source:
        assert drain(source, request_limits("prx_a", 2, None)) == 2
        assert drain(source, request_limits("prx_b", 2, None)) == 2
        assert drain(source, request_limits("prx_a", None, 2)) == 2


# --- edits, reloads, restarts ------------------------------------------------------------------------


@pytest.mark.parametrize("reopened", [False, True])
def test_an_edited_limit_keeps_its_count(permit_file, reopened):
    """Raised, lowered, removed and put back, a limit never forgets the calls of its window."""

    def admitted(source: SharedPermits, per_minute: int) -> int:
        return drain(source, request_limits("prx_a", per_minute, 1000))

    with contextlib.ExitStack() as stack:
        source = stack.enter_context(shared(permit_file))
        for per_minute, expected in [(10, 10), (15, 5), (3, 0), (15, 0), (16, 1)]:
            if reopened:
                stack.pop_all().close()
                source = stack.enter_context(shared(permit_file))
            assert admitted(source, per_minute) == expected
        assert drain(source, request_limits("prx_a", None, 20)) == 4
        assert admitted(source, 17) == 1


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


# --- the file ----------------------------------------------------------------------------------------


def test_a_full_table_refuses_new_limits_only_and_says_so_once(permit_file, caplog):
    """Limits that have a counter go on; those without are refused, with one line in the log."""
    old, new = request_limits("prx_a", 5, 5), request_limits("prx_b", 5, 5)
    with shared(permit_file, capacity=2) as source:
        assert isinstance(source.take(old, NOW), Permit)
        for _ in range(3):
            with pytest.raises(LimiterUnavailable):
                source.take(new, NOW)
            assert isinstance(source.take(old, NOW), Permit)
    assert [record.message for record in caplog.records] == ["limits table full"]


def test_the_file_is_the_owners_alone(permit_file):
    """Mode 600 from the start, and again where somebody opened it up."""
    for _ in range(2):
        with shared(permit_file):
            assert stat.S_IMODE(permit_file.stat().st_mode) == 0o600
        permit_file.chmod(0o644)
    assert [entry.name for entry in permit_file.parent.iterdir()] == ["limits.mmap"]


def test_a_file_that_is_not_a_table_is_never_replaced(permit_file):
    """Foreign content, a cut file and a symbolic link are refused by name, and left as they are."""
    for content in (b"", b"something else", b"x" * 4096):
        permit_file.write_bytes(content)
        with pytest.raises(ConfigurationError, match=r"limits\.mmap is not a limits table"):
            SharedPermits(permit_file, 1, 64)
        assert permit_file.read_bytes() == content
        permit_file.unlink()
    with shared(permit_file):
        pass
    os.truncate(permit_file, permit_file.stat().st_size - 8)
    with pytest.raises(ConfigurationError, match="is not a limits table"):
        SharedPermits(permit_file, 1, 64)
    permit_file.rename(permit_file.with_name("other"))
    permit_file.symlink_to("other")
    with pytest.raises(ConfigurationError, match="cannot be opened"):
        SharedPermits(permit_file, 1, 64)


def test_a_table_keeps_the_size_it_was_made_with(permit_file):
    """A restart with another capacity uses the file as it is."""
    limits = request_limits("prx_a", 3, None)
    with shared(permit_file, capacity=8) as source:
        source.take(limits, NOW)
    with shared(permit_file, capacity=4096) as source:
        assert source.look(limits, NOW) == (2, 30)


def test_nothing_of_the_key_is_in_the_file(permit_file):
    """Whoever reads the file learns digests and counts."""
    with shared(permit_file) as source:
        source.take(request_limits("prx_hidden_name", 3, None), NOW)
    assert b"hidden" not in permit_file.read_bytes()


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


def test_the_shared_permits_are_a_permit_source(permit_file):
    """The exchange knows the interface only, so that leases can take this place."""
    with shared(permit_file) as shared_permits:
        source: PermitSource = shared_permits
        assert isinstance(source.take((), NOW), Permit)
