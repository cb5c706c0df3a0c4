"""The machine a figure belongs to, and which core does what.

The proxy under test may use every core, the same for every peer; load and upstream keep to the last ones.
It must never change the affinity of a process that the benchmark did not start.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Placement:
    """Core numbers per part; empty sets mean that nothing is pinned."""

    proxy: frozenset[int]
    upstream: frozenset[int]
    load: frozenset[int]

    def __str__(self) -> str:
        if not self.proxy:
            return "nothing pinned (one core, or no affinity on this system)"
        names = {
            part: ",".join(map(str, sorted(getattr(self, part)))) for part in ("proxy", "upstream", "load")
        }
        return "proxy under test on core {proxy}, upstream on core {upstream}, load on core {load}".format(
            **names
        )


def place(cores: Sequence[int]) -> Placement:
    """The proxy may use every core, as in operation; load and upstream keep to the last one, or two.

    A proxy is more than its one worker (Envoy's log flusher, our keeper): where a core is left idle by the load,
    the kernel may use it for that, for every peer alike.
    """
    ordered = sorted(cores)
    if len(ordered) < 2:
        return Placement(frozenset(), frozenset(), frozenset())
    upstream = frozenset(ordered[1:2]) if len(ordered) == 2 else frozenset(ordered[-2:-1])
    return Placement(frozenset(ordered), upstream, frozenset(ordered[-1:]))


def usable_cores() -> list[int]:
    """Cores this process may run on; one where the system does not tell."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]


@contextmanager
def pinned(cores: frozenset[int]) -> Iterator[None]:
    """Keep this process, and what it starts meanwhile, on `cores`; as before afterwards. Empty: no change."""
    if not cores:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def facts() -> dict[str, object]:
    """Processor, memory, system and interpreter, and the versions of what the edge is built on."""
    return {
        "cores": os.cpu_count(),
        "usableCores": len(usable_cores()),
        "processor": _processor(),
        "memoryMB": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20,
        "loadAverage": os.getloadavg()[0],
        "system": platform.platform(),
        "python": sys.version.split()[0],
        "packages": {
            name: version_of(name) for name in ("exeat", "sanic", "uvloop", "httptools", "google-re2")
        },
    }


def version_of(distribution: str) -> str:
    """The installed version of a distribution, or `not installed`."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if not info.is_file():
        return platform.processor()
    lines = (line.partition(":") for line in info.read_text(encoding="utf-8").splitlines())
    return next((value.strip() for key, _, value in lines if key.strip() == "model name"), platform.machine())
