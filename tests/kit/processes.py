"""Processes and listeners of this machine as tests look at them, from /proc."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

_WAITING = {"tcp": "0A", "tcp6": "0A", "udp": "07", "udp6": "07"}
"""The state of a socket that anybody may call, by table (include/net/tcp_states.h; UDP: bound, not connected)."""


def wait_until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Returns once `condition` holds; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        pause.wait(0.02)


def listeners(pids: Iterable[int], ports: Iterable[int] = ()) -> set[tuple[str, int]]:
    """(address in hex as /proc/net writes it, port) of every socket, TCP or UDP, that these processes listen on.

    ports: listened on by anybody counts as well; a process that forbids dumps shows its sockets to root only.
    """
    inodes, wanted = set(), set(ports)
    for pid in pids:
        try:
            descriptors = list(Path(f"/proc/{pid}/fd").iterdir())
        except OSError:
            continue  # ended meanwhile, or not shown
        for descriptor in descriptors:
            try:
                target = str(descriptor.readlink())
            except OSError:
                continue
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    found = set()
    for table, waiting in _WAITING.items():
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            address, _, text = fields[1].partition(":")
            port = int(text, 16)
            if fields[3] == waiting and (fields[9] in inodes or port in wanted):
                found.add((address, port))
    return found


def is_loopback(address: str) -> bool:
    """Whether an address as /proc/net writes it (hex, words in host order) is of this machine alone."""
    if len(address) == 8:
        return address.endswith("7F")
    return address in {"0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}
