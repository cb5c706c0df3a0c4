"""What one worker's connections and exchanges share: policy, leases, pool, permits, recorder, clocks.

It is put together once by the worker and only `apply` changes what is enforced. It never reads a file, an
environment variable or a socket itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import orjson

from models.clock import Clock
from models.ids import RequestIds
from models.policy import CompiledPolicy
from proxy_edge.answers import Answers
from proxy_edge.aside import Aside
from proxy_edge.filtering import Redactions
from proxy_edge.permits import PermitSource
from proxy_edge.records.recorder import Recorder
from proxy_edge.settings import EdgeSettings
from proxy_edge.stats import Stats
from proxy_edge.steps.forward import Forwarding
from proxy_edge.steps.lease import LeaseTable, StaticLeases
from proxy_edge.upstream.pool import Pool


class Connection(Protocol):
    """A caller's connection as the ticker sees it."""

    deadline: float

    def deadline_passed(self) -> None:
        """Its deadline lies in the past."""
        ...

    def drain(self) -> None:
        """The edge stops: close unless in use."""
        ...

    def cut_off(self) -> None:
        """The edge stops now."""
        ...


@dataclass(frozen=True, slots=True)
class Bundle:
    """One revision as a policy source hands it over: what to enforce, and the leases to do it with.

    age: seconds since its source vouched for it.
    """

    policy: CompiledPolicy
    leases: LeaseTable
    age: float = 0.0


class Edge:
    """The state of one worker.

    now: seconds on the loop's clock, coarse, moved by `tick`. stale: the policy's source has been away for
    longer than `offline_seconds`, so nothing is let through any more (invariant 3). link: how the source stands.
    """

    def __init__(
        self,
        settings: EdgeSettings,
        *,
        clock: Clock,
        now: Callable[[], float],
        pool: Pool,
        permits: PermitSource,
        recorder: Recorder,
        stats: Stats,
        via_name: bytes,
        region: str,
        link: Callable[[], str] = lambda: "file",
        redaction: Redactions | None = None,
        on_revision: Callable[[int], None] = lambda _revision: None,
        spooled: Callable[[], int] = lambda: 0,
    ) -> None:
        """on_revision: told of each policy's revision before it is in force.

        spooled: records that have left the rings and are on their way. redaction: None without a region.
        """
        self.settings = settings
        self.clock = clock
        self._now = now
        self.now = now()
        self.pool = pool
        self.permits = permits
        self.recorder = recorder
        self.redaction = redaction
        self.aside = Aside()
        self.stats = stats
        self.answers = Answers(settings.header_prefix)
        self.forwarding = Forwarding(settings.header_prefix, via_name)
        self.new_request_id = RequestIds()
        self.clients: set[Connection] = set()
        self.draining = False
        self.policy = CompiledPolicy.empty(region)
        self.leases: LeaseTable = StaticLeases()
        self.source_fault = ""
        self._link = link
        self._on_revision, self._spooled = on_revision, spooled
        self._vouched_ns: int | None = None
        self._lease_failures = 0
        self.stale = False
        self._reaped = self.now

    def apply(self, bundle: Bundle) -> None:
        """Enforces a new revision from the next request on; one in flight ends under the old one."""
        self._on_revision(bundle.policy.revision)
        self.policy, self.leases = bundle.policy, bundle.leases
        self.source_fault = ""
        self.confirm(bundle.age)
        self.stats.gauge("policy_revision", bundle.policy.revision)
        self.stats.gauge("broken_proxies", len(bundle.policy.broken))

    def confirm(self, age: float) -> None:
        """What is in force is what the policy's source said `age` seconds ago."""
        self._vouched_ns = self.clock.boot_ns() - int(age * 1e9)
        self.stale = age > self.settings.offline_seconds

    def policy_age(self) -> float | None:
        """Seconds since the source vouched for the policy, a suspension of the machine included; None before."""
        return None if self._vouched_ns is None else (self.clock.boot_ns() - self._vouched_ns) / 1e9

    def tick(self, interval: float) -> None:
        """Moves the coarse clock, ends what is overdue, closes what idled too long."""
        now = self._now()
        self.stats.gauge("loop_lag_us", int((now - self.now - interval) * 1e6))
        self.now = now
        age = self.policy_age()
        self.stale = age is not None and age > self.settings.offline_seconds
        for client in [client for client in self.clients if client.deadline < now]:
            client.deadline_passed()
        if now - self._reaped > 5:
            self._reaped = now
            self.pool.reap()
        self.recorder.reclaim()
        self._tell(age)

    def _tell(self, age: float | None) -> None:
        leases = self.leases
        failures, self._lease_failures = leases.failures - self._lease_failures, leases.failures
        if failures > 0:
            self.stats.lease_failed(failures)
        self.stats.gauge("leases", len(leases))
        self.stats.gauge("policy_age_seconds", int(age or 0))
        self.stats.gauge("connections", len(self.clients))
        self.stats.gauge("record_depth", self.recorder.depth)

    def drain(self) -> None:
        """Stops keeping connections alive; those in use end with their answer."""
        self.draining = True
        for client in list(self.clients):
            client.drain()

    def cut_off(self) -> None:
        """Ends whatever the drain did not."""
        for client in list(self.clients):
            client.cut_off()

    def page(self, path: bytes) -> tuple[int, bytes] | None:
        """The edge's own pages: status and JSON body, or None when `path` is none of them."""
        if path == b"/health":
            return 200, b'{"status":"ok"}'
        if path == b"/ready":
            age = self.policy_age()
            ready = age is not None and not (self.draining or self.stale)
            body = {
                "ready": ready,
                "revision": self.policy.revision,
                "ageSeconds": None if age is None else round(age, 3),
                "staleAfterSeconds": self.settings.offline_seconds,
                "link": self._link(),
                "spoolDepth": self.recorder.depth + self._spooled(),
                "region": self.policy.region,
                "brokenProxies": [broken.id for broken in self.policy.broken],
                "policyFault": self.source_fault or None,
            }
            return (200 if ready else 503), orjson.dumps(body)
        return None
