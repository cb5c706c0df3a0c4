"""The peers: each a module that starts one proxy and says how to call it and how to check it.

A peer gets a site (directory, target, keys, core) and gives an endpoint, or raises PeerError with the
reason that its row then shows. It must never change the machine outside the run's directory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from scripts.bench.governance import KEY_HEADER, LOAD_PATH, Keys
from scripts.bench.probes import Finding
from scripts.bench.processes import Processes

NOT_INSTALLED = "not installed"


@dataclass(frozen=True, slots=True)
class Site:
    """Where a peer runs: private directory, target port, keys, cores for the proxy, process keeper."""

    work: Path
    upstream_port: int
    keys: Keys
    cores: frozenset[int]
    processes: Processes


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A running peer: where the load goes, and the check that it does what its row claims.

    pid: the proxy's first process, None where there is no proxy.
    """

    title: str
    port: int
    path: str
    headers: dict[str, str]
    pid: int | None
    check: Callable[[], list[Finding]] = field(repr=False)


def load_headers(keys: Keys) -> dict[str, str]:
    """What a caller sends to a governed peer."""
    return {KEY_HEADER: keys.caller.reveal().decode()}


def registry() -> dict[str, Callable[[Site], Endpoint]]:
    """Every peer by name, in the order of the table."""
    from scripts.bench.peers import direct, envoy, exeat, nginx, planes

    return {
        "direct": direct.launch,
        "nginx": nginx.launch,
        "envoy": envoy.launch,
        "exeat": exeat.launch,
        "planes": planes.launch,
    }


__all__ = ["LOAD_PATH", "NOT_INSTALLED", "Endpoint", "Site", "load_headers", "registry"]
