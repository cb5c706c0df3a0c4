"""Processor time from /proc: parsed, summed over a process tree, compared with the machine's."""

from __future__ import annotations

import os

import pytest

from scripts.bench import cpu
from scripts.bench.cpu import Moment, ProcessTime, foreign_share, parse_busy, parse_process, tree_seconds


def test_a_process_line_is_read_whatever_the_program_is_called():
    """Names may hold blanks and parentheses; utime and stime are the 14th and 15th field of proc(5)."""
    line = "42 (a) b (c)) S 7 42 42 0 -1 4194560 100 0 0 0 250 50 9 9 20 0 1 0 100 0 0"
    assert parse_process(line, 100) == ProcessTime(42, 7, 3.0)


def test_idle_and_waiting_do_not_count_as_busy():
    """user, nice, system, irq, softirq and steal do."""
    assert parse_busy("cpu  100 10 50 9999 8888 1 2 3 77 0\ncpu0 1 1 1 1", 100) == pytest.approx(1.66)


def test_a_tree_is_summed_with_all_its_descendants_and_nobody_else():
    """A supervisor's workers belong to the peer, a stranger does not."""
    processes = [
        ProcessTime(1, 0, 9),
        ProcessTime(5, 1, 1),
        ProcessTime(6, 5, 2),
        ProcessTime(7, 6, 4),
        ProcessTime(8, 1, 8),
    ]
    assert tree_seconds(processes, 5) == 7
    assert tree_seconds(processes, 99) == 0


def test_what_others_used_is_what_is_left_of_the_busy_time():
    """Half of two cores for a second is one second; rounding never makes it negative."""
    before = Moment(busy=10, ours=5, at=100)
    assert foreign_share(before, Moment(busy=12, ours=6, at=101), 2) == pytest.approx(0.5)
    assert foreign_share(before, Moment(busy=11, ours=7, at=101), 2) == 0
    assert foreign_share(before, before, 2) == 0


def test_this_process_has_used_time():
    """The real /proc gives a figure that grows."""
    moment = cpu.now()
    assert moment is not None
    while (later := cpu.now()) is not None and later.ours == moment.ours:
        sum(range(10_000))
    assert later is not None
    assert later.ours > moment.ours
    assert (cpu.used_by(os.getpid()) or 0) > 0
