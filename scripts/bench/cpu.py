"""Processor time: what a peer spends on a request, and how much of the machine belonged to others.

Throughput suffers from every other process on the machine, processor time per answer hardly does. Read
from Linux's /proc; elsewhere there are no figures. It must never be read inside a measurement.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

_PROC = Path("/proc")


class ProcessTime(NamedTuple):
    """One process: its number, its parent's, and the processor seconds it has used."""

    pid: int
    parent: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Moment:
    """Since the machine and the processes began: seconds of all cores in use, of ours, and of the clock."""

    busy: float
    ours: float
    at: float


def parse_process(line: str, ticks: int) -> ProcessTime:
    """One line of /proc/PID/stat (proc(5)); a program's name may hold blanks and parentheses."""
    before, _, after = line.rpartition(")")
    fields = after.split()
    return ProcessTime(
        int(before.split(" ", 1)[0]), int(fields[1]), (int(fields[11]) + int(fields[12])) / ticks
    )


def parse_busy(text: str, ticks: int) -> float:
    """Seconds that all cores together did not idle, from the first line of /proc/stat."""
    user, nice, system, _idle, _wait, irq, soft_irq, steal = map(int, text.split("\n", 1)[0].split()[1:9])
    return (user + nice + system + irq + soft_irq + steal) / ticks


def tree_seconds(processes: Iterable[ProcessTime], root: int) -> float:
    """What the living processes below and including `root` have used."""
    listed = list(processes)
    children: dict[int, list[int]] = {}
    for process in listed:
        children.setdefault(process.parent, []).append(process.pid)
    used = {process.pid: process.seconds for process in listed}
    total, left = 0.0, [root]
    while left:
        pid = left.pop()
        total += used.get(pid, 0.0)
        left.extend(children.get(pid, ()))
    return total


def foreign_share(before: Moment, after: Moment, cores: int) -> float:
    """The part of the machine, 0 to 1, that processes outside the benchmark used between two moments."""
    elapsed = (after.at - before.at) * cores
    others = (after.busy - before.busy) - (after.ours - before.ours)
    return min(1.0, max(0.0, others / elapsed)) if elapsed > 0 else 0.0


def used_by(root: int) -> float | None:
    """Processor seconds of a running process and its descendants, or None where /proc does not tell."""
    return tree_seconds(_processes(), root) if (_PROC / "stat").is_file() else None


def now() -> Moment | None:
    """The moment for `foreign_share`, or None where /proc does not tell."""
    try:
        busy = parse_busy((_PROC / "stat").read_text(encoding="ascii"), os.sysconf("SC_CLK_TCK"))
    except OSError:
        return None
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    ours = tree_seconds(_processes(), os.getpid()) + ended.ru_utime + ended.ru_stime
    return Moment(busy, ours, time.monotonic())


def _processes() -> list[ProcessTime]:
    ticks, found = os.sysconf("SC_CLK_TCK"), []
    for directory in _PROC.iterdir():
        if directory.name.isdecimal():
            try:
                line = (directory / "stat").read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue  # it ended meanwhile
            found.append(parse_process(line, ticks))
    return found
